"""The trials of a sweep on Ray Tune: Optuna suggests, ASHA stops the bad ones, both told of what was tried before.

ASHA: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning". Each trial is one process with the CPUs
that it asked for and nothing below it, so that trials can wait for each other's CPUs but never for their own.

Nothing of Ray Tune's outlives the process: its experiment holds pickles, which run code when they are read.
docs/decisions/0016-a-sweep-goes-on-from-its-rows.md
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import SimpleNamespace
from typing import Any

from ray import tune
from ray.tune.error import TuneError
from ray.tune.schedulers import ASHAScheduler

from raypipe.cluster.runtime import node_cpus, quiet_libraries, room
from raypipe.errors import ConfigError
from raypipe.sweep import trial as trials_of
from raypipe.sweep.sampler import Search, Watcher
from raypipe.sweep.space import Axis, decoded, point_of
from raypipe.sweep.trial import REDUCTION, Rows, Trials

log = logging.getLogger(__name__)

# Ray Tune's own loggers write the parameters of each trial as pickles and CSV that nobody reads.
_ENVIRONMENT = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
STARTUP_TRIALS = 10
REPORTED = ("rounds", "metric", "metrics", "final", "rungs")


def require_optuna() -> Any:
    """The searcher's library.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "A sweep needs Optuna, which is not installed", next_step="pip install 'optuna>=4' (the extra `sweep`)"
        ) from error
    return optuna


def require_room(trials: int, concurrent: int | None, cpus: int) -> int:
    """The trials that run at a time.

    Raises:
        ConfigError: the cluster has too few CPUs for what was asked.
    """
    nodes = node_cpus(cpus)
    most = room(nodes, cpus)
    if (concurrent or 1) > most:
        raise ConfigError(
            "The sweep does not fit into the Ray cluster",
            found=f"{concurrent or 1} trials at a time x {cpus} CPUs",
            allowed=f"{most} trials of {cpus} CPUs at a time: {sum(nodes)} CPUs, at most {max(nodes)} on a node",
            next_step="lower sweep.concurrent (null takes what there is) or sweep.cpus, or add nodes",
        )
    return min(concurrent or most, trials)


def search(wanted: Search, trials: Trials, rows: Rows, watcher: Watcher) -> None:
    """Runs what is left of the trials, and tells the watcher of each; returns early after a Ctrl-C.

    Raises:
        ConfigError: Optuna is not installed, or the trials do not fit into the cluster.
        DataError: what is known of earlier trials does not belong to the space.
    """
    left = wanted.trials - len(wanted.over)
    if left <= 0:
        return
    at_once = require_room(left, wanted.concurrent, wanted.cpus)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    searcher, watch = suggester(wanted, trials.axes), _Watch(watcher, trials.axes)
    trainable = tune.with_resources(tune.with_parameters(_trial, trials=trials, rows=rows), {"cpu": wanted.cpus})
    # Private to this user, on this machine: trials report to this process and write nothing there.
    with _quiet(), tempfile.TemporaryDirectory(prefix="raypipe_sweep_", ignore_cleanup_errors=True) as private:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler(wanted),
                num_samples=left,
                max_concurrent_trials=at_once,
                # A process takes seconds to start, many a trial less than that.
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=wanted.name,
                storage_path=private,
                verbose=0,
                callbacks=[watch],
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        try:
            tuner.fit()
        except TuneError:
            if watch.problem is None:
                raise
    if watch.problem is not None:
        raise watch.problem


def _trial(config: dict[str, Any], trials: Trials, rows: Rows) -> None:
    """What a trial's process does."""
    trials_of.run(trials, rows, decoded(config, trials.axes), tune.report)


def suggester(wanted: Search, axes: tuple[Axis, ...]) -> Any:
    """Optuna's TPE over the space, which knows the trials that are over and begins with those to be tried again.

    Raises:
        ConfigError: Optuna is not installed.
        DataError: an earlier trial does not belong to the space.
    """
    optuna = require_optuna()
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    over = [point_of(one.values, axes) for one in wanted.over]
    waiting = [point_of(values, axes) for values in wanted.unfinished]
    if wanted.first is not None and wanted.first not in [*over, *waiting]:
        waiting.insert(0, dict(wanted.first))
    found = OptunaSearch(
        {axis.name: _distribution(optuna, axis) for axis in axes},
        metric="metric",
        mode=wanted.mode,
        points_to_evaluate=waiting or None,
        sampler=optuna.samplers.TPESampler(
            # With the same seed a sweep that goes on would draw its first random points once more.
            seed=wanted.seed + len(wanted.over) + len(wanted.unfinished),
            n_startup_trials=min(STARTUP_TRIALS, wanted.trials // 2),
            # Trials that still run count as bad, so that several at a time do not try the same.
            constant_liar=True,
        ),
    )
    for point, one in zip(over, wanted.over, strict=True):
        # Optuna asks for a number, and forgets that of a trial which crashed.
        found.add_evaluated_point(point, one.result.get("metric", 0.0), error=bool(one.error))
    return found


def scheduler(wanted: Search) -> Any:
    """ASHA, which knows how the trials that are over did at its rungs."""
    found = ASHAScheduler(
        time_attr="rounds",
        metric="metric",
        mode=wanted.mode,
        max_t=max(wanted.most_rounds, wanted.grace_rounds),
        grace_period=wanted.grace_rounds,
        reduction_factor=REDUCTION,
        # A trial that has all its rounds ends by itself.
        stop_last_trials=False,
    )
    for one in wanted.over:
        if one.error:
            continue
        # All that ASHA asks of a trial is its id.
        trial: Any = SimpleNamespace(trial_id=one.trial)
        found.on_trial_add(None, trial)  # type: ignore[arg-type]
        for rounds, metric in one.result["rungs"]:
            found.on_trial_result(None, trial, {"rounds": rounds, "metric": metric})  # type: ignore[arg-type]
        found.on_trial_complete(None, trial, dict(one.result))  # type: ignore[arg-type]
    return found


def _distribution(optuna: Any, axis: Axis) -> Any:
    kinds = optuna.distributions
    if axis.kind == "choice":
        return kinds.CategoricalDistribution(axis.words)
    if axis.kind == "int":
        return kinds.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return kinds.FloatDistribution(axis.low, axis.high, log=axis.log)


class _Watch(tune.Callback):
    """Tells a watcher what Ray Tune says of trials; what the watcher raises ends the sweep.

    Attributes:
        problem: what the watcher raised; Ray Tune takes it for a trial's error, or keeps the text alone.
    """

    def __init__(self, watcher: Watcher, axes: tuple[Axis, ...]) -> None:
        self._watcher = watcher
        self._axes = axes
        self.problem: Exception | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune pickles its callbacks, a connection cannot be, and nobody reads it."""
        return {}

    def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
        if self.problem is not None:
            raise self.problem

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._tell(self._watcher.started, trial)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._tell(self._watcher.ended, trial, {name: trial.last_result[name] for name in REPORTED})

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._tell(self._watcher.failed, trial, _crash(trial))

    def _tell(self, tell: Callable[..., None], trial: Any, *what: Any) -> None:
        if self.problem is not None:
            raise self.problem
        try:
            tell(trial.trial_id, decoded(trial.config, self._axes), *what)
        except Exception as error:
            self.problem = error
            raise


def _crash(trial: Any) -> str:
    """Why a trial crashed, from the text that Ray Tune leaves of it: the pickle beside it is never loaded."""
    try:
        with open(trial.error_file, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except (OSError, TypeError):
        text = ""
    return trials_of.reason(text)


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
