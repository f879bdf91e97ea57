"""The row of a sweep in ml_model_training_runs, beside the rows of its trials: its beginning and its result."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.errors import UsageError
from raypipe.registry import training_runs
from raypipe.registry.record import model_id
from raypipe.registry.rows import parsed, statement
from raypipe.registry.training_runs import COMPLETED, TrainingResult, TrainingRun

# run_type in ml_model_training_runs; hyperparameters holds the state at the beginning, test_metrics the result.
KIND = "SWEEP"
SHOWN_SWEEPS = 5


@dataclass(frozen=True)
class _Row:
    started_at: datetime
    status: str
    state: dict[str, Any]
    result: dict[str, Any]


def begin(client: Client, name: str, state: Mapping[str, Any]) -> None:
    """Write the state at the beginning of a sweep."""
    training_runs.start_run(client, _run(name, datetime.now(UTC), state))


def has_begun(client: Client, name: str) -> bool:
    """Return whether there is such a sweep."""
    return _row(client, name) is not None


def state(client: Client, name: str) -> dict[str, Any]:
    """Return the state at the beginning of a sweep.

    Raises:
        UsageError: there is no such sweep.
    """
    row = _row(client, name)
    if row is None:
        raise UsageError(
            f"There is no sweep {name!r}",
            allowed=", ".join(_newest(client)) or "none: no sweep has begun",
            next_step="leave --resume out for a new sweep",
        )
    return row.state


def finish(client: Client, name: str, result: Mapping[str, Any]) -> None:
    """Write the result of a finished sweep, which has begun."""
    row = _row(client, name)
    began = row.started_at if row else datetime.now(UTC)
    run = _run(name, began, row.state if row else {})
    training_runs.finish_run(client, run, TrainingResult(test_metrics=_plain(result)), datetime.now(UTC))


def result(client: Client, name: str) -> dict[str, Any] | None:
    """Return the result of a sweep; None for an unfinished sweep."""
    row = _row(client, name)
    return row.result if row and row.status == COMPLETED else None


def _run(name: str, started_at: datetime, state: Mapping[str, Any]) -> TrainingRun:
    identity = model_id("sweep", name)
    return TrainingRun(name, identity, f"sweep {name}", started_at, kind=KIND, hyperparameters=_plain(state))


def _row(client: Client, name: str) -> _Row | None:
    rows = client.rows(statement("sweep").text, {"sweep": name})
    if not rows:
        return None
    started, status, state, result = rows[0]
    return _Row(datetime.fromtimestamp(started, UTC), status, parsed(state), parsed(result))


def _newest(client: Client) -> list[str]:
    rows = client.rows(statement("newest_sweeps").text, {"many": SHOWN_SWEEPS})
    return [name for (name,) in rows]


def _plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with its dates as texts."""
    plain: dict[str, Any] = json.loads(json.dumps(document, default=str))
    return plain
