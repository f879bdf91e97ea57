"""What a policy for ads leaves in the registry; the same events and settings are one version, registered once."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime

import numpy as np

from raypipe.ads import bandit
from raypipe.ads.ad_events import TEST, AdEvents
from raypipe.ads.fit import FittedAds, Recipe, fit
from raypipe.artifact import files
from raypipe.artifact.files import Artifact
from raypipe.clickhouse.client import Client
from raypipe.fit import registration
from raypipe.registry import aliases, models
from raypipe.registry.features import FeatureRecord, record_features, summarise
from raypipe.registry.record import CANDIDATE, ModelRecord, Registered, model_id
from raypipe.registry.training_runs import TrainingResult, TrainingRun, finish_run


def version(client: Client, recipe: Recipe, events: AdEvents, root: str) -> tuple[Registered, FittedAds]:
    """The version that these events and settings make: found again where it is registered, else recorded.

    Args:
        client: of the database with the registry.
        recipe: what to learn.
        events: from what.
        root: the artifacts' folder.

    Raises:
        DataError: no ad was shown; the training run says so.
    """
    environment = registration.environment()
    text = json.dumps([events.sha256, asdict(recipe), environment], sort_keys=True, default=str)
    number = f"{recipe.window.day:%Y%m%d}.{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    known = next((one for one in models.list_models(client, recipe.pipeline) if one.version == number), None)
    attempt = registration.Attempt(number, _training_run(recipe, number))
    with nullcontext() if known else registration.recorded(client, attempt):
        fitted = fit(events, recipe)
        evaluation = json.dumps(fitted.evaluation, indent=1, sort_keys=True).encode()
        artifact = files.save(root, {**fitted.policy.files(), "evaluation.json": evaluation})
        if known is None:
            known = _register(client, recipe, attempt, fitted, artifact, events, environment)
    return known, fitted


def promote(client: Client, model: Registered, reason: str) -> Registered:
    """Makes a version champion, unless it is already, or the champion is of a later day."""
    standing = models.find_alias(client, model.pipeline, aliases.CHAMPION)
    if standing is None or (standing.version != model.version and standing.version[:8] <= model.version[:8]):
        return registration.promote(client, model, reason)
    return model


def _training_run(recipe: Recipe, number: str) -> TrainingRun:
    window = recipe.window
    return TrainingRun(
        run_id=f"{recipe.pipeline}_fit_{secrets.token_hex(4)}",
        model_id=model_id(recipe.pipeline, number),
        name=f"{recipe.pipeline} {number}",
        started_at=datetime.now(UTC),
        hyperparameters={**asdict(recipe.settings), "arms": recipe.arms, "context": window.context},
        training_source=f"{recipe.source} @ {window.since}…{window.day}",
        test_source=f"the last {window.test_days} days of it",
    )


def _register(
    client: Client,
    recipe: Recipe,
    attempt: registration.Attempt,
    fitted: FittedAds,
    artifact: Artifact,
    events: AdEvents,
    environment: Mapping[str, str],
) -> Registered:
    shown = sum(row["impressions"] for row in events.rows())
    record = ModelRecord(
        pipeline=recipe.pipeline,
        version=attempt.version,
        status=CANDIDATE,
        model_type="bandit",
        framework=bandit.FRAMEWORK,
        algorithm=bandit.ALGORITHM,
        format=bandit.FORMAT,
        trained_at=attempt.run.started_at,
        artifact_uri=artifact.uri,
        artifact_sha256=artifact.sha256,
        training_rows=shown,
        training_seconds=fitted.seconds,
        training_source=attempt.run.training_source,
        description=recipe.description,
        environment=environment,
        evaluation=fitted.evaluation,
        metadata={"date": recipe.window.day.isoformat(), "unusable": events.unusable, "warnings": fitted.warnings},
    )
    # The version comes last: one that is registered is not made again, so nothing of it may be missing.
    record_features(client, attempt.run.model_id, _features(recipe, events), datetime.now(UTC))
    registered = models.register(client, record, datetime.now(UTC))
    completed = TrainingResult(
        training_rows=shown,
        test_rows=sum(row["impressions"] for row in events.rows(TEST)),
        test_metrics=fitted.evaluation["test"],
        artifact_uri=artifact.uri,
    )
    finish_run(client, attempt.run, completed, datetime.now(UTC))
    return registered


def _features(recipe: Recipe, events: AdEvents) -> list[FeatureRecord]:
    """The columns that the policy learned from, with their range over contexts and arms; none outweighs another."""
    names = list(recipe.columns)
    cells = events.cells.group_by(["context", "arm"]).aggregate([(name, "sum") for name in names])
    x = np.column_stack([cells[f"{name}_sum"].to_numpy() for name in names]).astype(np.float32)
    return [replace(one, description=recipe.columns[one.name]) for one in summarise(x, names, [0.0] * len(names))]
