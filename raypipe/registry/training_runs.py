"""Fits in ml_model_training_runs, failed ones too: a row when one begins, replaced when it ends.

The table's key is (model_id, started_at), so both rows carry the same started_at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from raypipe.clickhouse.client import Client
from raypipe.registry.rows import SECONDS, json_text, parsed, seconds, size, statement, write

TABLE = "ml_model_training_runs"
RUNNING = "RUNNING"
COMPLETED = "COMPLETED"
FAILED = "FAILED"
CANCELLED = "CANCELLED"
LONGEST_ERROR = 10_000
# Between a source and the snapshots that were read from it.
DATES = " @ "

_TEXTS = (
    "run_id model_id run_name run_type run_status training_dataset_path validation_dataset_path test_dataset_path "
    "hyperparameters training_metrics validation_metrics test_metrics feature_importance model_path model_storage_url "
    "error_message created_by"
)
_SIZES = ("duration_sec", "training_dataset_size", "validation_dataset_size", "test_dataset_size")
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in _TEXTS.split()]
    + [(name, pa.uint32()) for name in _SIZES]
    + [(name, SECONDS) for name in ("started_at", "completed_at", "created_at", "updated_at")]
)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class TrainingRun:
    """A fit as it begins.

    Attributes:
        run_id: of the fit.
        model_id: of the version that it will make.
        name: for people.
        started_at: UTC; part of the table's key.
        kind: `fit`, `sweep` …
        hyperparameters: of the family.
        training_source: what the rows are read from, as are the other two.
        created_by: who or what began it.
    """

    run_id: str
    model_id: str
    name: str
    started_at: datetime
    kind: str = "fit"
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    training_source: str = ""
    validation_source: str = ""
    test_source: str = ""
    created_by: str = "raypipe"


@dataclass(frozen=True)
class Outcome:
    """How a fit ended well: rows of each set, metrics on each, importance by feature, and where the artifact is."""

    training_rows: int = 0
    validation_rows: int = 0
    test_rows: int = 0
    training_metrics: Mapping[str, Any] = field(default_factory=dict)
    validation_metrics: Mapping[str, Any] = field(default_factory=dict)
    test_metrics: Mapping[str, Any] = field(default_factory=dict)
    importance: Mapping[str, float] = field(default_factory=dict)
    artifact_uri: str = ""


@dataclass(frozen=True)
class Completed:
    """A run that ended well, as it is found again.

    Attributes:
        sources: what the training, validation and test rows were read from.
        rows: how many of each.
        seconds: what the fit of the version took; 0 where the run made no version.
    """

    run_id: str
    hyperparameters: Mapping[str, Any]
    sources: tuple[str, str, str]
    rows: tuple[int, int, int]
    test_metrics: Mapping[str, Any]
    seconds: float

    @property
    def dates(self) -> tuple[str, ...]:
        """The snapshots that each of the three was read from, as `2026-01-01, 2026-01-31`."""
        return tuple(source.rpartition(DATES)[2] for source in self.sources)

    @property
    def test_date(self) -> date:
        """The snapshot of the test rows."""
        return date.fromisoformat(self.dates[-1])


def newest(client: Client, model_id: str, kind: str) -> Completed | None:
    """The last run of a kind that made a version and ended well; None where there is none."""
    found = client.rows(statement("newest_run").text, {"model_id": model_id, "kind": kind})
    if not found:
        return None
    run_id, hyperparameters, *sources_and_rows, test_metrics, spent = found[0]
    sources, rows = tuple(sources_and_rows[:3]), tuple(sources_and_rows[3:])
    return Completed(run_id, parsed(hyperparameters), sources, rows, parsed(test_metrics), float(spent))


def start_run(client: Client, run: TrainingRun, again_at: datetime | None = None) -> None:
    """Writes that a fit runs; with a moment in UTC, that one which was cancelled or killed does so again."""
    write(client, TABLE, _SCHEMA, [_row(run, RUNNING, None, Outcome(), "", again_at)])


def finish_run(client: Client, run: TrainingRun, outcome: Outcome, at: datetime) -> None:
    """Writes that a fit completed, at a moment in UTC."""
    write(client, TABLE, _SCHEMA, [_row(run, COMPLETED, at, outcome, "")])


def fail_run(client: Client, run: TrainingRun, error: BaseException, at: datetime) -> None:
    """Writes that a fit failed, at a moment in UTC, and why."""
    message = str(error) or type(error).__name__
    write(client, TABLE, _SCHEMA, [_row(run, FAILED, at, Outcome(), message[:LONGEST_ERROR])])


def cancel_run(client: Client, run: TrainingRun, why: str, at: datetime) -> None:
    """Writes that a fit was given up at a moment in UTC, and why; it may run again."""
    write(client, TABLE, _SCHEMA, [_row(run, CANCELLED, at, Outcome(), why[:LONGEST_ERROR])])


def _row(
    run: TrainingRun,
    status: str,
    ended: datetime | None,
    outcome: Outcome,
    error: str,
    again_at: datetime | None = None,
) -> dict[str, Any]:
    started, changed = seconds(run.started_at), ended or again_at
    # A row replaces the one before only if its updated_at is later, in whole seconds.
    updated = started if changed is None else max(seconds(changed), started + timedelta(seconds=1))
    return {
        "run_id": run.run_id,
        "model_id": run.model_id,
        "run_name": run.name,
        "run_type": run.kind,
        "run_status": status,
        "started_at": started,
        "completed_at": _NEVER if ended is None else seconds(ended),
        "duration_sec": 0 if ended is None else size((ended - run.started_at).total_seconds()),
        "training_dataset_path": run.training_source,
        "training_dataset_size": size(outcome.training_rows),
        "validation_dataset_path": run.validation_source,
        "validation_dataset_size": size(outcome.validation_rows),
        "test_dataset_path": run.test_source,
        "test_dataset_size": size(outcome.test_rows),
        "hyperparameters": json_text(run.hyperparameters),
        "training_metrics": json_text(outcome.training_metrics),
        "validation_metrics": json_text(outcome.validation_metrics),
        "test_metrics": json_text(outcome.test_metrics),
        "feature_importance": json_text(outcome.importance),
        "model_path": outcome.artifact_uri,
        "model_storage_url": outcome.artifact_uri,
        "error_message": error,
        "created_by": run.created_by,
        "created_at": started,
        "updated_at": updated,
    }
