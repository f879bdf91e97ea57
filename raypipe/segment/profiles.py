"""Clusters in words for people: what stands out in each, its name and its code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# So many standard deviations from the average of all rows make a column worth naming.
STANDS_OUT = 0.5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trait:
    """A column in which a cluster stands out.

    Attributes:
        column: its name.
        words: what that means, as `reads often`.
        value: the cluster's mean, in the column's units.
        deviation: how far that is from the mean of all training rows, in their standard deviations.
    """

    column: str
    words: str
    value: float
    deviation: float


@dataclass(frozen=True)
class Profile:
    """A cluster for people.

    Attributes:
        number: the cluster's number.
        code: made of the number alone, `segment_03`: it lasts as long as the number does, whatever the words.
        name: the words of its strongest traits, as `reads often, long sessions`; distinct among the clusters.
        description: size and strongest traits, in a sentence.
        rows: training rows in it.
        share: of all training rows, 0 to 1.
        traits: all columns in which it stands out, the strongest first.
        means: per column the cluster's mean, in the column's units.
    """

    number: int
    code: str
    name: str
    description: str
    rows: int
    share: float
    traits: tuple[Trait, ...]
    means: Mapping[str, float]


def describe(
    columns: Sequence[str],
    values: Floats,
    deviations: Floats,
    sizes: npt.NDArray[np.int64],
    numbers: Sequence[int],
    words: Mapping[str, tuple[str, str]],
    features: int,
) -> list[Profile]:
    """A profile of each cluster, by number.

    Args:
        columns: the names of the columns.
        values: (clusters, columns), centroids in the columns' units.
        deviations: (clusters, columns), centroids in standard deviations from the mean of all rows.
        sizes: (clusters,), training rows.
        numbers: (clusters,).
        words: per column the words for few and for many of it; others are made of the column's name.
        features: so many traits at most make a name.
    """
    traits = [_traits(columns, values[at], deviations[at], words) for at in range(len(numbers))]
    names = [_name(own[:features], columns) or "near the average" for own in traits]
    often = Counter(names)
    names = [name if often[name] == 1 else f"{name} ({number})" for name, number in zip(names, numbers, strict=True)]
    total = int(sizes.sum())
    profiles = [
        Profile(
            number,
            f"segment_{number:02d}",
            names[at],
            _description(int(sizes[at]), total, traits[at][:features]),
            int(sizes[at]),
            int(sizes[at]) / total,
            traits[at],
            dict(zip(columns, values[at].tolist(), strict=True)),
        )
        for at, number in enumerate(numbers)
    ]
    return sorted(profiles, key=lambda profile: profile.number)


def _name(strongest: Sequence[Trait], columns: Sequence[str]) -> str:
    """In the order of the columns, so that it stays when two traits change places in strength."""
    return ", ".join(trait.words for trait in sorted(strongest, key=lambda trait: columns.index(trait.column)))


def _traits(
    columns: Sequence[str], values: Floats, deviations: Floats, words: Mapping[str, tuple[str, str]]
) -> tuple[Trait, ...]:
    order = np.argsort(-np.abs(deviations), kind="stable")
    return tuple(
        Trait(
            columns[at], _words(columns[at], bool(deviations[at] > 0), words), float(values[at]), float(deviations[at])
        )
        for at in order.tolist()
        if abs(deviations[at]) >= STANDS_OUT
    )


def _words(column: str, many: bool, words: Mapping[str, tuple[str, str]]) -> str:
    if column in words:
        return words[column][many]
    feature, _, value = column.partition("=")
    readable = feature.replace("_", " ")
    # A category's value has a column of its own, `tier=premium`.
    if value:
        return f"{readable} {'often' if many else 'rarely'} {value}"
    return f"{'high' if many else 'low'} {readable}"


def _description(rows: int, total: int, traits: Sequence[Trait]) -> str:
    size = f"{rows:,} of {total:,} training rows ({rows / total:.1%})"
    if not traits:
        return f"{size}; no feature is far from the average."
    parts = [f"{trait.words} ({trait.deviation:+.1f} standard deviations)" for trait in traits]
    return f"{size}; {', '.join(parts)}."
