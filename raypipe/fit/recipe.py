"""What a fit is asked: what to fit, on which rows, judged how, and against which champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from raypipe.clickhouse.statements import Statement
from raypipe.data.freeze import DeclaredFeature
from raypipe.errors import ConfigError
from raypipe.fit.evaluate import Objective
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
