"""Write fits into ml_model_training_runs: a row when a fit begins, replaced when it ends or fails.

The table's key is (model_id, started_at), so both rows have the same started_at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.registry.rows import NEVER, json_text, parsed, seconds, size, statement, write

TABLE = "ml_model_training_runs"
RUNNING = "RUNNING"
COMPLETED = "COMPLETED"
FAILED = "FAILED"
CANCELLED = "CANCELLED"
LONGEST_ERROR = 10_000
# Separates a source from the snapshots that were read from it.
DATES = " @ "


@dataclass(frozen=True)
class TrainingRun:
    """A fit as it begins.

    Attributes:
        model_id: the id of the version that the fit creates.
        started_at: UTC; part of the table's key.
        kind: `fit`, `sweep` …
        training_source: the table and snapshots that the training rows are read from.
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


@dataclass(frozen=True)
class TrainingResult:
    """The result of a completed fit: rows and metrics of each set, importance by feature, and the artifact."""

    training_rows: int = 0
    validation_rows: int = 0
    test_rows: int = 0
    training_metrics: Mapping[str, Any] = field(default_factory=dict)
    validation_metrics: Mapping[str, Any] = field(default_factory=dict)
    test_metrics: Mapping[str, Any] = field(default_factory=dict)
    importance: Mapping[str, float] = field(default_factory=dict)
    artifact_uri: str = ""


@dataclass(frozen=True)
class CompletedRun:
    """A completed run as it is read again.

    Attributes:
        sources: the tables and snapshots of the training, validation and test rows.
        seconds: the duration of the fit; 0 where the run created no version.
    """

    run_id: str
    hyperparameters: Mapping[str, Any]
    sources: tuple[str, str, str]
    rows: tuple[int, int, int]
    test_metrics: Mapping[str, Any]
    seconds: float

    @property
    def dates(self) -> tuple[str, ...]:
        """Return the snapshots of each of the three sources, as `2026-01-01, 2026-01-31`."""
        return tuple(source.rpartition(DATES)[2] for source in self.sources)

    @property
    def test_date(self) -> date:
        """Return the snapshot of the test rows."""
        return date.fromisoformat(self.dates[-1])


def newest(client: Client, model_id: str, kind: str) -> CompletedRun | None:
    """Return the newest completed run of a kind for a version; None without any."""
    runs = client.rows(statement("newest_run").text, {"model_id": model_id, "kind": kind})
    if not runs:
        return None
    run_id, hyperparameters, *sources_and_rows, test_metrics, spent = runs[0]
    sources, rows = tuple(sources_and_rows[:3]), tuple(sources_and_rows[3:])
    return CompletedRun(run_id, parsed(hyperparameters), sources, rows, parsed(test_metrics), float(spent))


def start_run(client: Client, run: TrainingRun, again_at: datetime | None = None) -> None:
    """Write that a fit is running; `again_at` is the UTC moment at which a cancelled or killed fit began again."""
    write(client, TABLE, [_row(run, RUNNING, None, TrainingResult(), "", again_at)])


def finish_run(client: Client, run: TrainingRun, result: TrainingResult, at: datetime) -> None:
    """Write that a fit completed, at a moment in UTC."""
    write(client, TABLE, [_row(run, COMPLETED, at, result, "")])


def fail_run(client: Client, run: TrainingRun, error: BaseException, at: datetime) -> None:
    """Write that a fit failed, at a moment in UTC, and why."""
    message = str(error) or type(error).__name__
    write(client, TABLE, [_row(run, FAILED, at, TrainingResult(), message[:LONGEST_ERROR])])


def cancel_run(client: Client, run: TrainingRun, reason: str, at: datetime) -> None:
    """Write that a fit was cancelled at a moment in UTC, and why; it may run again."""
    write(client, TABLE, [_row(run, CANCELLED, at, TrainingResult(), reason[:LONGEST_ERROR])])


def _row(
    run: TrainingRun,
    status: str,
    ended: datetime | None,
    result: TrainingResult,
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
        "completed_at": NEVER if ended is None else seconds(ended),
        "duration_sec": 0 if ended is None else size((ended - run.started_at).total_seconds()),
        "training_dataset_path": run.training_source,
        "training_dataset_size": size(result.training_rows),
        "validation_dataset_path": run.validation_source,
        "validation_dataset_size": size(result.validation_rows),
        "test_dataset_path": run.test_source,
        "test_dataset_size": size(result.test_rows),
        "hyperparameters": json_text(run.hyperparameters),
        "training_metrics": json_text(result.training_metrics),
        "validation_metrics": json_text(result.validation_metrics),
        "test_metrics": json_text(result.test_metrics),
        "feature_importance": json_text(result.importance),
        "model_path": result.artifact_uri,
        "model_storage_url": result.artifact_uri,
        "error_message": error,
        "created_by": "raypipe",
        "created_at": started,
        "updated_at": updated,
    }
