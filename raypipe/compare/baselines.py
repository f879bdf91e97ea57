"""Simpler models beside the champion of a pipeline: the same rows, the same test, a table that says what it gains.

the champion's snapshots → training table → each model on Ray Train → registry, as candidates → comparison, stored
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import runtime
from raypipe.compare.comparison import Comparison, Standing, compare
from raypipe.config.load import Loaded
from raypipe.config.schema import Baselines
from raypipe.errors import ModelError, UsageError
from raypipe.fit import emptiness, registration
from raypipe.fit.recipe import Champion, Recipe, labels_of, recipe_of
from raypipe.fit.training_table import PARTS
from raypipe.progress import Progress
from raypipe.registry import models
from raypipe.registry.aliases import CHAMPION
from raypipe.registry.record import model_id
from raypipe.registry.training_runs import CompletedRun, TrainingResult, finish_run, newest

# run_type in ml_model_training_runs; test_metrics holds the comparison. sql/baselines/report.sql reads it.
KIND = "comparison"


def run(endpoint: Endpoint, loaded: Loaded, day: date | None, progress: Progress) -> Comparison:
    """The comparison with the champion that stands; one that is stored and whole is not made again.

    Args and errors are those of `fit`.
    """
    return _comparison(endpoint, loaded, day, progress, again=False)


def fit(endpoint: Endpoint, loaded: Loaded, as_of: date | None, progress: Progress) -> Comparison:
    """Fits the models anew, on the rows that the champion was fitted on, and stores how they compare.

    Args:
        endpoint: the ClickHouse.
        loaded: the config of a pipeline with a section `baselines`.
        as_of: the last day whose data may be used. The champion's own snapshots are taken where they end before it;
            without a champion, the newest.
        progress: told the stage, what is done and what there is to do.

    Raises:
        UsageError: the pipeline compares nothing.
        DataError: the rows cannot be fitted on by any model.
    """
    return _comparison(endpoint, loaded, as_of, progress, again=True)


def require_whole(comparison: Comparison) -> int:
    """The number of models that were fitted.

    Raises:
        ModelError: one of them was not.
    """
    if comparison.failed:
        raise ModelError(
            f"{len(comparison.failed)} of the models of {comparison.pipeline} could not be fitted",
            found="; ".join(f"{model.name}: {model.error}" for model in comparison.failed),
            next_step=f"correct them in the config of {comparison.pipeline}; the others are compared and registered",
        )
    return sum(model.kind == "model" for model in comparison.models)


def _comparison(
    endpoint: Endpoint, loaded: Loaded, as_of: date | None, progress: Progress, *, again: bool
) -> Comparison:
    settings, config = _settings(loaded), loaded.config
    horizon = config.label.horizon_days if config.label else None
    with Client(endpoint) as client:
        standing, its_fit = _champion(client, settings.of)
        recipes = _recipes(client, loaded, settings, _last_day(its_fit, horizon, as_of))
        attempt = _attempt(config.pipeline, settings, standing, recipes)
        stored = newest(client, attempt.run.model_id, KIND)
        if not again and stored and stored.hyperparameters == attempt.run.hyperparameters:
            found = Comparison.from_json(stored.test_metrics)
            if not found.failed:
                return found
        session = runtime.session(endpoint, config.ray)
        shared = next(iter(recipes.values()))
        with registration.recorded(client, attempt), emptiness.named(client, shared), session as workers:
            workers.ready()
            made = compare(
                client,
                settings.of,
                recipes,
                standing,
                f"raypipe_training_{config.pipeline}_{secrets.token_hex(4)}",
                config.artifacts,
                lambda message: progress(message, 0, 0),
            )
            train, validation, test = (made.rows[part] for part in PARTS)
            outcome = TrainingResult(train, validation, test, test_metrics=made.to_json())
            finish_run(client, attempt.run, outcome, datetime.now(UTC))
    return made


def _settings(loaded: Loaded) -> Baselines:
    if loaded.config.baselines is None:
        raise UsageError(
            f"{loaded.config.pipeline} compares nothing",
            found="no section baselines",
            allowed="a config with one",
        )
    return loaded.config.baselines


def _champion(client: Client, pipeline: str) -> tuple[Standing | None, CompletedRun | None]:
    """The champion of a pipeline, and the record of its fit where one is left."""
    found = models.find_alias(client, pipeline, CHAMPION)
    if found is None:
        return None, None
    its_fit = newest(client, found.model_id, "fit")
    artifact = Champion(found.artifact_uri, found.artifact_sha256)
    standing = Standing(found.version, found.model_id, artifact, found.contract_sha256)
    if its_fit is None:
        return standing, None
    return replace(standing, rows=its_fit.rows, dates=its_fit.dates, seconds=its_fit.seconds), its_fit


def _last_day(its_fit: CompletedRun | None, horizon: int | None, wanted: date | None) -> date | None:
    """The last day that the champion's own labels look at, so that its snapshots are chosen, or an earlier."""
    if its_fit is None:
        return wanted
    last = its_fit.test_date + timedelta(days=horizon or 0)
    return last if wanted is None else min(wanted, last)


def _recipes(client: Client, loaded: Loaded, settings: Baselines, as_of: date | None) -> dict[str, Recipe]:
    """What each model is fitted on and how, by its name: the shared pipeline's own recipe, but for the model."""
    shared = replace(loaded, config=loaded.config.model_copy(update={"pipeline": settings.of}))
    recipe = recipe_of(client, shared, as_of)
    return {
        model.name: replace(
            recipe,
            pipeline=loaded.config.pipeline,
            family=model.class_path,
            params=model.params,
            rounds=model.rounds,
            early_stopping_rounds=model.early_stopping_rounds,
            balance=model.balance,
            workers=model.workers,
            cpus_per_worker=model.cpus_per_worker,
        )
        for model in settings.models
    }


def _attempt(
    pipeline: str, settings: Baselines, standing: Standing | None, recipes: Mapping[str, Recipe]
) -> registration.Attempt:
    """The run that the comparison is recorded as; two that would tell the same have the same hyperparameters."""
    everything: list[Any] = [asdict(_anywhere(recipe)) for recipe in recipes.values()]
    text = json.dumps([*everything, registration.environment()], sort_keys=True, default=str)
    attempt = registration.begin(next(iter(recipes.values())), datetime.now(UTC))
    run = replace(
        attempt.run,
        run_id=f"{pipeline}_{KIND}_{secrets.token_hex(4)}",
        model_id=model_id(pipeline, KIND),
        name=f"{pipeline} of {settings.of}",
        kind=KIND,
        hyperparameters={
            "of": settings.of,
            "champion": standing.version if standing else "",
            "models": list(recipes),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        },
    )
    return replace(attempt, run=run)


def _anywhere(recipe: Recipe) -> Recipe:
    """The recipe without the places of its files, which another machine has elsewhere."""
    features, labels = replace(recipe.features_sql, source=""), replace(labels_of(recipe), source="")
    return replace(recipe, folder=Path(), features_sql=features, labels_sql=labels)
