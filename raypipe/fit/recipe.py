"""The recipe of a fit: the model, its rows and its evaluation, as plain values of a pipeline's config."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from raypipe.artifact.contract import Contract, describe_query
from raypipe.artifact.freeze import freeze
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, load
from raypipe.config.evaluate import METRICS
from raypipe.config.features import Feature
from raypipe.config.load import Loaded
from raypipe.config.model import ModelConfig
from raypipe.config.schema import PipelineConfig
from raypipe.data import split
from raypipe.data.days import today
from raypipe.data.slices import unsliced
from raypipe.data.split import Dates
from raypipe.errors import ConfigError
from raypipe.evaluation.threshold import Objective
from raypipe.models.protocol import load_family

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Shares:
    """The split of the entities: the shares of test and validation, the cap on training rows, the seed."""

    test: float
    validation: float
    max_train_rows: int
    seed: int


@dataclass(frozen=True)
class Snapshot:
    """A snapshot, the parts of the split that it contributes to, and the parameters of its queries."""

    date: date
    parts: tuple[str, ...]
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """Everything that a fit needs from a pipeline's config; `folder` holds the pipeline's SQL."""

    pipeline: str
    keys: tuple[str, ...]
    carry: tuple[str, ...]
    inputs: tuple[str, ...]
    parameters: Mapping[str, Any]
    entity_id: str
    features: Sequence[Feature]
    folder: Path
    features_sql: Statement
    labels_sql: Statement | None
    snapshots: tuple[Snapshot, ...]
    test_date: date
    shares: Shares
    label_kind: str
    score_range: tuple[float, float] | None
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
    slice_rows: int | None
    classes: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    dates_rule: str = ""

    @property
    def dates(self) -> Dates:
        """Return the dates of the snapshots."""
        train = tuple(snapshot.date for snapshot in self.snapshots if "train" in snapshot.parts)
        return Dates(train, self.test_date, self.dates_rule)

    def test_parameters(self, contract: Contract) -> dict[str, Any]:
        """Return the parameters that a version's features query binds on the test snapshot."""
        test = next(snapshot for snapshot in self.snapshots if "test" in snapshot.parts)
        return {**test.parameters, **contract.parameters}

    def dates_of(self, part: str) -> str:
        """Return the snapshots of a part, as `2026-01-01, 2026-01-31`."""
        return ", ".join(snapshot.date.isoformat() for snapshot in self.snapshots if part in snapshot.parts)


def labels_of(recipe: Recipe) -> Statement:
    """Return the labels query of a recipe, or refuse a recipe without a label."""
    if recipe.labels_sql is None:
        raise ConfigError(
            f"{recipe.pipeline} has no label",
            found=recipe.family,
            allowed=f"a section `label` in the config, and sql/{recipe.pipeline}/labels.sql",
        )
    return recipe.labels_sql


def recipe_of(client: Client, loaded: Loaded, as_of: date | None) -> Recipe:
    """Return the recipe of a pipeline, with the snapshots to read.

    Args:
        as_of: the last day with usable data; None for the newest snapshot.

    Raises:
        ConfigError: the model's family does not know a parameter or has no model for such a label, or features.sql
            does not bind a parameter of the config.
    """
    config = loaded.config
    label = config.label
    kind = label.kind if label else "none"
    load_family(config.model.class_path).check(config.model.params, kind)
    features = load(loaded.sql(f"{config.pipeline}/features.sql"))
    unused = sorted(config.parameters.keys() - features.parameters)
    if unused:
        raise ConfigError(
            f"{features.source} does not bind a parameter of the config",
            found=", ".join(unused),
            allowed=", ".join(sorted(features.parameters)),
            next_step=f"write it as {{{unused[0]}:Type}} there, or take it out of `parameters`",
        )
    snapshots, dates = _snapshots(client, config, as_of)
    return Recipe(
        pipeline=config.pipeline,
        keys=config.entity.keys,
        carry=config.carry,
        inputs=config.inputs,
        parameters=config.parameters,
        entity_id=config.entity.id,
        features=config.used_features,
        folder=loaded.sql(config.pipeline),
        features_sql=features,
        labels_sql=load(loaded.sql(f"{config.pipeline}/labels.sql")) if label else None,
        snapshots=snapshots,
        test_date=dates.test,
        dates_rule=dates.rule,
        shares=Shares(
            config.split.test_share, config.split.validation_share, config.split.max_train_rows, config.split.seed
        ),
        label_kind=kind,
        classes=label.classes if label else (),
        trusted=config.evaluate.trusted,
        score_range=label.score_range if label else None,
        **model_fields(config.model),
        metric=config.evaluate.metric or METRICS[kind if label else "binary"][0],
        threshold=config.evaluate.threshold,
        resamples=config.evaluate.bootstrap,
        suspicious_auc=config.evaluate.suspicious_auc,
        persistence=config.evaluate.persistence,
        levels=tuple((level.name, level.below) for level in config.levels),
        slice_rows=config.score.rows_per_slice,
    )


def model_fields(model: ModelConfig) -> dict[str, Any]:
    """Return the fields of a recipe that a section `model` of the config sets."""
    names = ("params", "early_stopping_rounds", "balance", "workers", "cpus_per_worker")
    rounds = model.rounds or load_family(model.class_path).default_rounds
    return {"family": model.class_path, "rounds": rounds, **{name: getattr(model, name) for name in names}}


def newest_day(client: Client, config: PipelineConfig) -> date:
    """Return the newest snapshot, or today for a table without snapshots."""
    source = config.source
    if source.date_column is None:
        return today(config.timezone)
    return split.resolve_date(split.snapshots(client, source.table, source.date_column), None, source.table)


def _snapshots(client: Client, config: PipelineConfig, as_of: date | None) -> tuple[tuple[Snapshot, ...], Dates]:
    source, horizon = config.source, config.label.horizon_days if config.label else None
    if source.date_column is None:
        return _one_snapshot(config, as_of or newest_day(client, config))
    days = split.snapshots(client, source.table, source.date_column)
    if horizon is None:
        return _one_snapshot(config, split.resolve_date(days, as_of, source.table))
    last = as_of or split.resolve_date(days, None, source.table)
    every = None if config.split.train_every_days == "auto" else config.split.train_every_days
    dates = split.choose_dates(list(days), last, horizon, config.split.train_snapshots, every)
    parts = {**dict.fromkeys(dates.train, ("train", "validation")), dates.test: ("test",)}
    chosen = tuple(
        Snapshot(day, names, split.parameters(day, day + timedelta(days=horizon), config))
        for day, names in parts.items()
    )
    return chosen, dates


def _one_snapshot(config: PipelineConfig, day: date) -> tuple[tuple[Snapshot, ...], Dates]:
    return (Snapshot(day, PARTS, split.parameters(day, day, config)),), Dates((day,), day, "the only one")


def frozen(client: Client, recipe: Recipe) -> Contract:
    """Return the feature contract of a recipe, frozen on its training snapshots."""
    return freeze(
        client,
        recipe.features,
        recipe.keys,
        recipe.carry,
        unsliced(recipe.features_sql.text),
        [snapshot.parameters for snapshot in recipe.snapshots if "train" in snapshot.parts],
        recipe.features_sql.source,
        inputs=recipe.inputs,
        parameters=recipe.parameters,
    )


def require_contract(client: Client, recipe: Recipe, contract: Contract) -> None:
    """Refuse a contract that the recipe's features query does not fulfil on the test snapshot."""
    query = unsliced(recipe.features_sql.text)
    contract.check(describe_query(client, query, recipe.test_parameters(contract)))
