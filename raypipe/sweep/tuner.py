"""Run trials on Ray Tune: Optuna suggests the values, ASHA stops bad trials, and both know earlier trials.

ASHA: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning". Each trial is one process with its own
CPUs and no process below it, so that a trial can wait for the CPUs of others but never for its own.

Ray Tune's files do not outlive the process: they hold pickles, which run code when they are read.
docs/decisions/0016-a-sweep-goes-on-from-its-rows.md
"""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from types import SimpleNamespace
from typing import Any

from ray import tune
from ray.tune.error import TuneError
from ray.tune.schedulers import ASHAScheduler

from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster.connection import node_cpus, room
from raypipe.cluster.runtime import quiet_libraries
from raypipe.errors import ConfigError
from raypipe.registry.trials import FinishedTrial, TrialRuns
from raypipe.sweep import sampler
from raypipe.sweep.plan import REDUCTION, SweepPlan
from raypipe.sweep.space import Axis, decoded
from raypipe.sweep.trial import TrialRows, reason, run_trial

log = logging.getLogger(__name__)

# Ray Tune's own loggers would write the parameters of each trial as pickles and CSV.
_NO_LOGGERS = "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"
REPORTED = ("rounds", "metric", "metrics", "final", "rungs")


def require_room(trials: int, concurrent: int | None, cpus: int) -> int:
    """Return the number of trials at a time, or refuse a cluster with too few CPUs."""
    nodes = node_cpus(cpus)
    most = room(nodes, cpus)
    if (concurrent or 1) > most:
        raise ConfigError(
            "The sweep does not fit into the Ray cluster",
            found=f"{concurrent or 1} trials at a time x {cpus} CPUs",
            allowed=f"{most} trials of {cpus} CPUs at a time: {sum(nodes)} CPUs, at most {max(nodes)} on a node",
            next_step="lower sweep.concurrent (null takes all the CPUs) or sweep.cpus, or add nodes",
        )
    return min(concurrent or most, trials)


def run_trials(
    plan: SweepPlan, endpoint: Endpoint, rows: TrialRows, runs: TrialRuns, first: Mapping[str, Any] | None
) -> None:
    """Run the trials that are left, and record each in `runs`; return early after Ctrl-C.

    Args:
        runs: the trials of an earlier process, and the rows to write.
        first: the point of the pipeline's own configuration, tried first; None if the space does not hold it.

    Raises:
        ConfigError: the trials do not fit into the cluster.
        DataError: the space does not hold an earlier trial.
    """
    left = plan.trials - len(runs.over)
    if left <= 0:
        return
    at_once = require_room(left, plan.concurrent, plan.cpus)
    os.environ.setdefault(_NO_LOGGERS, "1")
    searcher, watch = sampler.suggester(plan, first, runs.over, runs.unfinished), _Watch(runs, plan.axes)
    trial = tune.with_parameters(_trial, plan=plan, endpoint=endpoint, rows=rows)
    # Private to this user, on this machine: trials report to this process and write nothing there.
    with _quiet(), tempfile.TemporaryDirectory(prefix="raypipe_sweep_", ignore_cleanup_errors=True) as private:
        tuner = tune.Tuner(
            tune.with_resources(trial, {"cpu": plan.cpus}),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler(plan, runs.over),
                num_samples=left,
                max_concurrent_trials=at_once,
                time_budget_s=plan.minutes * 60 if plan.minutes else None,
                # A process takes longer to start than many a trial to run.
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=plan.name,
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


def _trial(config: dict[str, Any], plan: SweepPlan, endpoint: Endpoint, rows: TrialRows) -> None:
    """Run one trial; the function of a trial's process."""
    run_trial(plan, endpoint, rows, decoded(config, plan.axes), tune.report)


def scheduler(plan: SweepPlan, finished: Sequence[FinishedTrial] = ()) -> Any:
    """Return ASHA, which knows the metrics of the finished trials at its rungs."""
    asha = ASHAScheduler(
        time_attr="rounds",
        metric="metric",
        mode=plan.mode,
        max_t=max(plan.most_rounds, plan.grace_rounds),
        grace_period=min(plan.grace_rounds, plan.most_rounds),
        reduction_factor=REDUCTION,
        # A trial ends by itself after its last round.
        stop_last_trials=False,
    )
    for trial in finished:
        if trial.error:
            continue
        # ASHA reads nothing of a trial but its id.
        stub: Any = SimpleNamespace(trial_id=trial.trial)
        asha.on_trial_add(None, stub)  # type: ignore[arg-type]
        for rounds, metric in trial.result["rungs"]:
            asha.on_trial_result(None, stub, {"rounds": rounds, "metric": metric})  # type: ignore[arg-type]
        asha.on_trial_complete(None, stub, dict(trial.result))  # type: ignore[arg-type]
    return asha


class _Watch(tune.Callback):
    """Record in the rows of trials what Ray Tune reports; an error there ends the sweep.

    Attributes:
        problem: that error; Ray Tune would take it for a trial's error, or keep the text alone.
    """

    def __init__(self, runs: TrialRuns, axes: tuple[Axis, ...]) -> None:
        self._runs = runs
        self._axes = axes
        self.problem: Exception | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Ray Tune pickles its callbacks, and a connection cannot be pickled."""
        return {}

    def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
        if self.problem is not None:
            raise self.problem

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._tell(self._runs.started, trial)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._tell(self._runs.ended, trial, {name: trial.last_result[name] for name in REPORTED})

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._tell(self._runs.failed, trial, _crash(trial))

    def _tell(self, record: Callable[..., None], trial: Any, *report: Any) -> None:
        if self.problem is not None:
            raise self.problem
        try:
            record(trial.trial_id, decoded(trial.config, self._axes), *report)
        except Exception as error:
            self.problem = error
            raise


def _crash(trial: Any) -> str:
    """Return the error of a crashed trial from Ray Tune's text; the pickle beside it is never loaded."""
    try:
        with open(trial.error_file, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except (OSError, TypeError):
        text = ""
    return reason(text)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the output of Ray Tune and Optuna off the terminal; errors and results are reported otherwise."""
    quiet_libraries()
    if log.isEnabledFor(logging.DEBUG):
        # Stdout is for the command's JSON.
        with redirect_stdout(sys.stderr):
            yield
        return
    for name in ("ray.tune", "ray.air", "optuna"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
