"""The trials of a sweep in ml_model_training_runs, each one row, and what is said of them while they run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.errors import RaypipeError
from raypipe.registry import training_runs
from raypipe.registry.record import model_id
from raypipe.registry.rows import statement
from raypipe.registry.training_runs import COMPLETED, Outcome, TrainingRun

log = logging.getLogger(__name__)

TUNING = "TUNING"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Described:
    """What the rows of all trials of a sweep say.

    Attributes:
        sweep: its name.
        pipeline: whose model is fitted.
        source: what the rows are read from, for training and for validation.
        training_rows: how many are fitted on.
        validation_rows: how many decide.
        metric: what decides.
        higher: whether a higher value is better.
        trials: how many there will be.
    """

    sweep: str
    pipeline: str
    source: str
    training_rows: int
    validation_rows: int
    metric: str
    higher: bool
    trials: int


class TrialRuns:
    """A `tuner.Watcher` that writes the rows and tells the progress; a sweep that goes on finds its rows again."""

    def __init__(self, client: Client, described: Described, progress: Progress) -> None:
        self._client = client
        self._of = described
        self._progress = progress
        known = client.rows(statement("trials").text, {"sweep": described.sweep})
        self._started = {run_id: datetime.fromtimestamp(at, UTC) for run_id, _, at in known}
        self._over = {run_id for run_id, status, _ in known if status == COMPLETED}
        self._open: dict[str, TrainingRun] = {}
        self._best: float | None = None

    def started(self, trial: str, values: Mapping[str, Any]) -> None:
        """Writes that a trial runs."""
        training_runs.start_run(self._client, self._opened(trial, values))
        self._tell()

    def ended(self, trial: str, values: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Writes how a trial ended, also one that was stopped before its last round."""
        outcome = Outcome(
            self._of.training_rows,
            self._of.validation_rows,
            0,
            {"rounds": result.get("rounds"), "stopped_early": not result.get("final", False)},
            result.get("metrics", {}),
        )
        run = self._opened(trial, values)
        training_runs.finish_run(self._client, run, outcome, datetime.now(UTC))
        self._close(run)
        self._say(values, result)

    def failed(self, trial: str, values: Mapping[str, Any], error: str) -> None:
        """Writes why a trial crashed; the sweep goes on."""
        run = self._opened(trial, values)
        training_runs.fail_run(self._client, run, RuntimeError(error), datetime.now(UTC))
        self._close(run)
        log.warning("a trial crashed, the sweep goes on: %s\n  with %s", error.splitlines()[0], words(values))

    def give_up(self, why: str) -> None:
        """Writes that trials which still run are given up, such as those of a sweep that was stopped."""
        for run in list(self._open.values()):
            training_runs.fail_run(self._client, run, RaypipeError(why), datetime.now(UTC))

    def close_lost(self) -> None:
        """Writes that trials are lost which a killed process began, and which the sweep that went on did not know."""
        for run_id in sorted(self._started.keys() - self._over - self._open.keys()):
            lost = TrainingRun(run_id, model_id(self._of.pipeline, run_id), run_id, self._started[run_id], TUNING)
            training_runs.fail_run(
                self._client, lost, RaypipeError("the process of the sweep was killed"), datetime.now(UTC)
            )

    def _opened(self, trial: str, values: Mapping[str, Any]) -> TrainingRun:
        run_id = f"{self._of.sweep}_{trial}"
        if run_id not in self._open:
            # A trial that goes on keeps its beginning, which is part of the row's key.
            begun = self._started.setdefault(run_id, datetime.now(UTC))
            self._open[run_id] = TrainingRun(
                run_id=run_id,
                model_id=model_id(self._of.pipeline, run_id),
                name=f"{self._of.pipeline} {run_id}",
                started_at=begun,
                kind=TUNING,
                hyperparameters=dict(values),
                training_source=self._of.source,
                validation_source=self._of.source,
            )
        return self._open[run_id]

    def _close(self, run: TrainingRun) -> None:
        self._open.pop(run.run_id, None)
        self._over.add(run.run_id)
        self._tell()

    def _tell(self) -> None:
        self._progress("trials", min(len(self._over), self._of.trials), self._of.trials)

    def _say(self, values: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        value = result.get("metric")
        if value is None:
            return
        better = self._best is None or (value > self._best if self._of.higher else value < self._best)
        if better:
            self._best = value
            log.info("%s %.4f, the best so far: %s", self._of.metric, value, words(values))


def words(values: Mapping[str, Any]) -> str:
    """The values of a trial, for people."""
    return ", ".join(f"{key.removeprefix('model.params.')}={_short(value)}" for key, value in values.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
