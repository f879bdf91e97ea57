"""Validations of earlier predictions as rows of ml_model_monitoring: one a batch of predictions, never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from raypipe.clickhouse.client import Client, content_token
from raypipe.monitor import table
from raypipe.monitor.table import UINT32_MAX

KIND = "validation"
_COLUMNS = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "f1_score", "auc": "auc_roc"}
_STORED = (
    "SELECT metadata FROM ml_model_monitoring WHERE JSONExtractString(metadata, 'kind') = {kind:String}"
    " AND JSONExtractString(metadata, 'pipeline') = {pipeline:String} ORDER BY created_at, monitoring_id"
)


@dataclass(frozen=True)
class Batch:
    """Predictions of one date that were made together.

    Attributes:
        pipeline: whose label says what came of them.
        date: the day they are about.
        run_id: the run that published them; '' where another tool wrote them.
        model_id: the model's id in the registry; '' where another tool wrote them.
        model_version: the version that made them.
    """

    pipeline: str
    date: date
    run_id: str
    model_id: str
    model_version: str

    @property
    def id(self) -> str:
        """The id of its validation."""
        made_by = self.run_id or f"{self.pipeline}:{self.date}:{self.model_version}"
        return table.id_of(f"{KIND}:{made_by}")


@dataclass(frozen=True)
class Validation:
    """What came of a batch.

    Attributes:
        batch: the predictions.
        until: the last day of the horizon.
        left_out: predictions without an outcome, or whose score is no number.
        evaluation: metrics, calibration and levels, as `raypipe.validate.judge` gives them; empty where nothing was
            judged.
        fitted: the interval of the deciding metric on the fit's test rows; empty where it is not known.
        lost: how much worse that metric is now.
        worse: whether it is worse by more than noise.
        said: why it was not judged, or not in full; '' otherwise.
    """

    batch: Batch
    until: date
    left_out: int = 0
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    fitted: Mapping[str, Any] = field(default_factory=dict)
    lost: float = 0.0
    worse: bool = False
    said: str = ""

    @property
    def rows(self) -> int:
        """How many predictions were judged."""
        return int(self.evaluation.get("rows", 0))

    def to_json(self) -> dict[str, Any]:
        """The validation as JSON-ready values."""
        known = asdict(self)
        batch = {**known.pop("batch"), "date": self.batch.date.isoformat()}
        return {**batch, **known, "rows": self.rows, "until": self.until.isoformat()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Validation:
        """The validation that `to_json` gave."""
        known = {name: document[name] for name in ("left_out", "evaluation", "fitted", "lost", "worse", "said")}
        named = {name: document[name] for name in ("pipeline", "run_id", "model_id", "model_version")}
        batch = Batch(date=date.fromisoformat(document["date"]), **named)
        return cls(batch, date.fromisoformat(document["until"]), **known)


def stored(client: Client, pipeline: str) -> dict[str, Validation]:
    """A pipeline's validations by the ids of their batches."""
    rows = client.rows(_STORED, {"kind": KIND, "pipeline": pipeline})
    documents = (json.loads(text) for (text,) in rows)
    found = (Validation.from_json({**document, "run_id": document["validates"]}) for document in documents)
    return {one.batch.id: one for one in found}


def write(client: Client, validation: Validation, started_at: datetime) -> None:
    """Writes a validation's row."""
    now = datetime.now(UTC).replace(microsecond=0)
    batch = validation.batch
    metrics = {column: _value(validation.evaluation, name) for name, column in _COLUMNS.items()}
    alerts = ["performance"] if validation.worse else []
    document = validation.to_json()
    # `run_id` is that of the row's own run, in the rows that runs write of their drift.
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
        "prediction_distribution": json.dumps({one["level"]: one["rows"] for one in _levels(validation)}),
        "alerts_triggered": len(alerts),
        "alert_types": json.dumps(alerts),
        "metadata": json.dumps(document),
        "created_at": now,
        "updated_at": now,
    }
    client.insert_rows(table.TABLE, [row], token=content_token(KIND, batch.id))


def _levels(validation: Validation) -> list[dict[str, Any]]:
    levels: list[dict[str, Any]] = validation.evaluation.get("levels", [])
    return levels


def _value(evaluation: Mapping[str, Any], name: str) -> float:
    # The table's columns are not Nullable: 0 stands for missing, and metadata says null.
    return float((evaluation.get(name) or {}).get("value") or 0.0)
