"""Store validations as rows of ml_model_monitoring: one row per batch of predictions, never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from pydantic import TypeAdapter

from raypipe.clickhouse import mutations
from raypipe.clickhouse.client import Client, content_token
from raypipe.errors import DataError
from raypipe.monitor import table
from raypipe.monitor.table import UINT32_MAX

KIND = "validation"
_COLUMNS = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "f1_score", "auc": "auc_roc"}
_STORED = (
    "SELECT metadata FROM ml_model_monitoring WHERE JSONExtractString(metadata, 'kind') = {kind:String}"
    " AND JSONExtractString(metadata, 'pipeline') = {pipeline:String} ORDER BY created_at, monitoring_id"
)
# Other tools' predictions of the date stay.
_REPLACED = (
    "monitoring_date = {day:Date} AND JSONExtractString(metadata, 'kind') = {kind:String}"
    " AND JSONExtractString(metadata, 'pipeline') = {pipeline:String}"
    " AND JSONExtractString(metadata, 'validates') NOT IN ('', {run:String})"
)


@dataclass(frozen=True)
class Batch:
    """Predictions of one date by one run or one version.

    Attributes:
        run_id: the run that published them; empty for predictions of another tool.
        model_id: the id in the registry; empty for predictions of another tool.
    """

    pipeline: str
    date: date
    run_id: str
    model_id: str
    model_version: str

    @property
    def id(self) -> str:
        """Return the id of the batch's validation."""
        source = self.run_id or f"{self.pipeline}:{self.date}:{self.model_version}"
        return table.id_of(f"{KIND}:{source}")


@dataclass(frozen=True)
class Validation:
    """The evaluation of a batch against its outcomes.

    Attributes:
        until: the last day of the horizon.
        left_out: predictions without an outcome or with a score that is not finite.
        evaluation: metrics, calibration and levels, as `raypipe.validate.cells` returns them; empty if not evaluated.
        fitted: the interval of the deciding metric on the fit's test rows; empty if unknown.
        lost: the loss in that metric since the fit.
        worse: whether the loss exceeds the noise.
        reason: why the batch was not or not fully evaluated; otherwise empty.
    """

    batch: Batch
    until: date
    left_out: int = 0
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    fitted: Mapping[str, Any] = field(default_factory=dict)
    lost: float = 0.0
    worse: bool = False
    reason: str = ""

    @property
    def rows(self) -> int:
        """Return the number of evaluated predictions."""
        return int(self.evaluation.get("rows", 0))

    def to_json(self) -> dict[str, Any]:
        """Return the validation as JSON-ready values."""
        fields = asdict(self)
        batch = {**fields.pop("batch"), "date": self.batch.date.isoformat()}
        return {**batch, **fields, "rows": self.rows, "until": self.until.isoformat()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Validation:
        """Return the validation of a document of `to_json`."""
        return TypeAdapter(cls).validate_python({**document, "batch": document})


def stored(client: Client, pipeline: str) -> dict[str, Validation]:
    """Return a pipeline's validations by the ids of their batches.

    Raises:
        DataError: a row cannot be read; another version of raypipe may have written it.
    """
    rows = client.rows(_STORED, {"kind": KIND, "pipeline": pipeline})
    validations = [_read(text) for (text,) in rows]
    return {validation.batch.id: validation for validation in validations}


def _read(text: str) -> Validation:
    document = json.loads(text)
    try:
        return Validation.from_json({**document, "run_id": document["validates"]})
    except (KeyError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        raise DataError(
            f"A stored validation of {document.get('pipeline')} cannot be read",
            found=f"the row of {table.TABLE} for {document.get('date')}: {reason}",
            next_step="delete the row, or use the version of raypipe that wrote it",
        ) from error


def write(client: Client, validation: Validation, started_at: datetime) -> None:
    """Write the row of a validation, and remove the row of an earlier run of its date."""
    now = datetime.now(UTC).replace(microsecond=0)
    batch, levels = validation.batch, validation.evaluation.get("levels", [])
    metrics = {column: _value(validation.evaluation, name) for name, column in _COLUMNS.items()}
    alerts = ["performance"] if validation.worse else []
    document = validation.to_json()
    # In the drift rows of this table, `run_id` is the row's own run.
    document = {"kind": KIND, "validates": document.pop("run_id"), **document}
    row = {
        "monitoring_id": batch.id,
        "model_id": batch.model_id,
        "monitoring_date": batch.date,
        "monitoring_start_time": started_at,
        "monitoring_end_time": now,
        "total_predictions": min(validation.rows + validation.left_out, UINT32_MAX),
        **metrics,
        "performance_drift_score": validation.lost,
        "performance_drift_detected": int(validation.worse),
        "prediction_distribution": json.dumps({level["level"]: level["rows"] for level in levels}),
        "alerts_triggered": len(alerts),
        "alert_types": json.dumps(alerts),
        "metadata": json.dumps(document),
        "created_at": now,
        "updated_at": now,
    }
    client.insert_rows(table.TABLE, [row], token=content_token(KIND, batch.id))
    parameters = {"day": batch.date, "kind": KIND, "pipeline": batch.pipeline, "run": batch.run_id}
    if batch.run_id and client.value(f"SELECT count() FROM {table.TABLE} WHERE {_REPLACED}", parameters):
        mutations.delete(client, table.TABLE, _REPLACED, parameters)


def _value(evaluation: Mapping[str, Any], name: str) -> float:
    # The table's columns are not Nullable: 0 stands for a missing value, which is null in metadata.
    return float((evaluation.get(name) or {}).get("value") or 0.0)
