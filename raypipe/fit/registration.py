"""Register a fit: its training run, its version, its features and its alias."""

import logging
import platform
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

import raypipe
from raypipe.artifact.files import Artifact
from raypipe.clickhouse.client import Client
from raypipe.errors import Busy, RaypipeError
from raypipe.evaluation.decision import Decision
from raypipe.fit.fitted import Fitted
from raypipe.fit.recipe import Recipe
from raypipe.models.protocol import load_family
from raypipe.registry import champions, models, training_runs
from raypipe.registry.features import FeatureRecord, record_features, summarise
from raypipe.registry.record import CANDIDATE, FAILED, TRAINING, ModelRecord, Registered, model_id
from raypipe.registry.refits import Cause
from raypipe.registry.training_runs import DATES, TrainingResult, TrainingRun

log = logging.getLogger(__name__)

SET_BY = "raypipe fit"
MODEL_TYPES = {"binary": "classification", "number": "regression", "classes": "classification"}
LIBRARIES = ("ray", "xgboost-cpu", "xgboost", "scikit-learn", "implicit", "skops", "numpy", "pyarrow")


@dataclass(frozen=True)
class Attempt:
    """A fit that has begun: the number of its version, and its training run."""

    version: str
    run: TrainingRun


def begin(recipe: Recipe, started_at: datetime, name: str = "", cause: Cause | None = None) -> Attempt:
    """Return a new version number, with `name` at its end, and a training run for a recipe."""
    number = f"{started_at:%Y%m%d.%H%M%S}.{secrets.token_hex(3)}{'.' if name else ''}{name}"
    source = f"{recipe.features_sql.source}{DATES}"
    run = TrainingRun(
        run_id=f"{recipe.pipeline}_fit_{secrets.token_hex(4)}",
        model_id=model_id(recipe.pipeline, number),
        name=f"{recipe.pipeline} {number}",
        started_at=started_at,
        hyperparameters={
            **recipe.params,
            "rounds": recipe.rounds,
            "balance": recipe.balance,
            **({"refit": cause.to_json()} if cause else {}),
        },
        training_source=source + recipe.dates_of("train"),
        validation_source=source + recipe.dates_of("validation"),
        test_source=source + recipe.dates_of("test"),
    )
    return Attempt(number, run)


@contextmanager
def recorded(client: Client, attempt: Attempt) -> Iterator[None]:
    """Record the fit's training run as RUNNING, and as FAILED with the text of an error."""
    training_runs.start_run(client, attempt.run)
    try:
        yield
    except BaseException as error:
        # A failed write must not hide the error of the fit.
        with suppress(RaypipeError):
            training_runs.fail_run(client, attempt.run, error, datetime.now(UTC))
        raise


@contextmanager
def in_training(client: Client, attempt: Attempt, recipe: Recipe) -> Iterator[None]:
    """Register the version as TRAINING, and as FAILED after an error; `complete` makes it a candidate."""
    family = load_family(recipe.family)
    started_at = attempt.run.started_at
    described = (_model_type(recipe), family.framework, family.algorithm, family.format, started_at)
    model = models.register(client, ModelRecord(recipe.pipeline, attempt.version, TRAINING, *described), started_at)
    try:
        yield
    except BaseException:
        with suppress(RaypipeError):
            models.set_status(client, model, FAILED, datetime.now(UTC))
        raise


def complete(
    client: Client,
    attempt: Attempt,
    recipe: Recipe,
    fitted: Fitted,
    artifact: Artifact,
    notes: Mapping[str, Any] | None = None,
    description: str = "",
) -> Registered:
    """Register the version as a candidate, with its features, its completed run, and `notes` in its evaluation."""
    now = datetime.now(UTC)
    family = load_family(recipe.family)
    columns = fitted.package.contract.columns
    importance = fitted.package.model.importance()
    if not len(importance):
        # The model reads no matrix; its columns serve the drift alone.
        importance = np.zeros(len(columns), np.float32)
    weights = {name: round(float(value), 6) for name, value in zip(columns, importance, strict=True)}
    record = ModelRecord(
        pipeline=recipe.pipeline,
        version=attempt.version,
        status=CANDIDATE,
        model_type=_model_type(recipe),
        framework=family.framework,
        algorithm=family.algorithm,
        format=family.format,
        trained_at=attempt.run.started_at,
        artifact_uri=artifact.uri,
        artifact_sha256=artifact.sha256,
        contract_sha256=fitted.package.contract.sha256,
        training_rows=fitted.rows["train"],
        training_seconds=fitted.seconds,
        training_source=attempt.run.training_source,
        description=description,
        environment=environment(),
        metrics={"validation": fitted.validation},
        evaluation={
            "test": fitted.test,
            "baselines": dict(fitted.baselines),
            "decision": fitted.decision.to_json(),
            **(notes or {}),
        },
        importance=weights,
        metadata={"threshold": fitted.package.threshold, "levels": fitted.package.levels, "warnings": fitted.warnings},
    )
    registered = models.register(client, record, now)
    record_features(client, registered.model_id, _features(recipe, fitted, weights), now)
    training_runs.finish_run(
        client,
        attempt.run,
        TrainingResult(
            fitted.rows["train"],
            fitted.rows["validation"],
            fitted.rows["test"],
            {"curves": fitted.history},
            fitted.validation,
            fitted.test,
            weights,
            artifact.uri,
        ),
        datetime.now(UTC),
    )
    return registered


def promote(client: Client, model: Registered, reason: str, *, provisional: bool = False) -> Registered:
    """Make a version the champion."""
    return champions.promote(client, model, reason, SET_BY, datetime.now(UTC), provisional=provisional)


def settle(client: Client, model: Registered, decision: Decision, against: str | None) -> Registered:
    """Make a version the champion when it earned that, otherwise the challenger.

    A version is not promoted when the champion changed during the fit, since the two were not compared.

    Args:
        against: the version of the champion that it was compared with; None without a champion.
    """
    now = datetime.now(UTC)
    if not decision.promote:
        champions.challenge(client, model, decision.reason, SET_BY, now)
        return model
    try:
        champions.require_champion(client, model.pipeline, against)
    except Busy as changed:
        log.warning("%s was not promoted: %s", model.version, changed)
        champions.challenge(client, model, f"{changed.problem}: {changed.found}; {decision.reason}", SET_BY, now)
        return model
    return promote(client, model, decision.reason, provisional=decision.provisional)


def _features(recipe: Recipe, fitted: Fitted, weights: Mapping[str, float]) -> list[FeatureRecord]:
    contract = fitted.package.contract
    declared = {item.name: item for item in recipe.features}
    owners = {column: feature for feature in contract.features for column in feature.columns}
    records = summarise(fitted.x, contract.columns, [weights[name] for name in contract.columns])
    return [
        replace(
            record,
            kind=owners[record.name].kind,
            description=_description(declared[owners[record.name].name]),
            default="NaN" if owners[record.name].default is None else str(owners[record.name].default),
        )
        for record in records
    ]


def _description(feature: Any) -> str:
    unit = f" [{feature.unit}]" if feature.unit else ""
    return f"{feature.description or ''}{unit}".strip()


def _model_type(recipe: Recipe) -> str:
    return MODEL_TYPES.get(recipe.label_kind) or load_family(recipe.family).algorithm


def environment() -> dict[str, str]:
    """Return the versions of Python, raypipe and the libraries that a fit may depend on."""
    versions = {"python": platform.python_version(), "raypipe": raypipe.__version__}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
