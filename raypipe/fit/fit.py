"""Fit a version of a pipeline's model: snapshots → contract → training table → Ray Train → metrics → registry."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime

from raypipe.artifact import files
from raypipe.artifact.contract import describe_query
from raypipe.artifact.package import load_card
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import runtime
from raypipe.config.load import Loaded
from raypipe.config.schema import PipelineConfig
from raypipe.data.slices import unsliced
from raypipe.errors import ModelError
from raypipe.fit import emptiness, registration
from raypipe.fit.fitting import Fitted, fitter
from raypipe.fit.recipe import Champion, Recipe, recipe_of
from raypipe.progress import Progress
from raypipe.registry import models
from raypipe.registry.aliases import CHAMPION
from raypipe.registry.record import Registered


@dataclass(frozen=True)
class FitResult:
    """A registered version and its evaluation."""

    version: Registered
    fitted: Fitted


def fit(
    endpoint: Endpoint, loaded: Loaded, as_of: date | None, progress: Progress, *, changed_contract: bool = False
) -> FitResult:
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
            runtime.session(endpoint, config.ray) as workers,
        ):
            if needs_ray(config):
                workers.ready()
            fitted = fitter(recipe.family)(
                client,
                recipe,
                f"raypipe_training_{config.pipeline}_{secrets.token_hex(4)}",
                champion,
                lambda message: progress(message, 0, 0),
            )
            artifact = files.save(config.artifacts, fitted.files)
            version = registration.complete(client, attempt, recipe, fitted, artifact)
        version = registration.settle(client, version, fitted.decision, standing.version if standing else None)
    return FitResult(version, fitted)


def needs_ray(config: PipelineConfig) -> bool:
    """Return whether the fit needs Ray's workers; a model without labels is fitted in this process."""
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
