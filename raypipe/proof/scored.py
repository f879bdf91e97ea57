"""Score one entity again with a run's model, and describe its features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from raypipe.artifact.contract import MATRIX, FrozenFeature, Matrix, matrix
from raypipe.artifact.package import Package
from raypipe.config.features import Feature
from raypipe.models.model import Rows, answer
from raypipe.models.protocol import load_family
from raypipe.proof.entity import Row
from raypipe.proof.published import Published
from raypipe.score.fingerprints import Fingerprints, taken


@dataclass(frozen=True)
class FeatureValue:
    """A feature of the entity, as the model reads it now.

    Attributes:
        value: a number or a category; None is missing, or unknown to the model.
        contribution: its part of the score, in the model's raw units; None without explanations.
        changed: whether the run read another value; None where it kept no fingerprint of the entity.
        alike: its near-duplicates: published explanations count all of them as one reason.
    """

    name: str
    value: float | str | None
    unit: str
    description: str
    contribution: float | None
    changed: bool | None
    alike: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scored:
    """An entity's score now.

    Attributes:
        answers: the model's output columns.
        features: those with the largest contribution first, or in the order of the matrix.
        changed: the columns with another value than the run read; None where it kept no fingerprint of the entity.
    """

    score: float
    answers: Mapping[str, Any]
    features: tuple[FeatureValue, ...]
    changed: tuple[str, ...] | None


def score(
    known: Published, package: Package, rows: Sequence[Row], kept: Fingerprints | None, declared: Sequence[Feature]
) -> Scored:
    """Score the rows of an entity, and describe the row with the highest score, which `keep_one` publishes.

    Args:
        kept: the fingerprints of the run.
        declared: the features of the config, for units and descriptions.
    """
    manifest = known.manifest
    table = pa.concat_tables(row.table for row in rows)
    x = matrix(table.column(MATRIX), len(package.contract.columns))
    inputs = {name: table.column(name).combine_chunks() for name in manifest.inputs}
    result = answer(package.model, Rows(x, inputs, manifest.day_end))
    best = int(np.argmax(np.nan_to_num(result.scores, nan=-np.inf)))
    changed = _changed(table, kept)
    contributions = package.model.explain(x)[best] if load_family(package.family).explains else None
    features = _features(package, x[best], contributions, changed, declared)
    answers = {name: result.columns[name][best].as_py() for name, _ in manifest.outputs}
    return Scored(float(result.scores[best]), answers, tuple(features), changed)


def _changed(table: pa.Table, kept: Fingerprints | None) -> tuple[str, ...] | None:
    """Return the columns whose fingerprint of the entity differs from the run's."""
    if kept is None:
        return None
    now = taken(table, kept)
    then_at, now_at = kept.shared(now)
    if not len(then_at):
        return None
    differs = kept.marks[then_at[0]] != now.marks[now_at[0]]
    return tuple(name for name, is_other in zip(kept.columns, differs, strict=True) if is_other)


def _features(
    package: Package,
    x: Matrix,
    contributions: Matrix | None,
    changed: tuple[str, ...] | None,
    declared: Sequence[Feature],
) -> list[FeatureValue]:
    about = {feature.name: feature for feature in declared}
    alike = {name: group for group in package.alike for name in group}
    described = []
    for feature, places in _places(package.contract.features):
        known = about.get(feature.name)
        part = None if contributions is None else round(float(contributions[places].sum()), 6)
        is_changed = None if changed is None else not {feature.name, *feature.columns}.isdisjoint(changed)
        unit, description = (known.unit or "", known.description or "") if known else ("", "")
        like = tuple(name for name in alike.get(feature.name, ()) if name != feature.name)
        value = _value(feature, x[places])
        described.append(FeatureValue(feature.name, value, unit, description, part, is_changed, like))
    return sorted(described, key=lambda item: -abs(item.contribution or 0))


def _places(features: Sequence[FrozenFeature]) -> Iterator[tuple[FrozenFeature, slice]]:
    """Yield each feature with the places of its columns in the matrix."""
    first = 0
    for feature in features:
        last = first + len(feature.columns)
        yield feature, slice(first, last)
        first = last


def _value(feature: FrozenFeature, columns: Matrix) -> float | str | None:
    """Return the value that the columns of a feature encode."""
    if feature.kind != "category":
        # Seven digits are what a Float32 holds.
        return None if np.isnan(columns[0]) else float(f"{columns[0]:.7g}")
    if feature.encode == "onehot":
        return next((word for word, is_word in zip(feature.vocabulary, columns == 1, strict=True) if is_word), None)
    is_code = columns[0] in range(len(feature.vocabulary))
    return feature.vocabulary[int(columns[0])] if is_code else None
