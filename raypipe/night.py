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
from typing import Any, Literal

from raypipe.ads import ads
from raypipe.alerts import alerts, prometheus
from raypipe.alerts.alerts import Review
from raypipe.alerts.reading import Outcome
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import runtime
from raypipe.compare.compare import compare, require_complete
from raypipe.config.load import Loaded
from raypipe.config.order import ordered
from raypipe.config.schema import PipelineConfig
from raypipe.errors import GateRefused, RaypipeError
from raypipe.features import snapshots
from raypipe.fit.fit import FitResult
from raypipe.fit.recipe import newest_day
from raypipe.progress import Progress, prefixed
from raypipe.proof.verify import verify
from raypipe.registry import models
from raypipe.registry.aliases import CHAMPION
from raypipe.registry.record import PRODUCTION, Registered
from raypipe.registry.refits import FIRST, Cause
from raypipe.score import allocation
from raypipe.score.runs import Run
from raypipe.score.score import ScoreResult, score
from raypipe.sweep.auto import fit
from raypipe.validate.validate import ValidationResult, validate_newest
from raypipe.versions.refit import due

log = logging.getLogger(__name__)

# The step before all pipelines; it belongs to the nights of pipelines that name it in `after`.
FEATURES = snapshots.PIPELINE


@dataclass(frozen=True)
class Refit:
    """The fit of a night: its cause, and its result, or the reason why it failed."""

    cause: Cause
    fit: FitResult | None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the fit as JSON-ready values."""
        version = self.fit.version if self.fit else None
        return {
            **self.cause.to_json(),
            "model_version": version.version if version else None,
            "promoted": version is not None and version.status == PRODUCTION,
            "error": self.error,
        }


@dataclass(frozen=True)
class NightResult:
    """A night of one pipeline: its fit (None if no fit was due), its run, and its validated earlier predictions.

    `scoring_seconds` are the run's own, without the fit. `warnings` say that a refit failed, or that the version is
    provisional.
    """

    refit: Refit | None
    score: ScoreResult
    scoring_seconds: float
    validation: ValidationResult
    warnings: tuple[str, ...]

    @property
    def fit(self) -> FitResult | None:
        """Return the result of the fit; None without one."""
        return self.refit.fit if self.refit else None


def run_pipeline(
    endpoint: Endpoint, loaded: Loaded, day: date | None, progress: Progress, *, take_over: bool = False
) -> NightResult:
    """Fit if that is due, score the population, and validate earlier predictions.

    A fit is due without a champion, and as `model.refit` says. If the fit of a new version fails, the champion scores.

    Raises:
        GateRefused: the first version did not earn its promotion.
    """
    config = loaded.config
    with Client(endpoint) as client:
        champion = models.find_alias(client, config.pipeline, CHAMPION)
        cause = _cause(client, config, champion, day)
    with runtime.kept():
        refit = _fit(endpoint, loaded, day, progress, cause, champion) if cause else None
        started = time.perf_counter()
        scored = score(endpoint, loaded, day, CHAMPION, progress, take_over=take_over)
        seconds = time.perf_counter() - started
    with Client(endpoint) as client:
        scorer = models.find(client, config.pipeline, scored.manifest.model_version)
        validation = validate_newest(client, loaded, progress)
    return NightResult(refit, scored, seconds, validation, tuple(_warnings(refit, scorer)))


def _cause(client: Client, config: PipelineConfig, champion: Registered | None, day: date | None) -> Cause | None:
    night = day or newest_day(client, config)
    if champion is None:
        return Cause(FIRST, night, f"{FIRST}: there was no champion")
    return due(client, champion, config.model.refit, night)


def _fit(
    endpoint: Endpoint,
    loaded: Loaded,
    day: date | None,
    progress: Progress,
    cause: Cause,
    champion: Registered | None,
) -> Refit:
    try:
        result = fit(endpoint, loaded, day, progress, cause=cause)
    except Exception as error:
        # Without a champion nothing can be published; with one, a fault of the new version must not cost the night.
        if champion is None:
            raise
        log.debug("%s", loaded.config.pipeline, exc_info=True)
        reason = str(error) if isinstance(error, RaypipeError) else f"an unexpected {type(error).__name__}: {error}"
        return Refit(cause, None, reason)
    if champion is None and not result.fitted.decision.promote:
        pipeline = loaded.config.pipeline
        raise GateRefused(
            f"The first version of {pipeline} is not good enough to publish",
            found=result.fitted.decision.reason,
            next_step=f"improve it, or publish it all the same: `raypipe score {pipeline} --model latest`",
        )
    return Refit(cause, result)


def _warnings(refit: Refit | None, scorer: Registered) -> Iterator[str]:
    if refit and refit.error:
        yield f"the refit failed, and the champion {scorer.version} scored: {refit.error} ({refit.cause.reason})"
    if scorer.is_provisional:
        reason = (scorer.evaluation.get("decision") or {}).get("reason", "")
        yield f"the champion {scorer.version} is {reason}"


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
        refit: the night's fit, as `Refit.to_json` returns it; None where no fit was due.
        warnings: what does not stop the pipeline, but should be known.
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
    refit: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()


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
    refit: Refit | None = None
    warnings: tuple[str, ...] = ()
    if config.ads is not None:
        run = ads.run_ads(endpoint, loaded, day, progress, take_over=take_over).outcome.run
    else:
        night = run_pipeline(endpoint, loaded, day, progress, take_over=take_over)
        run, refit, warnings = night.score.outcome.run, night.refit, night.warnings
    progress("verify", 0, 1)
    step = Step(config.pipeline, "done", run.run_id, run.date, run.rows_published)
    return _verified(endpoint, replace(step, refit=refit.to_json() if refit else None, warnings=warnings), run)


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
    allocation.give_back()
    return replace(step, seconds=round(time.perf_counter() - started, 3))
