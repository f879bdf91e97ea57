"""Describe clusters in words: their traits, names and codes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# A column is a trait from this distance to the mean of all rows, in standard deviations.
TRAIT_DEVIATION = 0.5
TRAITS_IN_NAME = 3

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trait:
    """A column in which a cluster is far from the average.

    Attributes:
        words: such as `reads often`.
        value: the cluster's mean, in the column's units.
        deviation: the distance from the mean of all training rows, in their standard deviations.
    """

    column: str
    words: str
    value: float
    deviation: float


@dataclass(frozen=True)
class Profile:
    """A cluster in words.

    Attributes:
        code: such as `segment_03`. It follows from the number alone, so that other words do not change it.
        name: the words of the strongest traits, such as `reads often, long sessions`; distinct among the clusters.
        traits: the strongest first.
    """

    number: int
    code: str
    name: str
    description: str
    rows: int
    share: float
    traits: tuple[Trait, ...]


def describe(
    columns: Sequence[str],
    values: Floats,
    deviations: Floats,
    sizes: Sequence[int],
    numbers: Sequence[int],
    words: Mapping[str, tuple[str, str]],
) -> list[Profile]:
    """Return a profile of each cluster, ordered by number.

    Args:
        values: (clusters, columns), centroids in the columns' units.
        deviations: (clusters, columns), centroids in standard deviations from the mean of all rows.
        words: words for few and for many per column; other columns are described by their names.
    """
    traits = [_traits(columns, values[at], deviations[at], words) for at in range(len(numbers))]
    names = [_name(own[:TRAITS_IN_NAME], columns) or "near the average" for own in traits]
    counts = Counter(names)
    names = [name if counts[name] == 1 else f"{name} ({number})" for name, number in zip(names, numbers, strict=True)]
    total = sum(sizes)
    profiles = [
        Profile(number, f"segment_{number:02d}", name, _description(rows, total, own), rows, rows / total, own)
        for number, name, rows, own in zip(numbers, names, sizes, traits, strict=True)
    ]
    return sorted(profiles, key=lambda profile: profile.number)


def _name(strongest: Sequence[Trait], columns: Sequence[str]) -> str:
    """Join traits in the order of the columns, so that a name survives small changes of strength."""
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
        if abs(deviations[at]) >= TRAIT_DEVIATION
    )


def _words(column: str, many: bool, words: Mapping[str, tuple[str, str]]) -> str:
    if column in words:
        return words[column][many]
    feature, _, value = column.partition("=")
    readable = feature.replace("_", " ")
    # Each value of a category has a column of its own, such as `tier=premium`.
    if value:
        return f"{readable} {'often' if many else 'rarely'} {value}"
    return f"{'high' if many else 'low'} {readable}"


def _description(rows: int, total: int, traits: Sequence[Trait]) -> str:
    size = f"{rows:,} of {total:,} training rows ({rows / total:.1%})"
    if not traits:
        return f"{size}; no feature is far from the average."
    parts = [f"{trait.words} ({trait.deviation:+.1f} standard deviations)" for trait in traits[:TRAITS_IN_NAME]]
    return f"{size}; {', '.join(parts)}."
