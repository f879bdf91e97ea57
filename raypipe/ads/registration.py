"""Register a policy for ads; the same events and settings make the same version, which is registered once."""

import hashlib
import json
import secrets
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime

import numpy as np

from raypipe.ads import bandit
from raypipe.ads.events import TEST, AdEvents
from raypipe.ads.fit import FittedPolicy, PolicySpec, fit_policy
from raypipe.artifact import files, stores
from raypipe.artifact.files import Artifact
from raypipe.clickhouse.client import Client
from raypipe.fit import registration
from raypipe.registry import aliases, models
from raypipe.registry.features import FeatureRecord, record_features, summarise
from raypipe.registry.record import CANDIDATE, ModelRecord, Registered, model_id
from raypipe.registry.training_runs import TrainingResult, TrainingRun, finish_run


def version(client: Client, spec: PolicySpec, events: AdEvents, root: str) -> tuple[Registered, FittedPolicy]:
    """Fit the version of these events and settings, and register it unless it is registered already.

    Raises:
        DataError: no ad was shown; the training run records it.
    """
    environment = registration.environment()
    # The format takes part, so that an artifact of an earlier format is never taken for this version's.
    text = json.dumps([files.FORMAT, events.sha256, asdict(spec), environment], sort_keys=True, default=str)
    content = hashlib.sha256(text.encode()).hexdigest()[:12]
    versions = models.list_models(client, spec.pipeline)
    known = next((model for model in versions if model.version.endswith(content)), None)
    started_at = datetime.now(UTC)
    number = known.version if known else f"{started_at:%Y%m%d.%H%M%S}.{content}"
    attempt = registration.Attempt(number, _training_run(spec, number, started_at))
    with nullcontext() if known else registration.recorded(client, attempt):
        fitted = fit_policy(events, spec)
        evaluation = json.dumps(fitted.evaluation, indent=1, sort_keys=True).encode()
        artifact = stores.at(root, client).put({**fitted.policy.files(), "evaluation.json": evaluation})
        if known is None:
            known = _register(client, spec, attempt, fitted, artifact, events, environment)
    return known, fitted


def promote(client: Client, model: Registered, reason: str) -> Registered:
    """Make a version the champion, unless the champion is this version or belongs to a later day."""
    champion = models.find_alias(client, model.pipeline, aliases.CHAMPION)
    if champion is None or (champion.version != model.version and _day(champion) <= _day(model)):
        return registration.promote(client, model, reason)
    return model


def _day(model: Registered) -> str:
    """Return the last day of a version's window; '' for a version of another kind of model."""
    return str(model.metadata.get("date", ""))


def _training_run(spec: PolicySpec, number: str, started_at: datetime) -> TrainingRun:
    window = spec.window
    return TrainingRun(
        run_id=f"{spec.pipeline}_fit_{secrets.token_hex(4)}",
        model_id=model_id(spec.pipeline, number),
        name=f"{spec.pipeline} {number}",
        started_at=started_at,
        hyperparameters={**window.settings.model_dump(mode="json"), "seed": spec.seed},
        training_source=f"{spec.source} @ {window.since}…{window.day}",
        test_source=f"the last {window.settings.test_days} days of it",
    )


def _register(
    client: Client,
    spec: PolicySpec,
    attempt: registration.Attempt,
    fitted: FittedPolicy,
    artifact: Artifact,
    events: AdEvents,
    environment: Mapping[str, str],
) -> Registered:
    shown = sum(row["impressions"] for row in events.rows())
    record = ModelRecord(
        pipeline=spec.pipeline,
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
        description=spec.description,
        environment=environment,
        evaluation=fitted.evaluation,
        metadata={"date": spec.window.day.isoformat(), "unusable": events.unusable, "warnings": fitted.warnings},
    )
    # The version comes last: a registered version is not fitted again, so nothing of it may be missing.
    record_features(client, attempt.run.model_id, _features(spec, events), datetime.now(UTC))
    registered = models.register(client, record, datetime.now(UTC))
    completed = TrainingResult(
        training_rows=shown,
        test_rows=sum(row["impressions"] for row in events.rows(TEST)),
        test_metrics=fitted.evaluation["test"],
        artifact_uri=artifact.uri,
    )
    finish_run(client, attempt.run, completed, datetime.now(UTC))
    return registered


def _features(spec: PolicySpec, events: AdEvents) -> list[FeatureRecord]:
    """Return the columns that the policy learned from, with their range over contexts and arms."""
    names = list(spec.columns)
    cells = events.cells.group_by(["context", "arm"]).aggregate([(name, "sum") for name in names])
    x = np.column_stack([cells[f"{name}_sum"].to_numpy() for name in names]).astype(np.float32)
    return [replace(item, description=spec.columns[item.name]) for item in summarise(x, names, [0.0] * len(names))]
