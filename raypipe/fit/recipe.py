"""What a fit is asked: what to fit, on which rows, judged how, and against which champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from raypipe.artifact.freeze import DeclaredFeature
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, load
from raypipe.config.load import Loaded
from raypipe.config.schema import PipelineConfig
from raypipe.data import split
from raypipe.data.days import today
from raypipe.errors import ConfigError
from raypipe.evaluation.evaluate import Objective
from raypipe.fit.training_table import Shares, Snapshot


@dataclass(frozen=True)
class Recipe:
    """What is fitted, on what, and how it is judged; plain values of a pipeline's config.

    Attributes:
        folder: where the pipeline's SQL is.
    """

    pipeline: str
    keys: tuple[str, ...]
    carry: tuple[str, ...]
    inputs: tuple[str, ...]
    parameters: Mapping[str, Any]
    entity_id: str
    features: Sequence[DeclaredFeature]
    folder: Path
    features_sql: Statement
    labels_sql: Statement | None
    snapshots: tuple[Snapshot, ...]
    test_date: date
    shares: Shares
    label_kind: str
    family: str
    params: Mapping[str, Any]
    rounds: int
    early_stopping_rounds: int
    balance: str
    workers: int
    cpus_per_worker: int
    metric: str
    threshold: Objective
    resamples: int
    suspicious_auc: float
    persistence: str | None
    levels: tuple[tuple[str, float], ...]
    slice_rows: int


@dataclass(frozen=True)
class Champion:
    """The version that scores today, to be compared on the same test rows."""

    artifact_uri: str
    artifact_sha256: str


def labels_of(recipe: Recipe) -> Statement:
    """The labels query of a recipe.

    Raises:
        ConfigError: it has none.
    """
    if recipe.labels_sql is None:
        raise ConfigError(
            f"{recipe.pipeline} has no label to fit, to compare or to search by",
            found=recipe.family,
            allowed=f"a section `label` in the config, and sql/{recipe.pipeline}/labels.sql",
        )
    return recipe.labels_sql


def recipe_of(client: Client, loaded: Loaded, as_of: date | None) -> Recipe:
    """The config's plain values, and the snapshots to read.

    Raises:
        ConfigError: features.sql does not bind a parameter of the config.
    """
    config = loaded.config
    label = config.label
    features = load(loaded.sql(f"{config.pipeline}/features.sql"))
    unused = sorted(config.parameters.keys() - features.parameters)
    if unused:
        raise ConfigError(
            f"{features.source} does not bind a parameter of the config",
            found=", ".join(unused),
            allowed=", ".join(sorted(features.parameters)),
            next_step=f"write it as {{{unused[0]}:Type}} there, or take it out of `parameters`",
        )
    snapshots, test_date = _snapshots(client, config, as_of)
    return Recipe(
        pipeline=config.pipeline,
        keys=config.entity.keys,
        carry=config.carry,
        inputs=config.inputs,
        parameters=config.parameters,
        entity_id=config.entity.id,
        features=config.features,
        folder=loaded.sql(config.pipeline),
        features_sql=features,
        labels_sql=load(loaded.sql(f"{config.pipeline}/labels.sql")) if label else None,
        snapshots=snapshots,
        test_date=test_date,
        shares=Shares(
            config.split.test_share, config.split.validation_share, config.split.max_train_rows, config.split.seed
        ),
        label_kind=label.kind if label else "none",
        family=config.model.class_path,
        params=config.model.params,
        rounds=config.model.rounds,
        early_stopping_rounds=config.model.early_stopping_rounds,
        balance=config.model.balance,
        workers=config.model.workers,
        cpus_per_worker=config.model.cpus_per_worker,
        metric=config.evaluate.metric,
        threshold=config.evaluate.threshold,
        resamples=config.evaluate.bootstrap,
        suspicious_auc=config.evaluate.suspicious_auc,
        persistence=config.evaluate.persistence,
        levels=tuple((level.name, level.below) for level in config.levels),
        slice_rows=config.score.slice_rows,
    )


def _snapshots(client: Client, config: PipelineConfig, as_of: date | None) -> tuple[tuple[Snapshot, ...], date]:
    source, horizon = config.source, config.label.horizon_days if config.label else None
    if source.date_column is None:
        return _one_snapshot(config, as_of or today(config.timezone))
    found = split.snapshots(client, source.table, source.date_column)
    if horizon is None:
        return _one_snapshot(config, split.resolve_date(found, as_of, source.table))
    last = as_of or split.resolve_date(found, None, source.table)
    dates = split.choose_dates(list(found), last, horizon, config.split.train_snapshots)
    days = [(day, ("train", "validation")) for day in dates.train] + [(dates.test, ("test",))]
    chosen = tuple(
        Snapshot(day, parts, split.parameters(day, day + timedelta(days=horizon), config)) for day, parts in days
    )
    return chosen, dates.test


def _one_snapshot(config: PipelineConfig, day: date) -> tuple[tuple[Snapshot, ...], date]:
    return (Snapshot(day, ("train", "validation", "test"), split.parameters(day, day, config)),), day
