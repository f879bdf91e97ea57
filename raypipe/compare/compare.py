"""Compare simpler models with a pipeline's champion: the same rows, the same test, a table of the champion's gains.

the champion's snapshots → training table → each model → registry, as candidates → comparison, stored
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from raypipe.artifact import stores
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import runtime
from raypipe.compare.candidates import Champion, compare_models
from raypipe.compare.comparison import Comparison
from raypipe.config.load import Loaded
from raypipe.config.model import Baselines
from raypipe.errors import ModelError, UsageError
from raypipe.fit import empty_tables, registration
from raypipe.fit.recipe import PARTS, Recipe, labels_of, model_fields, recipe_of
from raypipe.progress import Progress
from raypipe.registry import models
from raypipe.registry.aliases import CHAMPION
from raypipe.registry.record import model_id
from raypipe.registry.training_runs import CompletedRun, TrainingResult, finish_run, newest

# run_type in ml_model_training_runs; test_metrics holds the comparison. sql/baselines/report.sql reads it.
KIND = "comparison"


def compare(
    endpoint: Endpoint, loaded: Loaded, as_of: date | None, progress: Progress, *, again: bool = False
) -> Comparison:
    """Fit the models on the rows of the champion's fit, and store how they compare.

    Args:
        loaded: the config of a pipeline with a section `baselines`.
        as_of: the last day with usable data; None for the snapshots of the champion's own fit, or for the newest
            snapshots without a champion.
        again: whether to fit again when a complete comparison with this champion is stored.

    Raises:
        UsageError: the config has no section `baselines`.
        DataError: no model can be fitted on the rows.
    """
    settings, config = _settings(loaded), loaded.config
    horizon = config.label.horizon_days if config.label else None
    with Client(endpoint) as client:
        stores.at(config.artifacts, client).require()
        champion = _champion(client, settings.of)
        last = _last_day(champion.fit if champion else None, horizon, as_of)
        recipes = _recipes(client, loaded, settings, last)
        attempt = _attempt(config.pipeline, settings, champion, recipes)
        stored = newest(client, attempt.run.model_id, KIND)
        if not again and stored and stored.hyperparameters == attempt.run.hyperparameters:
            known = _complete(stored, champion)
            if known:
                return known
        session, shared = runtime.session(endpoint, config.ray), next(iter(recipes.values()))
        with registration.recorded(client, attempt), empty_tables.named(client, shared), session as workers:
            if any(recipe.workers for recipe in recipes.values()):
                workers.ready()
            comparison = compare_models(client, settings.of, recipes, champion, config.artifacts, progress)
            train, validation, test = (comparison.rows[part] for part in PARTS)
            outcome = TrainingResult(train, validation, test, test_metrics=comparison.to_json())
            finish_run(client, attempt.run, outcome, datetime.now(UTC))
    return comparison


def require_complete(comparison: Comparison) -> int:
    """Return the number of fitted models, or raise the errors of models that could not be fitted."""
    if comparison.failed:
        raise ModelError(
            f"{len(comparison.failed)} of the models of {comparison.pipeline} could not be fitted",
            found="; ".join(f"{model.name}: {model.error}" for model in comparison.failed),
            next_step=f"correct them in the config of {comparison.pipeline}; the others are compared and registered",
        )
    return sum(model.kind == "model" for model in comparison.models)


def _settings(loaded: Loaded) -> Baselines:
    if loaded.config.baselines is None:
        raise UsageError(
            f"{loaded.config.pipeline} compares no models", found="no section baselines", allowed="a config with one"
        )
    return loaded.config.baselines


def _champion(client: Client, pipeline: str) -> Champion | None:
    version = models.find_alias(client, pipeline, CHAMPION)
    if version is None:
        return None
    return Champion(version, newest(client, version.model_id, "fit"))


def _complete(stored: CompletedRun, champion: Champion | None) -> Comparison | None:
    """Return a stored comparison; None where a part is missing, or where another version of raypipe wrote it."""
    try:
        comparison = Comparison.from_json(stored.test_metrics)
    except ValueError:
        return None
    is_whole = not comparison.failed and bool(comparison.champion) == (champion is not None)
    return comparison if is_whole else None


def _last_day(fit: CompletedRun | None, horizon: int | None, as_of: date | None) -> date | None:
    """Return the last day of the champion's own labels, which chooses its snapshots, or an earlier `as_of`."""
    if fit is None:
        return as_of
    last = fit.test_date + timedelta(days=horizon or 0)
    return last if as_of is None else min(as_of, last)


def _recipes(client: Client, loaded: Loaded, settings: Baselines, as_of: date | None) -> dict[str, Recipe]:
    """Return the recipe of each model by its name: the shared pipeline's own recipe with another model."""
    shared = replace(loaded, config=loaded.config.model_copy(update={"pipeline": settings.of}))
    recipe = recipe_of(client, shared, as_of)
    named = replace(recipe, pipeline=loaded.config.pipeline)
    return {model.name: replace(named, **model_fields(model)) for model in settings.models}


def _attempt(
    pipeline: str, settings: Baselines, champion: Champion | None, recipes: Mapping[str, Recipe]
) -> registration.Attempt:
    """Return the comparison's training run; equal comparisons have equal hyperparameters."""
    portable: list[Any] = [asdict(_without_paths(recipe)) for recipe in recipes.values()]
    text = json.dumps([*portable, registration.environment()], sort_keys=True, default=str)
    attempt = registration.begin(next(iter(recipes.values())), datetime.now(UTC))
    run = replace(
        attempt.run,
        run_id=f"{pipeline}_{KIND}_{secrets.token_hex(4)}",
        model_id=model_id(pipeline, KIND),
        name=f"{pipeline} of {settings.of}",
        kind=KIND,
        hyperparameters={
            "of": settings.of,
            "champion": champion.version.version if champion else "",
            "models": list(recipes),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        },
    )
    return replace(attempt, run=run)


def _without_paths(recipe: Recipe) -> Recipe:
    """Return the recipe without the paths of its files, which differ between machines."""
    features, labels = replace(recipe.features_sql, source=""), replace(labels_of(recipe), source="")
    return replace(recipe, folder=Path(), features_sql=features, labels_sql=labels)
