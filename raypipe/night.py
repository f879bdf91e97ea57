"""A night of one pipeline, then of all of them. Start reading here.

A night builds the day's features, then runs every enabled pipeline in dependency order. A failed pipeline does not stop
the others: each publishes all of its rows or none.

fit:       snapshots → frozen contract → training table → Ray Train → metrics beside baselines → registry
score:     champion → manifest → lock → slices over Ray actors → staging → ledger → gate → swap → commit
validate:  earlier predictions, once their labels have arrived
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Literal

from raypipe.ads import ads
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import runtime
from raypipe.compare import baselines
from raypipe.config.load import Loaded
from raypipe.errors import ConfigError, GateRefused, RaypipeError
from raypipe.features import snapshots
from raypipe.fit.fit import FitResult, fit, needs_ray
from raypipe.progress import Progress
from raypipe.registry import models
from raypipe.registry.aliases import CHAMPION
from raypipe.score.score import ScoreResult, score
from raypipe.validate import validation

log = logging.getLogger(__name__)

# The step before all pipelines; a pipeline may name it in `after`.
FEATURES = snapshots.PIPELINE


@dataclass(frozen=True)
class Step:
    """What became of one pipeline.

    Attributes:
        status: `refused` when a gate held it back, `failed` when an error ended it.
        run_id: the run that published, the `batch_id` of its rows; None where nothing was published.
        date: the snapshot; None where none was come to.
        rows_published: rows published, users with features, or models compared.
        reason: why it was refused or failed; '' when it is done.
    """

    pipeline: str
    status: Literal["done", "refused", "failed"]
    run_id: str | None
    date: date | None
    rows_published: int
    seconds: float
    reason: str


@dataclass(frozen=True)
class _Done:
    """What a step has made."""

    rows: int
    day: date | None = None
    run_id: str | None = None


NOTHING = _Done(0)


def ordered(after: Mapping[str, Sequence[str]]) -> list[str]:
    """The pipelines so that each comes behind those that it names, in alphabetical order otherwise.

    Args:
        after: by pipeline, what must run before it; a name that is not run tonight counts for nothing.

    Raises:
        ConfigError: some wait for each other.
    """
    graph = {name: sorted(set(before) & after.keys()) for name, before in sorted(after.items())}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ConfigError(
            "Pipelines wait for each other", found=" → ".join(error.args[1]), next_step="take one out of `after`"
        ) from error


@dataclass(frozen=True)
class NightResult:
    """A night of one pipeline: its fit (None where the champion stood), its run and its earlier predictions.

    `scoring_seconds` are the run's own, without the fit.
    """

    fit: FitResult | None
    score: ScoreResult
    scoring_seconds: float
    validation: validation.Outcome


def run_pipeline(endpoint: Endpoint, loaded: Loaded, day: date | None, progress: Progress) -> NightResult:
    """Fit where it is due, score the population, and judge earlier predictions.

    A fit is due without a champion, and every night where the config says so.

    Raises:
        GateRefused: the first version did not earn its promotion.
    """
    pipeline = loaded.config.pipeline
    with Client(endpoint) as client:
        champion = models.find_alias(client, pipeline, CHAMPION)
    is_due = champion is None or loaded.config.model.refit == "nightly"
    with runtime.session(endpoint, loaded.config.ray) as workers:
        if is_due and needs_ray(loaded.config):
            workers.ready()
        fitted = fit(endpoint, loaded, day, progress) if is_due else None
        if fitted and champion is None and not fitted.fitted.decision.promote:
            raise GateRefused(
                f"The first version of {pipeline} is not good enough to publish",
                found=fitted.fitted.decision.reason,
                next_step=f"improve it, or publish it all the same: `raypipe score {pipeline} --model latest`",
            )
        started = time.perf_counter()
        scored = score(endpoint, loaded, day, CHAMPION, progress)
        seconds = time.perf_counter() - started
    with Client(endpoint) as client:
        return NightResult(fitted, scored, seconds, validation.tonight(client, loaded, progress))


def run_night(
    endpoint: Endpoint, pipelines: Mapping[str, Loaded], day: date | None, timezone: str, progress: Progress
) -> Iterator[Step]:
    """Does the night, and yields each step as it ends.

    Args:
        endpoint: the ClickHouse.
        pipelines: the configs of the pipelines to run, by name.
        day: the snapshot; None for the newest.
        timezone: the zone in which the day of the features is cut.
        progress: told the pipeline and its stage, what is done and what there is to do.

    Raises:
        ConfigError: some wait for each other; nothing is done then.
    """
    order = ordered({name: loaded.config.after for name, loaded in pipelines.items()})
    yield _step(FEATURES, partial(_features, endpoint, day, timezone, _of(FEATURES, progress)))
    for name in order:
        yield _step(name, partial(_published, endpoint, pipelines[name], day, _of(name, progress)))


def _published(endpoint: Endpoint, loaded: Loaded, day: date | None, progress: Progress) -> _Done:
    if loaded.config.baselines is not None:
        return _Done(baselines.require_whole(baselines.run(endpoint, loaded, day, progress)), day)
    if loaded.config.ads is not None:
        run = ads.run(endpoint, loaded, day, progress).outcome.run
    else:
        run = run_pipeline(endpoint, loaded, day, progress).score.outcome.run
    return _Done(run.rows_published, run.date, run.run_id)


def _features(endpoint: Endpoint, day: date | None, timezone: str, progress: Progress) -> _Done:
    with Client(endpoint) as client:
        now = datetime.now(UTC).replace(microsecond=0)
        built = snapshots.compute(client, day, run_at=now, timezone=timezone, progress=progress).days
    return _Done(sum(one.rows for one in built), built[-1].date)


def _step(name: str, work: Callable[[], _Done]) -> Step:
    started = time.perf_counter()

    def ended(status: Literal["done", "refused", "failed"], done: _Done = NOTHING, reason: str = "") -> Step:
        return Step(name, status, done.run_id, done.day, done.rows, round(time.perf_counter() - started, 3), reason)

    try:
        return ended("done", work())
    except GateRefused as refused:
        return ended("refused", reason=str(refused))
    except RaypipeError as error:
        return ended("failed", reason=str(error))
    except Exception as error:
        # A fault in one pipeline's own model or SQL must not cost the others their night.
        log.debug("%s", name, exc_info=True)
        return ended("failed", reason=f"an unexpected {type(error).__name__}: {error}")


def _of(name: str, progress: Progress) -> Progress:
    return lambda stage, done, total: progress(f"{name}: {stage}", done, total)
