"""One sweep: trials on training and validation rows, then the best and the default on the test snapshot, once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.errors import ModelError, RaypipeError
from raypipe.fit.fitting import Fitted, fit_version
from raypipe.fit.recipe import Champion, Recipe, labels_of
from raypipe.progress import Progress
from raypipe.registry.trials import FinishedTrial, SweepDescription, TrialRuns
from raypipe.sweep import space, trial
from raypipe.sweep.sampler import Search

DEFAULT = "default configuration"


@dataclass(frozen=True)
class SweepPlan:
    """What is swept and how far; plain values of a pipeline's config.

    Attributes:
        name: of the sweep; its tables, rows and files are called by it.
        space: by dotted key, as the config has it.
        metric: on validation rows, that decides.
        trials: how many.
        concurrent: at a time at most; None for as many as there is room for.
        cpus: of each trial.
        grace_rounds: rounds that every trial gets.
    """

    name: str
    space: Mapping[str, Mapping[str, Sequence[Any]]]
    metric: str
    trials: int
    concurrent: int | None
    cpus: int
    grace_rounds: int


@dataclass(frozen=True)
class Searched:
    """What the trials found.

    Attributes:
        trials: how many are over.
        stopped_early: how many of them were stopped for being worse than others.
        failed: how many crashed.
        best: the values of the best, by dotted key.
        best_trial: its id.
        validation: its metrics on validation rows.
        own: the metrics of the pipeline's own configuration there, where it was a trial.
        outside: what the space does not hold of the pipeline's own configuration, which then is no trial.
        is_own: whether the best is the pipeline's own configuration.
    """

    trials: int
    stopped_early: int
    failed: int
    best: Mapping[str, Any]
    best_trial: str
    validation: Mapping[str, Any]
    own: Mapping[str, Any] | None
    outside: tuple[str, ...]
    is_own: bool


@dataclass(frozen=True)
class Judged:
    """The best and the pipeline's own configuration, fitted anew and evaluated on the same test rows.

    Attributes:
        best: None where no trial was better than the pipeline's own configuration.
        recipe: of the best.
    """

    default: Fitted
    best: Fitted | None
    recipe: Recipe


class Interrupted(KeyboardInterrupt):
    """A sweep was stopped; what is finished is kept, and it can go on."""


def identity(recipe: Recipe, plan: SweepPlan) -> str:
    """A hash of all that must be the same where a sweep goes on; where and how fast it runs does not count."""
    texts = [recipe.features_sql.text, labels_of(recipe).text]
    elsewhere = ("folder", "features_sql", "labels_sql", "levels", "workers", "cpus_per_worker", "slice_rows")
    values = {name: str(value) for name, value in vars(recipe).items() if name not in elsewhere}
    described = [texts, values, plan.space, plan.metric, plan.trials, plan.grace_rounds]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def search(
    client: Client,
    recipe: Recipe,
    plan: SweepPlan,
    progress: Progress,
    begins: Callable[[], None] = lambda: None,
) -> Searched:
    """Runs the trials that ml_model_training_runs does not know to be over; Ray must be connected.

    Args:
        client: where the data is.
        recipe: the pipeline's own.
        plan: what to vary.
        progress: told the stage, what is done and what there is to do.
        begins: called when nothing more can be refused, before anything is kept.

    Raises:
        ConfigError: there is nothing to search, the metric is not produced, the trials do not fit into the cluster, or
            Optuna is not installed.
        DataError: rows of this sweep in ml_model_training_runs are not as a sweep writes them.
        ModelError: every trial crashed.
        Interrupted: it was stopped by Ctrl-C.
    """
    # Ray Tune takes seconds to import, which other commands would pay for nothing.
    from raypipe.sweep import tuner

    axes = space.axes(plan.space)
    tuner.require_optuna()
    tuner.require_room(plan.trials, plan.concurrent, plan.cpus)
    _drop_tables(client, plan.name)
    progress("reading features and labels", 0, 0)
    seen = trial.unseeing(recipe)
    table = f"raypipe_training_{plan.name}"
    rows = trial.read(client, seen, f"{table}_rows")
    higher = trial.require_metric(seen, rows, plan.metric)
    own, outside = space.own_point(recipe, axes)
    most = space.most_rounds(recipe, axes)
    source = f"{recipe.features_sql.source} @ {', '.join(item.date.isoformat() for item in seen.snapshots)}"
    described = SweepDescription(
        plan.name, recipe.pipeline, source, len(rows.train), len(rows.validation), plan.metric, higher, plan.trials
    )
    runs = TrialRuns(client, described, progress)
    wanted = Search(
        plan.name,
        plan.trials,
        plan.concurrent,
        plan.cpus,
        higher,
        recipe.shares.seed,
        None if outside else own,
        most,
        min(plan.grace_rounds, most),
        tuple(runs.over),
        tuple(runs.unfinished),
    )
    common = trial.Trials(
        client.endpoint, seen, axes, plan.metric, plan.cpus, trial.rungs(plan.grace_rounds, most), table
    )
    begins()
    try:
        tuner.search(wanted, common, rows, runs)
        if len(runs.over) < plan.trials:
            raise Interrupted(plan.name)
    except BaseException:
        # Where ClickHouse is what failed, the rows stay RUNNING, which says the same to a sweep that goes on.
        with suppress(RaypipeError):
            runs.give_up(f"the sweep was stopped; `raypipe sweep {recipe.pipeline} --resume {plan.name}` goes on")
        raise
    finally:
        _drop_tables(client, plan.name)
    return _summed_up(runs.over, higher, space.decoded(own, axes), tuple(outside))


def _drop_tables(client: Client, name: str) -> None:
    """Drops the tables of trials that were ended while they read, and those of a killed process."""
    beginning = f"raypipe_training_{name}_"
    sql = "SELECT name FROM system.tables WHERE database = {database:String} AND startsWith(name, {beginning:String})"
    for (table,) in client.rows(sql, {"database": client.endpoint.database, "beginning": beginning}):
        client.run(f"DROP TABLE IF EXISTS {identifier(table)} SYNC")


def _summed_up(
    found: Sequence[FinishedTrial], higher: bool, own: Mapping[str, Any], outside: tuple[str, ...]
) -> Searched:
    usable = [one for one in found if not one.error]
    failed = [one for one in found if one.error]
    if not usable:
        raise ModelError(
            f"Every trial crashed: {len(failed)} of {len(found)}",
            found=failed[0].error,
            next_step="correct the space or the pipeline's config; ml_model_training_runs has the error of each trial",
        )
    best = (max if higher else min)(usable, key=lambda one: one.result["metric"])
    standing = next((one for one in usable if dict(one.values) == dict(own)), None)
    return Searched(
        trials=len(found),
        stopped_early=sum(not one.result["final"] for one in usable),
        failed=len(failed),
        best=best.values,
        best_trial=best.trial,
        validation=best.result["metrics"],
        own=standing.result["metrics"] if standing else None,
        outside=outside,
        is_own=standing is best,
    )


def judge(
    client: Client,
    recipe: Recipe,
    plan: SweepPlan,
    searched: Searched,
    champion: Champion | None,
    progress: Progress,
) -> Judged:
    """Fits the pipeline's own configuration and the best anew, and evaluates both on the test snapshot."""
    table = f"raypipe_training_{plan.name}"

    def fitting(what: str) -> Callable[[str], None]:
        return lambda message: progress(f"{what}: {message}", 0, 0)

    default = fit_version(client, recipe, f"{table}_default", champion, fitting(f"the {DEFAULT}"))
    chosen = space.changed(recipe, dict(searched.best))
    best = None
    if not searched.is_own:
        best = fit_version(client, chosen, f"{table}_best", champion, fitting("the best"), {DEFAULT: default.package})
    return Judged(default, best, chosen)
