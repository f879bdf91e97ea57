"""The trials of a sweep on Ray Tune: Optuna suggests, ASHA stops the bad ones, an experiment's folder survives a kill.

ASHA: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning". Each trial is one process with the CPUs
that it asked for and nothing below it, so that trials can wait for each other's CPUs but never for their own.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, Protocol

from ray import tune
from ray.tune.logger import JsonLoggerCallback
from ray.tune.schedulers import ASHAScheduler

from raypipe.errors import ConfigError
from raypipe.fit import trial as trials_of
from raypipe.fit.space import Axis, decoded
from raypipe.fit.trial import REDUCTION, Rows, Trials
from raypipe.runtime import causes, cluster_cpus, original, quiet_libraries

log = logging.getLogger(__name__)

# Ray Tune's own: seconds between two states of the experiment on disk, which is what a killed sweep goes on from.
_ENVIRONMENT = {"TUNE_GLOBAL_CHECKPOINT_S": "1", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
STARTUP_TRIALS = 10


class Watcher(Protocol):
    """Is told of each trial, in this process."""

    def started(self, trial: str, values: Mapping[str, Any]) -> None:
        """A trial runs, with these values."""

    def ended(self, trial: str, values: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """A trial ended, or was stopped for being worse than others; its last report."""

    def failed(self, trial: str, values: Mapping[str, Any], error: str) -> None:
        """A trial crashed, and why."""


@dataclass(frozen=True)
class Search:
    """How a sweep is searched.

    Attributes:
        name: of the sweep, and of its folder.
        folder: an absolute path or an address that all nodes reach; the sweep's own is below it.
        trials: how many.
        concurrent: at a time at most; None for as many as there is room for.
        cpus: of each trial.
        higher: whether a higher metric is better.
        seed: of the searcher.
        first: the pipeline's own point, tried first; None where the space does not hold it.
        most_rounds: what ASHA takes for the end of a trial.
        grace_rounds: what every trial gets.
    """

    name: str
    folder: str
    trials: int
    concurrent: int | None
    cpus: int
    higher: bool
    seed: int
    first: Mapping[str, Any] | None
    most_rounds: int
    grace_rounds: int


@dataclass(frozen=True)
class Tried:
    """A trial that is over.

    Attributes:
        values: by dotted key.
        result: its last report: `rounds`, `metric`, `metrics`, `final`; empty where it crashed before any.
        error: why it crashed, '' if it did not.
    """

    trial: str
    values: Mapping[str, Any]
    result: Mapping[str, Any]
    error: str


def require_room(trials: int, concurrent: int | None, cpus: int) -> int:
    """The trials that run at a time.

    Raises:
        ConfigError: the cluster has too few CPUs for what was asked.
    """
    present = cluster_cpus()
    needed = cpus * (concurrent or 1)
    if needed > present:
        most = present // cpus
        raise ConfigError(
            "The sweep does not fit into the Ray cluster",
            found=f"{concurrent or 1} trials at a time x {cpus} CPUs = {needed}",
            allowed=f"{present} CPUs: at most {most} trials of {cpus} at a time" if most else f"{present} CPUs",
            next_step="lower sweep.concurrent (null takes what there is) or sweep.cpus, or add nodes",
        )
    return min(concurrent or present // cpus, trials)


def search(wanted: Search, trials: Trials, rows: Rows, watcher: Watcher, *, resume: bool) -> tuple[list[Tried], bool]:
    """Runs what is left of the trials; whether all are over says the second value, False after a Ctrl-C.

    Raises:
        ConfigError: Optuna is not installed, or the trials do not fit into the cluster.
    """
    at_once = require_room(wanted.trials, wanted.concurrent, wanted.cpus)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    path = f"{wanted.folder}/{wanted.name}"
    _watchers[wanted.name] = watcher, trials.axes
    trainable = tune.with_resources(tune.with_parameters(_trial, trials=trials, rows=rows), {"cpu": wanted.cpus})
    with _quiet():
        if resume and tune.Tuner.can_restore(path):
            tuner = tune.Tuner.restore(path, trainable, resume_unfinished=True)
        else:
            tuner = tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    search_alg=_searcher(wanted, trials.axes),
                    scheduler=ASHAScheduler(
                        time_attr="rounds",
                        metric="metric",
                        mode="max" if wanted.higher else "min",
                        max_t=max(wanted.most_rounds, wanted.grace_rounds),
                        grace_period=wanted.grace_rounds,
                        reduction_factor=REDUCTION,
                        # A trial that has all its rounds ends by itself.
                        stop_last_trials=False,
                    ),
                    num_samples=wanted.trials,
                    max_concurrent_trials=at_once,
                    # A process takes seconds to start, many a trial less than that.
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name=wanted.name,
                    storage_path=wanted.folder,
                    verbose=0,
                    callbacks=[_Watch(wanted.name), JsonLoggerCallback()],  # type: ignore[no-untyped-call]
                    failure_config=tune.FailureConfig(max_failures=0),
                ),
            )
        found = tuner.fit()
    results = [found[at] for at in range(len(found))]
    over = [_tried(result, trials.axes) for result in results if result.error is not None or _is_over(result)]
    return over, len(over) >= wanted.trials


def _trial(config: dict[str, Any], trials: Trials, rows: Rows) -> None:
    """What a trial's process does."""
    trials_of.run(trials, rows, decoded(config, trials.axes), tune.report)


def _searcher(wanted: Search, axes: tuple[Axis, ...]) -> Any:
    try:
        import optuna
        from ray.tune.search.optuna import OptunaSearch
    except ImportError as error:
        raise ConfigError(
            "A sweep needs Optuna, which is not installed", next_step="pip install 'raypipe[sweep]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return OptunaSearch(
        {axis.name: _distribution(optuna, axis) for axis in axes},
        metric="metric",
        mode="max" if wanted.higher else "min",
        points_to_evaluate=[dict(wanted.first)] if wanted.first is not None else None,
        # Trials that still run count as bad, so that several at a time do not try the same.
        sampler=optuna.samplers.TPESampler(
            seed=wanted.seed, n_startup_trials=min(STARTUP_TRIALS, wanted.trials // 2), constant_liar=True
        ),
    )


def _distribution(optuna: Any, axis: Axis) -> Any:
    kinds = optuna.distributions
    if axis.kind == "choice":
        return kinds.CategoricalDistribution(axis.words)
    if axis.kind == "int":
        return kinds.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return kinds.FloatDistribution(axis.low, axis.high, log=axis.log)


_RAISED = re.compile(r"^(?:\w+\.)*\w+(?:Error|Exception|Died|Killed): ", re.MULTILINE)

# The watchers of this process by the name of their sweep: a callback is pickled into the experiment's folder, and
# a restored one has to find the connection of the process that restored it.
_watchers: dict[str, tuple[Watcher, tuple[Axis, ...]]] = {}


class _Watch(tune.Callback):
    """Tells a watcher what Ray Tune says of trials."""

    def __init__(self, name: str) -> None:
        self._name = name

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        watcher, axes = _watchers[self._name]
        watcher.started(trial.trial_id, decoded(trial.config, axes))

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        watcher, axes = _watchers[self._name]
        watcher.ended(trial.trial_id, decoded(trial.config, axes), trial.last_result)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        watcher, axes = _watchers[self._name]
        watcher.failed(trial.trial_id, decoded(trial.config, axes), _crash(trial))


def _crash(trial: Any) -> str:
    """Why a trial crashed, from the text that Tune leaves of it: the pickle beside it is never loaded."""
    try:
        with open(trial.error_file, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except (OSError, TypeError):
        return _words(None)
    # The innermost exception stands last, its message over several lines.
    return _RAISED.split(text)[-1].strip() or _words(None)


def _is_over(result: Any) -> bool:
    """Whether a trial is over: it ended by itself, or ASHA stopped it; one that was interrupted is neither."""
    return bool(result.metrics) and bool(result.metrics.get("final") or result.metrics.get("done"))


def _tried(result: Any, axes: tuple[Axis, ...]) -> Tried:
    error = "" if result.error is None else _words(result.error)
    metrics = dict(result.metrics or {})
    reported = {name: metrics[name] for name in ("rounds", "metric", "metrics", "final") if name in metrics}
    return Tried(metrics.get("trial_id", ""), decoded(result.config or {}, axes), reported, error)


def _words(error: BaseException | None) -> str:
    """What went wrong, as the trial raised it."""
    if error is None:
        return "the trial's process died"
    found = original(error)
    if found is not None:
        return str(found)
    chain = list(causes(error))
    root = next((inner for inner in chain if not type(inner).__module__.startswith("ray.")), chain[-1])
    return f"{type(root).__name__}: {root}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what Ray Tune and Optuna say off the terminal; what matters of it is raised or told to the watcher."""
    quiet_libraries()
    if log.isEnabledFor(logging.DEBUG):
        # On stdout stands the JSON of the command.
        with redirect_stdout(sys.stderr):
            yield
        return
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray.air", "optuna")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
