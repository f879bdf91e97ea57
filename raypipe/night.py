"""A night of one pipeline, then of all of them. Start reading here.

A night builds the day's features if a pipeline needs them, then runs every enabled pipeline in dependency order. A
failed pipeline does not stop the others: each publishes all of its rows or none.

fit:       snapshots → frozen contract → training table → model → metrics beside baselines → registry
score:     champion → manifest → lock → slices on threads or Ray actors → staging → ledger → gate → swap → commit
verify:    source, ledger, model, targets and views by plain SQL
validate:  earlier predictions, once their labels have arrived
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Literal

from raypipe.ads import ads
from raypipe.alerts import alerts, prometheus
from raypipe.alerts.alerts import Review
from raypipe.alerts.reading import Outcome
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import runtime
from raypipe.compare.compare import compare, require_complete
from raypipe.config.load import Loaded
from raypipe.errors import ConfigError, GateRefused, RaypipeError
from raypipe.features import snapshots
from raypipe.fit.fit import FitResult, fit
from raypipe.progress import Progress, prefixed
from raypipe.proof.verify import verify
from raypipe.registry import models
from raypipe.registry.aliases import CHAMPION
from raypipe.score.runs import Run
from raypipe.score.score import ScoreResult, score
from raypipe.validate.validate import ValidationResult, validate_newest

log = logging.getLogger(__name__)

# The step before all pipelines; it belongs to the nights of pipelines that name it in `after`.
FEATURES = snapshots.PIPELINE


@dataclass(frozen=True)
class NightResult:
    """A night of one pipeline: its fit (None if no fit was due), its run, and its validated earlier predictions.

    `scoring_seconds` are the run's own, without the fit.
    """

    fit: FitResult | None
    score: ScoreResult
    scoring_seconds: float
    validation: ValidationResult


def run_pipeline(
    endpoint: Endpoint, loaded: Loaded, day: date | None, progress: Progress, *, take_over: bool = False
) -> NightResult:
    """Fit if that is due, score the population, and validate earlier predictions.

    A fit is due without a champion, and every night with `model.refit: nightly`.

    Raises:
        GateRefused: the first version did not earn its promotion.
    """
    pipeline = loaded.config.pipeline
    with Client(endpoint) as client:
        champion = models.find_alias(client, pipeline, CHAMPION)
    is_due = champion is None or loaded.config.model.refit == "nightly"
    with runtime.kept():
        fitted = fit(endpoint, loaded, day, progress) if is_due else None
        if fitted and champion is None and not fitted.fitted.decision.promote:
            raise GateRefused(
                f"The first version of {pipeline} is not good enough to publish",
                found=fitted.fitted.decision.reason,
                next_step=f"improve it, or publish it all the same: `raypipe score {pipeline} --model latest`",
            )
        started = time.perf_counter()
        scored = score(endpoint, loaded, day, CHAMPION, progress, take_over=take_over)
        seconds = time.perf_counter() - started
    with Client(endpoint) as client:
        return NightResult(fitted, scored, seconds, validate_newest(client, loaded, progress))


@dataclass(frozen=True)
class Step:
    """The result of one step of a night: of the features, or of a pipeline.

    Attributes:
        status: `refused` by a gate or by the verification, or `failed` with an error.
        run_id: the run that published, the `batch_id` of its rows; None without one.
        date: the snapshot; None if none was reached.
        rows_published: rows published, users with features, or models compared.
        verified: whether the published rows were verified and right; None where no run was published.
        reason: the reason of a refusal or failure; otherwise empty.
    """

    pipeline: str
    status: Literal["done", "refused", "failed"]
    run_id: str | None = None
    date: date | None = None
    rows_published: int = 0
    verified: bool | None = None
    verify_seconds: float = 0.0
    seconds: float = 0.0
    reason: str = ""


def run_night(
    endpoint: Endpoint,
    pipelines: Mapping[str, Loaded],
    day: date | None,
    timezone: str,
    progress: Progress,
    *,
    take_over: bool = False,
) -> Iterator[Step]:
    """Run a whole night, and yield each step as it ends.

    Args:
        day: the snapshot; None for the newest.
        timezone: the zone of the features' days.
        take_over: whether the locks of other processes may be taken.

    Raises:
        ConfigError: pipelines wait for each other; nothing has run.
    """
    order = ordered({name: loaded.config.after for name, loaded in pipelines.items()})
    if any(FEATURES in loaded.config.after for loaded in pipelines.values()):
        yield _step(
            FEATURES, partial(_build_features, endpoint, day, timezone, prefixed(FEATURES, progress), take_over)
        )
    # Pipelines that use Ray share one connection.
    with runtime.kept():
        for name in order:
            yield _step(name, partial(_publish, endpoint, pipelines[name], day, prefixed(name, progress), take_over))


def review(endpoint: Endpoint, pipelines: Mapping[str, Loaded], steps: Sequence[Step], seconds: float) -> Review:
    """Raise and send the alerts of a night, and give its metrics to Prometheus. An error is only a warning.

    Args:
        seconds: the duration of the night.
    """
    outcomes = [Outcome(step.pipeline, step.status == "done", step.seconds, step.reason) for step in steps]
    configs = {name: loaded.config for name, loaded in pipelines.items()}
    # The features have no file of their own; the rules of a pipeline that waits for them apply.
    waiting = [config for config in configs.values() if FEATURES in config.after]
    judged = {**configs, FEATURES: waiting[0]} if waiting else configs
    reviewed = alerts.review(endpoint, judged, outcomes)
    problems = prometheus.publish(endpoint, configs, outcomes, reviewed.open, seconds)
    return replace(reviewed, warnings=(*reviewed.warnings, *problems))


def ordered(after: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the pipelines in dependency order, alphabetically among equals.

    Args:
        after: by pipeline, the pipelines to run before it; pipelines that are not keys are ignored.

    Raises:
        ConfigError: pipelines wait for each other.
    """
    graph = {name: sorted(set(before) & after.keys()) for name, before in sorted(after.items())}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ConfigError(
            "Pipelines wait for each other", found=" → ".join(error.args[1]), next_step="remove one from `after`"
        ) from error


def _build_features(endpoint: Endpoint, day: date | None, timezone: str, progress: Progress, take_over: bool) -> Step:
    with Client(endpoint) as client:
        now = datetime.now(UTC).replace(microsecond=0)
        built = snapshots.compute(client, day, run_at=now, timezone=timezone, progress=progress, take_over=take_over)
    days = built.days
    return Step(FEATURES, "done", date=days[-1].date, rows_published=sum(built.rows for built in days))


def _publish(endpoint: Endpoint, loaded: Loaded, day: date | None, progress: Progress, take_over: bool) -> Step:
    config = loaded.config
    if config.baselines is not None:
        compared = require_complete(compare(endpoint, loaded, day, progress))
        return Step(config.pipeline, "done", date=day, rows_published=compared)
    if config.ads is not None:
        run = ads.run_ads(endpoint, loaded, day, progress, take_over=take_over).outcome.run
    else:
        run = run_pipeline(endpoint, loaded, day, progress, take_over=take_over).score.outcome.run
    progress("verify", 0, 1)
    return _verified(endpoint, Step(config.pipeline, "done", run.run_id, run.date, run.rows_published), run)


def _verified(endpoint: Endpoint, step: Step, run: Run) -> Step:
    """Verify what a step has published; the step is refused where anything is wrong."""
    try:
        with Client(endpoint) as client:
            result = verify(client, run, fresh=True)
    except RaypipeError as error:
        reason = f"the run {run.run_id} is published, but could not be verified: {error}"
        return replace(step, status="failed", verified=False, reason=reason)
    step = replace(step, verified=result.is_ok, verify_seconds=result.seconds)
    if result.is_ok:
        return step
    wrong = ", ".join(check.name for check in result.wrong)
    reason = f"the run is published, but wrong: {wrong}; `raypipe verify {run.run_id}` shows the difference"
    return replace(step, status="refused", reason=reason)


def _step(name: str, work: Callable[[], Step]) -> Step:
    started = time.perf_counter()
    try:
        step = work()
    except GateRefused as refused:
        step = Step(name, "refused", reason=str(refused))
    except RaypipeError as error:
        step = Step(name, "failed", reason=str(error))
    except Exception as error:
        # A fault in one pipeline's own model or SQL must not cost the others their night.
        log.debug("%s", name, exc_info=True)
        step = Step(name, "failed", reason=f"an unexpected {type(error).__name__}: {error}")
    return replace(step, seconds=round(time.perf_counter() - started, 3))
