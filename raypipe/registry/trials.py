"""The trials of a sweep, one row of ml_model_training_runs per trial, from which a sweep can be resumed."""

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
from raypipe.registry.training_runs import COMPLETED, FAILED, TrainingResult, TrainingRun

log = logging.getLogger(__name__)

TUNING = "TUNING"


@dataclass(frozen=True)
class FinishedTrial:
    """A trial that has ended.

    Attributes:
        values: by dotted key.
        result: its last report, see `sweep.trial.run_trial`; empty where it crashed.
        error: the reason of a crash, or ''.
    """

    trial: str
    values: Mapping[str, Any]
    result: Mapping[str, Any]
    error: str


@dataclass(frozen=True)
class SweepDescription:
    """The values that the rows of all trials of a sweep share.

    Attributes:
        source: the source of the training and the validation rows.
        higher: whether a higher value is better.
        trials: the number of trials in the whole sweep.
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
class TrialRow:
    """A trial as it is read from its row.

    Attributes:
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
    def has_ended(self) -> bool:
        """Return whether it was completed, stopped by ASHA or crashed; a killed or cancelled trial runs again."""
        return self.status in (COMPLETED, FAILED)

    def finished(self, metric: str) -> FinishedTrial:
        """Return the trial for a sweep that is resumed.

        Raises:
            DataError: the row was changed after the sweep wrote it.
        """
        if self.status == FAILED:
            return FinishedTrial(self.trial, self.values, {}, self.error or "it crashed")
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
                f"The row of the trial {self.trial} in ml_model_training_runs was changed after the sweep wrote it",
                found=f"training_metrics {dict(self.training)} and {metric} {result['metric']}",
                allowed="numbers in rounds, in rungs and in the metric",
                next_step="leave --resume out to begin a new sweep",
            )
        return FinishedTrial(self.trial, self.values, result, "")


class TrialRuns:
    """Write the rows of trials as they end, and report the progress.

    Attributes:
        over: the trials that have ended, those of an earlier process first.
    """

    def __init__(self, client: Client, sweep: SweepDescription, progress: Progress) -> None:
        """Read the rows of an earlier process of the sweep.

        Raises:
            DataError: the row was changed after the sweep wrote it.
        """
        self._client = client
        self._sweep = sweep
        self._progress = progress
        rows = list(_rows(client, sweep.sweep))
        self.over = [row.finished(sweep.metric) for row in rows if row.has_ended]
        self._unfinished = [row for row in rows if not row.has_ended]
        self._open: dict[str, TrainingRun] = {}
        known = [trial.result["metric"] for trial in self.over if not trial.error]
        self._best: float | None = (max if sweep.higher else min)(known, default=None)

    @property
    def unfinished(self) -> list[Mapping[str, Any]]:
        """Return the values of the trials that an earlier process left unfinished, to be tried again."""
        return [row.values for row in self._unfinished]

    def started(self, trial: str, values: Mapping[str, Any]) -> None:
        """Write that a trial is running."""
        now = datetime.now(UTC)
        run = self._opened(trial, values, now)
        training_runs.start_run(self._client, run, None if run.started_at == now else now)
        self._report()

    def ended(self, trial: str, values: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Write the result of a trial, also of a trial that was stopped before its last round."""
        training = {"rounds": result["rounds"], "stopped_early": not result["final"], "rungs": result["rungs"]}
        rows = self._sweep.training_rows, self._sweep.validation_rows, 0
        now = datetime.now(UTC)
        training_runs.finish_run(
            self._client, self._opened(trial, values, now), TrainingResult(*rows, training, result["metrics"]), now
        )
        self._close(trial, values, result, "")
        self._log_best(values, result["metric"])

    def failed(self, trial: str, values: Mapping[str, Any], error: str) -> None:
        """Write why a trial crashed; the sweep goes on."""
        now = datetime.now(UTC)
        training_runs.fail_run(self._client, self._opened(trial, values, now), RuntimeError(error), now)
        self._close(trial, values, {}, error)
        log.warning("a trial crashed, the sweep goes on: %s\n  with %s", error.partition("\n")[0], _text(values))

    def give_up(self, reason: str) -> None:
        """Write that the running trials are cancelled, for instance because the sweep was stopped."""
        for run in self._open.values():
            training_runs.cancel_run(self._client, run, reason, datetime.now(UTC))

    def _opened(self, trial: str, values: Mapping[str, Any], now: datetime) -> TrainingRun:
        """Return the run of a trial; a trial that an earlier process left unfinished keeps its row."""
        if trial not in self._open:
            left = next((row for row in self._unfinished if row.values == values), None)
            if left is not None:
                self._unfinished.remove(left)
            run_id = f"{self._sweep.sweep}_{left.trial if left else trial}"
            self._open[trial] = TrainingRun(
                run_id=run_id,
                model_id=model_id(self._sweep.pipeline, run_id),
                name=f"{self._sweep.pipeline} {run_id}",
                # Part of the row's key.
                started_at=left.started_at if left else now,
                kind=TUNING,
                hyperparameters=dict(values),
                training_source=self._sweep.source,
                validation_source=self._sweep.source,
            )
        return self._open[trial]

    def _close(self, trial: str, values: Mapping[str, Any], result: Mapping[str, Any], error: str) -> None:
        run = self._open.pop(trial)
        name = run.run_id.removeprefix(f"{self._sweep.sweep}_")
        self.over.append(FinishedTrial(name, dict(values), dict(result), error))
        self._report()

    def _report(self) -> None:
        self._progress("trials", len(self.over), self._sweep.trials)

    def _log_best(self, values: Mapping[str, Any], value: float) -> None:
        if self._best is None or (value > self._best if self._sweep.higher else value < self._best):
            self._best = value
            log.info("%s %.4f, the best so far: %s", self._sweep.metric, value, _text(values))


def _rows(client: Client, sweep: str) -> Iterator[TrialRow]:
    for trial, status, started, values, training, validation, error in client.rows(
        statement("trials").text, {"sweep": sweep}
    ):
        at = datetime.fromtimestamp(started, UTC)
        yield TrialRow(trial, status, at, parsed(values), parsed(training), parsed(validation), error)


def _is_report(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_number(value: object) -> bool:
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))


def _text(values: Mapping[str, Any]) -> str:
    """Return the values of a trial as a line of the log."""
    texts = {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in values.items()}
    return ", ".join(f"{key.removeprefix('model.params.')}={text}" for key, text in texts.items())
