"""Fit a version of a pipeline's model: snapshots → contract → training table → Ray Train → metrics → registry."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from raypipe.artifact import stores
from raypipe.artifact.package import load_card
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import runtime
from raypipe.config.load import Loaded
from raypipe.config.schema import PipelineConfig
from raypipe.data.split import Dates
from raypipe.errors import ModelError
from raypipe.fit import empty_tables, registration
from raypipe.fit.fitted import Fitted, fitter_of
from raypipe.fit.point_in_time import read_as_now
from raypipe.fit.recipe import Recipe, newest_day, recipe_of, require_contract
from raypipe.fit.training_table import scratch_name
from raypipe.progress import Progress
from raypipe.registry import models
from raypipe.registry.aliases import CHAMPION
from raypipe.registry.record import Registered
from raypipe.registry.refits import BY_HAND, Cause


@dataclass(frozen=True)
class FitResult:
    """A registered version, its evaluation, and the snapshots of its rows.

    Attributes:
        read_as_now: the tables that were read as they are now, for past dates as well.
    """

    version: Registered
    fitted: Fitted
    dates: Dates
    read_as_now: tuple[str, ...]


def fit(
    endpoint: Endpoint,
    loaded: Loaded,
    as_of: date | None,
    progress: Progress,
    *,
    changed_contract: bool = False,
    cause: Cause | None = None,
) -> FitResult:
    """Fit, judge and register a version: the champion when it earns that, otherwise the challenger.

    Args:
        as_of: the last day with usable data; None for the newest snapshot.
        changed_contract: whether the features query may lack columns of the champion, which then is not compared.
        cause: why a night fits; None for a fit by hand.

    Raises:
        DataError: the features query does not yield the columns of the champion.
    """
    config = loaded.config
    with Client(endpoint) as client:
        store = stores.at(config.artifacts, client)
        store.require()
        day = as_of or newest_day(client, config)
        recipe = recipe_of(client, loaded, day)
        champion = models.find_alias(client, config.pipeline, CHAMPION)
        if champion and not changed_contract:
            _require_contract_of(client, recipe, champion)
        cause = cause or Cause(BY_HAND, day, "fitted by hand")
        attempt = registration.begin(recipe, datetime.now(UTC), cause=cause)
        with (
            registration.recorded(client, attempt),
            registration.in_training(client, attempt, recipe),
            empty_tables.named(client, recipe),
            runtime.session(endpoint, config.ray) as workers,
        ):
            if needs_ray(config):
                workers.ready()
            fit_version = fitter_of(recipe.family)
            fitted = fit_version(client, recipe, scratch_name(config.pipeline), champion, progress)
            artifact = store.put(fitted.files)
            version = registration.complete(client, attempt, recipe, fitted, artifact)
        as_now = read_as_now(client, recipe)
        version = registration.settle(client, version, fitted.decision, champion.version if champion else None)
    # The rows are registered; a run that follows needs their memory.
    fitted = replace(fitted, x=fitted.x[:0].copy())
    return FitResult(version, fitted, recipe.dates, as_now)


def needs_ray(config: PipelineConfig) -> bool:
    """Return whether the fit needs Ray; without `model.workers`, this process fits."""
    return config.label is not None and config.model.workers > 0


def _require_contract_of(client: Client, recipe: Recipe, champion: Registered) -> None:
    """Refuse a features query that has drifted away from the champion's contract, before the fit."""
    try:
        contract = load_card(champion.artifact_uri, champion.artifact_sha256, client).contract
    except ModelError:
        # An unreadable champion must not prevent the next fit; the fit's warnings name it.
        return
    require_contract(client, recipe, contract)
