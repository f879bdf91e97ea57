"""Measure many pairs of histograms at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raypipe.monitor import measures
from raypipe.monitor.histograms import Histogram


@dataclass(frozen=True)
class Pair:
    """The histograms of a series, in the same bins.

    Attributes:
        groups: the number of groups of rows that share a value; chance counts no more rows.
    """

    then: Histogram
    now: Histogram
    groups: float


@dataclass
class Distances:
    """The measures of a pair; None without known values on both sides."""

    psi: float = 0.0
    psi_noise: float = 0.0
    chance: float = 0.0
    js: float = 0.0
    ks: float | None = None
    ks_error: float | None = None
    wasserstein: float | None = None


def distances(pairs: Sequence[Pair]) -> list[Distances]:
    """Return the measures of each pair."""
    found = [Distances() for _ in pairs]
    for places in _alike(pairs, range(len(pairs)), lambda pair: len(pair.now.widened)):
        then, now = (np.stack([getattr(pairs[place], side).widened for place in places]) for side in ("then", "now"))
        groups = np.array([pairs[place].groups for place in places])
        _set(found, places, "psi", measures.psi(then, now))
        _set(found, places, "psi_noise", measures.expected_psi(then, now, groups))
        _set(found, places, "chance", measures.chance_psi(then, now, groups))
        _set(found, places, "js", measures.js(then, now))
    known = [place for place, pair in enumerate(pairs) if pair.then.known and pair.now.known]
    for places in _alike(pairs, known, lambda pair: len(pair.now.counts)):
        then, now = (np.stack([getattr(pairs[place], side).counts for place in places]) for side in ("then", "now"))
        edges, means = (np.stack([getattr(pairs[place].now, name) for place in places]) for name in ("edges", "means"))
        greatest = measures.ks(then, now, edges)
        _set(found, places, "ks", greatest.value)
        _set(found, places, "ks_error", greatest.error)
        _set(found, places, "wasserstein", measures.wasserstein(then, now, means))
    return found


def _alike(pairs: Sequence[Pair], places: Sequence[int], key: Callable[[Pair], Hashable]) -> Iterator[list[int]]:
    """Yield the places of pairs with as many bins."""
    groups = defaultdict[Hashable, list[int]](list)
    for place in places:
        groups[key(pairs[place])].append(place)
    yield from groups.values()


def _set(found: list[Distances], places: Sequence[int], name: str, values: npt.NDArray[np.float64]) -> None:
    for place, value in zip(places, values.tolist(), strict=True):
        setattr(found[place], name, value)
