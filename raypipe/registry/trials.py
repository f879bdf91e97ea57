"""The trials of a sweep in ml_model_training_runs, each a row: written while it runs, read by a sweep that goes on."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.errors import DataError
from raypipe.progress import Progress
from raypipe.registry import training_runs
from raypipe.registry.record import model_id
from raypipe.registry.rows import parsed, statement
from raypipe.registry.training_runs import COMPLETED, FAILED, Outcome, TrainingRun

log = logging.getLogger(__name__)

TUNING = "TUNING"


@dataclass(frozen=True)
class Tried:
    """A trial that is over.

    Attributes:
        trial: its id, unique within the sweep.
        values: by dotted key.
        result: its last report, see `sweep.trial.run`; empty where it crashed.
        error: why it crashed, '' if it did not.
    """

    trial: str
    values: Mapping[str, Any]
    result: Mapping[str, Any]
    error: str


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


@dataclass(frozen=True)
class Row:
    """A trial as its row has it.

    Attributes:
        started_at: UTC.
        values: by dotted key.
        training: `rounds`, `stopped_early` and `rungs`.
        validation: every metric by name.
    """

    trial: str
    status: str
    started_at: datetime
    values: Mapping[str, Any]
    training: Mapping[str, Any]
    validation: Mapping[str, Any]
    error: str

    @property
    def is_over(self) -> bool:
        """Whether it ended by itself, by ASHA or by a crash; one that was killed or cancelled runs again."""
        return self.status in (COMPLETED, FAILED)

    def tried(self, metric: str) -> Tried:
        """What a sweep that goes on has to know of a trial that is over.

        Raises:
            DataError: the row is not as a sweep writes it.
        """
        if self.status == FAILED:
            return Tried(self.trial, self.values, {}, self.error or "it crashed")
        rungs = self.training.get("rungs")
        result = {
            "rounds": self.training.get("rounds"),
            "metric": self.validation.get(metric),
            "metrics": self.validation,
            "final": not self.training.get("stopped_early"),
            "rungs": rungs,
        }
        if not isinstance(rungs, list) or not all(map(_is_report, [*rungs, [result["rounds"], result["metric"]]])):
            raise DataError(
                f"The row of the trial {self.trial} is not as a sweep writes it",
                found=f"training_metrics {dict(self.training)} and {metric} {result['metric']}",
                allowed="numbers in rounds, in rungs and in the metric",
                next_step="leave --resume out for a new sweep: rows of this one in ml_model_training_runs were changed",
            )
        return Tried(self.trial, self.values, result, "")


class TrialRuns:
    """A `tuner.Watcher` that writes the rows and tells the progress.

    Attributes:
        over: the trials that are over, those of an earlier process first.
    """

    def __init__(self, client: Client, described: Described, progress: Progress) -> None:
        """Finds the rows of an earlier process, where there was one.

        Raises:
            DataError: a row is not as a sweep writes it.
        """
        self._client = client
        self._of = described
        self._progress = progress
        found = list(_rows(client, described.sweep))
        self.over = [row.tried(described.metric) for row in found if row.is_over]
        self._unfinished = [row for row in found if not row.is_over]
        self._open: dict[str, TrainingRun] = {}
        known = [one.result["metric"] for one in self.over if not one.error]
        self._best: float | None = (max if described.higher else min)(known, default=None)

    @property
    def unfinished(self) -> list[Mapping[str, Any]]:
        """The values of the trials that an earlier process began and did not end, to be tried again."""
        return [row.values for row in self._unfinished]

    def started(self, trial: str, values: Mapping[str, Any]) -> None:
        """Writes that a trial runs."""
        now = datetime.now(UTC)
        run = self._opened(trial, values, now)
        training_runs.start_run(self._client, run, None if run.started_at == now else now)
        self._tell()

    def ended(self, trial: str, values: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Writes how a trial ended, also one that was stopped before its last round."""
        stopped = {"stopped_early": not result["final"], "rungs": result["rungs"]}
        outcome = Outcome(
            self._of.training_rows,
            self._of.validation_rows,
            0,
            {"rounds": result["rounds"], **stopped},
            result["metrics"],
        )
        now = datetime.now(UTC)
        training_runs.finish_run(self._client, self._opened(trial, values, now), outcome, now)
        self._close(trial, values, result, "")
        self._say(values, result["metric"])

    def failed(self, trial: str, values: Mapping[str, Any], error: str) -> None:
        """Writes why a trial crashed; the sweep goes on."""
        now = datetime.now(UTC)
        training_runs.fail_run(self._client, self._opened(trial, values, now), RuntimeError(error), now)
        self._close(trial, values, {}, error)
        log.warning("a trial crashed, the sweep goes on: %s\n  with %s", error.partition("\n")[0], words(values))

    def give_up(self, why: str) -> None:
        """Writes that the trials which still run are given up, such as those of a sweep that was stopped."""
        for run in self._open.values():
            training_runs.cancel_run(self._client, run, why, datetime.now(UTC))

    def _opened(self, trial: str, values: Mapping[str, Any], now: datetime) -> TrainingRun:
        """The row of a trial, which may crash before it starts; one that an earlier process left goes on in its own."""
        if trial not in self._open:
            left = next((row for row in self._unfinished if row.values == values), None)
            if left is not None:
                self._unfinished.remove(left)
            run_id = f"{self._of.sweep}_{left.trial if left else trial}"
            self._open[trial] = TrainingRun(
                run_id=run_id,
                model_id=model_id(self._of.pipeline, run_id),
                name=f"{self._of.pipeline} {run_id}",
                # A part of the row's key.
                started_at=left.started_at if left else now,
                kind=TUNING,
                hyperparameters=dict(values),
                training_source=self._of.source,
                validation_source=self._of.source,
            )
        return self._open[trial]

    def _close(self, trial: str, values: Mapping[str, Any], result: Mapping[str, Any], error: str) -> None:
        run = self._open.pop(trial)
        name = run.run_id.removeprefix(f"{self._of.sweep}_")
        self.over.append(Tried(name, dict(values), dict(result), error))
        self._tell()

    def _tell(self) -> None:
        self._progress("trials", len(self.over), self._of.trials)

    def _say(self, values: Mapping[str, Any], value: float) -> None:
        if self._best is None or (value > self._best if self._of.higher else value < self._best):
            self._best = value
            log.info("%s %.4f, the best so far: %s", self._of.metric, value, words(values))


def _rows(client: Client, sweep: str) -> Iterator[Row]:
    for trial, status, started, values, training, validation, error in client.rows(
        statement("trials").text, {"sweep": sweep}
    ):
        at = datetime.fromtimestamp(started, UTC)
        yield Row(trial, status, at, parsed(values), parsed(training), parsed(validation), error)


def _is_report(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_number(value: object) -> bool:
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))


def words(values: Mapping[str, Any]) -> str:
    """The values of a trial, for people."""
    return ", ".join(f"{key.removeprefix('model.params.')}={_short(value)}" for key, value in values.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
