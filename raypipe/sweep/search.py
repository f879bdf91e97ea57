"""Run the trials of a sweep, and pick the best."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.errors import ModelError, RaypipeError
from raypipe.progress import Progress
from raypipe.registry.training_runs import DATES
from raypipe.registry.trials import FinishedTrial, SweepDescription, TrialRuns
from raypipe.sweep import sampler, space, trial
from raypipe.sweep.plan import SweepPlan


@dataclass(frozen=True)
class SearchResult:
    """The finished trials.

    Attributes:
        default: the trial of the pipeline's own configuration; None if it was no trial.
        outside: the axes that do not hold the pipeline's own configuration, which then is no trial.
    """

    trials: Sequence[FinishedTrial]
    best: FinishedTrial
    default: FinishedTrial | None
    outside: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Return the finished, the early stopped and the crashed trials."""
        failed = sum(bool(item.error) for item in self.trials)
        stopped = sum(not item.error and not item.result["final"] for item in self.trials)
        return {"done": len(self.trials), "stopped_early": stopped, "failed": failed}


class Interrupted(KeyboardInterrupt):
    """A sweep was interrupted. Finished trials are kept, and the sweep can be resumed."""


def search(client: Client, plan: SweepPlan, progress: Progress, begins: Callable[[], None]) -> SearchResult:
    """Run the trials that ml_model_training_runs does not have as finished; Ray must be connected.

    Args:
        begins: called after all checks, before the first row is written.

    Raises:
        ConfigError: the metric is not produced, the trials do not fit into the cluster, or Optuna is not installed.
        DataError: rows of this sweep in ml_model_training_runs were changed.
        ModelError: every trial crashed.
        Interrupted: Ctrl-C stopped the sweep.
    """
    # Ray Tune takes seconds to import, a cost that other commands should not bear.
    from raypipe.sweep import tuner

    sampler.require_optuna()
    tuner.require_room(plan.trials, plan.concurrent, plan.cpus)
    _drop_tables(client, plan)
    progress("reading features and labels", 0, 0)
    rows = trial.read(client, plan.recipe, f"{plan.table}_rows")
    trial.require_metric(plan, rows)
    point, outside = space.own_point(plan.recipe, plan.axes)
    runs = TrialRuns(client, _described(plan, rows), progress)
    begins()
    started = time.monotonic()
    try:
        tuner.run_trials(plan, client.endpoint, rows, runs, None if outside else point)
        if len(runs.over) < plan.trials:
            if plan.minutes is None or time.monotonic() < started + plan.minutes * 60:
                raise Interrupted(plan.name)
            runs.give_up(f"the {plan.minutes:g} minutes of the search were over")
            _require_trials(plan, runs.over)
    except BaseException:
        # Without ClickHouse the rows stay RUNNING, which means the same to a resumed sweep.
        with suppress(RaypipeError):
            runs.give_up(f"the sweep was stopped; `raypipe sweep {plan.recipe.pipeline} --resume {plan.name}` goes on")
        raise
    finally:
        # The outcome of the trials matters more than tables that `raypipe doctor --clean` drops as well.
        with suppress(RaypipeError):
            _drop_tables(client, plan)
    return _result(plan, runs.over, space.decoded(point, plan.axes), tuple(outside))


def _require_trials(plan: SweepPlan, over: Sequence[FinishedTrial]) -> None:
    if not over:
        raise ModelError(
            "No trial of the search ended in time",
            found=f"{plan.minutes:g} minutes",
            next_step="allow more minutes, or search on fewer rows (split.max_train_rows)",
        )


def _described(plan: SweepPlan, rows: trial.TrialRows) -> SweepDescription:
    return SweepDescription(
        plan.name,
        plan.recipe.pipeline,
        f"{plan.recipe.features_sql.source}{DATES}{plan.recipe.dates_of('train')}",
        len(rows.train),
        len(rows.validation),
        plan.metric,
        plan.higher_is_better,
        plan.trials,
    )


def _drop_tables(client: Client, plan: SweepPlan) -> None:
    """Drop the tables of trials that were ended while they read, and the tables of a killed process."""
    prefix = f"{plan.table}_"
    sql = "SELECT name FROM system.tables WHERE database = {database:String} AND startsWith(name, {prefix:String})"
    for (table,) in client.rows(sql, {"database": client.endpoint.database, "prefix": prefix}):
        client.run(f"DROP TABLE IF EXISTS {identifier(table)} SYNC")


def _result(
    plan: SweepPlan, trials: Sequence[FinishedTrial], own: Mapping[str, Any], outside: tuple[str, ...]
) -> SearchResult:
    usable = [item for item in trials if not item.error]
    if not usable:
        raise ModelError(
            f"Every trial crashed: {len(trials)} of {len(trials)}",
            found=trials[0].error,
            next_step="correct the space or the pipeline's config; ml_model_training_runs has the error of each trial",
        )
    best = (max if plan.higher_is_better else min)(usable, key=lambda item: item.result["metric"])
    default = next((item for item in usable if dict(item.values) == dict(own)), None)
    return SearchResult(trials, best, default, outside)
