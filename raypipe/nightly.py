"""A night, from a config to published rows. Start reading here.

fit:    snapshots → frozen contract → training table → Ray Train → metrics beside baselines → registry
score:  champion → manifest → lock → slices over Ray actors → staging → ledger → gate → swap → commit
run:    fit where there is no champion, then score; drift is measured on the scoring pass itself, and predictions of
        earlier dates are validated once their outcome is known
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from raypipe import planning, run_drift, runtime, validation
from raypipe.clickhouse import grants, migrate, tables
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.load import Loaded
from raypipe.config.schema import PipelineConfig
from raypipe.data.contract import describe_query
from raypipe.data.slices import Slice, unsliced
from raypipe.errors import GateRefused, ModelError
from raypipe.fit import emptiness, registration
from raypipe.fit.fitting import Fitted, fitter
from raypipe.fit.recipe import Champion, Recipe
from raypipe.monitor import drift
from raypipe.recipes import recipe_of
from raypipe.registry import aliases, artifacts, life, models
from raypipe.registry.models import Registered
from raypipe.registry.package import load_card, load_package
from raypipe.score import lock, publish, runs
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.pool import PoolSize, score_slices
from raypipe.score.run import Outcome, execute
from raypipe.score.worker import SliceScorer

log = logging.getLogger(__name__)

CHAMPION = aliases.CHAMPION
NOT_VALIDATED = validation.Outcome()
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class FitOutcome:
    """A registered version and how it was judged."""

    version: Registered
    fitted: Fitted


@dataclass(frozen=True)
class ScoreOutcome:
    """A published run, the version that scored it, its drift, and what is known of earlier predictions."""

    outcome: Outcome
    manifest: Manifest
    drift: drift.Drift
    validated: validation.Outcome = NOT_VALIDATED


@dataclass(frozen=True)
class Plan:
    """What a scoring run would do.

    Attributes:
        manifest: the run, as it would be frozen.
        population: whom it scores.
        parts: active parts of the base table, each of which a slice reads from.
        methods: `replace` or `move` by target: how its rows get in.
        lacking: grants that the user does not have; None where the server cannot tell.
    """

    manifest: Manifest
    population: planning.Population
    parts: int
    methods: Mapping[str, str]
    lacking: tuple[grants.Grant, ...] | None


def fit(
    endpoint: Endpoint, loaded: Loaded, as_of: date | None, progress: Progress, *, changed_contract: bool = False
) -> FitOutcome:
    """Fits, judges and registers a version; the best so far becomes the champion, another one the challenger.

    Args:
        endpoint: the ClickHouse.
        loaded: the pipeline's config.
        as_of: the last day whose data may be used; None for the newest snapshot.
        progress: told the stage, what is done and what there is to do.
        changed_contract: whether the features query may lack what the champion reads; then the two cannot be compared.

    Raises:
        DataError: the features query does not yield what the champion was fitted on.
    """
    config = loaded.config
    with Client(endpoint) as client:
        recipe = recipe_of(client, loaded, as_of)
        standing = models.find_alias(client, config.pipeline, CHAMPION)
        champion = Champion(standing.artifact_uri, standing.artifact_sha256) if standing else None
        if champion and not changed_contract:
            _require_contract(client, recipe, champion)
        attempt = registration.begin(recipe, datetime.now(UTC))
        with (
            registration.recorded(client, attempt),
            registration.in_training(client, attempt, recipe),
            emptiness.named(client, recipe),
            _ray(endpoint, config) as workers,
        ):
            if _trains(config):
                workers.ready()
            fitted = fitter(recipe.family)(
                client,
                recipe,
                f"raypipe_training_{config.pipeline}_{secrets.token_hex(4)}",
                champion,
                lambda message: progress(message, 0, 0),
            )
            artifact = artifacts.save(config.artifacts, fitted.files)
            version = registration.complete(client, attempt, recipe, fitted, artifact)
        version = registration.settle(client, version, fitted.decision, standing.version if standing else None)
    return FitOutcome(version, fitted)


def score(
    endpoint: Endpoint,
    loaded: Loaded,
    day: date | None,
    reference: str,
    progress: Progress,
    *,
    take_over: bool = False,
) -> ScoreOutcome:
    """Scores a population and publishes it.

    Args:
        endpoint: the ClickHouse.
        loaded: the pipeline's config.
        day: the snapshot; None for the newest.
        reference: the model: a version, an alias such as `champion`, or `latest`.
        progress: told the stage, what is done and what there is to do.
        take_over: whether another run's lock may be taken.
    """
    with Client(endpoint) as client, _ray(endpoint, loaded.config) as workers:
        progress("plan", 0, 1)
        people = planning.population(client, loaded, day)
        model = models.find(client, loaded.config.pipeline, reference)
        life.require_artifact(model)
        # The actors load the model itself, and score its golden rows before anything else.
        card = load_card(model.artifact_uri, model.artifact_sha256)
        _require_cluster(workers)
        if not take_over:
            lock.require_free(client, loaded.config.pipeline)
        manifest = planning.manifest(client, loaded, model, card, people, write=True)
        return _execute(client, loaded.config, manifest, workers, progress, take_over)


def resume(
    endpoint: Endpoint, loaded: Loaded, run_id: str, progress: Progress, *, take_over: bool = False
) -> ScoreOutcome:
    """Finishes an interrupted run from its manifest; what is done stays done.

    Raises:
        UsageError: there is no such run, or it is finished.
    """
    with Client(endpoint) as client, _ray(endpoint, loaded.config) as workers:
        run = runs.find(client, run_id)
        # Asked again under the lock; here before a cluster is asked for anything.
        runs.require_unfinished(run)
        _require_cluster(workers)
        return _execute(client, loaded.config, Manifest.from_json(run.manifest), workers, progress, take_over)


def run(
    endpoint: Endpoint, loaded: Loaded, day: date | None, progress: Progress
) -> tuple[FitOutcome | None, ScoreOutcome]:
    """Fits where there is no champion, or every night where the config says so; scores; looks at earlier predictions.

    Raises:
        GateRefused: the first version did not earn its promotion.
    """
    pipeline = loaded.config.pipeline
    with Client(endpoint) as client:
        standing = models.find_alias(client, pipeline, CHAMPION)
    due = standing is None or loaded.config.model.refit == "nightly"
    with _ray(endpoint, loaded.config) as workers:
        if due and _trains(loaded.config):
            workers.ready()
        fitted = fit(endpoint, loaded, day, progress) if due else None
        if fitted and standing is None and not fitted.fitted.decision.promote:
            raise GateRefused(
                f"The first version of {pipeline} is not good enough to publish",
                found=fitted.fitted.decision.reason,
                next_step=f"improve it, or publish it all the same: `raypipe score {pipeline} --model latest`",
            )
        scored = score(endpoint, loaded, day, CHAMPION, progress)
    with Client(endpoint) as client:
        return fitted, replace(scored, validated=validation.tonight(client, loaded, progress))


def plan(endpoint: Endpoint, loaded: Loaded, day: date | None, reference: str) -> Plan:
    """What `score` would do, without changing anything."""
    with Client(endpoint) as client:
        people = planning.population(client, loaded, day)
        model = models.find(client, loaded.config.pipeline, reference)
        life.require_artifact(model)
        package = load_package(model.artifact_uri, model.artifact_sha256)
        manifest = planning.manifest(client, loaded, model, package, people, write=False)
        targets = [target.table for target in manifest.targets]
        needed = grants.required(endpoint.database, migrate.schema(), targets)
        return Plan(
            manifest,
            people,
            sum(part.parts for part in tables.partitions(client, loaded.config.source.table)),
            {target.table: publish.method(publish.require_target(client, target)) for target in manifest.targets},
            grants.missing(client, needed),
        )


def _execute(
    client: Client,
    config: PipelineConfig,
    manifest: Manifest,
    workers: runtime.Session,
    progress: Progress,
    take_over: bool,
) -> ScoreOutcome:
    found: list[drift.Drift] = []
    actors = config.score.actors
    size = PoolSize(actors.max, actors.cpus, actors.restarts)

    def scorer(manifest: Manifest, slices: Sequence[Slice]) -> Iterator[Receipt]:
        if len(slices) == 1 and workers.starts_here:
            # It would be done before a Ray on this machine had started.
            yield SliceScorer(client.endpoint, manifest, os.cpu_count() or 1).score(slices[0])
            return
        workers.ready()
        yield from score_slices(client.endpoint, manifest, slices, size)
        # The rest is ClickHouse's work.
        workers.release()

    def monitored(manifest: Manifest, written: Sequence[Receipt]) -> None:
        found.append(run_drift.measure(client, config.monitor, manifest, written))

    outcome = execute(client, manifest, scorer, take_over=take_over, progress=progress, monitor=monitored)
    return ScoreOutcome(outcome, manifest, found[0])


def _ray(endpoint: Endpoint, config: PipelineConfig) -> AbstractContextManager[runtime.Session]:
    return runtime.session(endpoint, address=config.ray.address, cpus=config.ray.cpus)


def _require_cluster(workers: runtime.Session) -> None:
    """Refuses a cluster that cannot be used before anything is written; a Ray of its own starts when there is need."""
    if not workers.starts_here:
        workers.ready()


def _trains(config: PipelineConfig) -> bool:
    """Whether a fit needs Ray's workers; what learns without labels fits in this process."""
    return config.label is not None


def _require_contract(client: Client, recipe: Recipe, champion: Champion) -> None:
    """Refuses, before the fit, a features query that has drifted away from what the champion reads."""
    try:
        contract = load_card(champion.artifact_uri, champion.artifact_sha256).contract
    except ModelError:
        # A champion that cannot be read is no reason not to fit another; the fit's warnings will name it.
        return
    parameters = next(item.parameters for item in recipe.snapshots if "test" in item.parts)
    found = describe_query(client, unsliced(recipe.features_sql.text), {**parameters, **contract.parameters})
    contract.check(found)
