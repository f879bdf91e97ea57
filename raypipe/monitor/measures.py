"""Measure how far two distributions over the same bins are apart, and how far chance alone takes them.

`reference` and `counts` are rows per bin, the last bin for missing values; shape (bins + 1,).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
# A bin that one side never saw would make the index infinite.
SMALLEST_SHARE = 1e-4
# The standard normal quantile of one false alarm in a million comparisons.
RARE = 4.75


@dataclass(frozen=True)
class Distance:
    """The greatest distance of two cumulative distributions, and by how much the true one may be greater."""

    value: float
    error: float


def shares(counts: npt.ArrayLike) -> Numbers:
    """Return the share of each bin; without rows all shares are 0."""
    rows = np.asarray(counts, dtype=np.float64)
    return rows / max(float(rows.sum()), 1e-300)


def psi(reference: npt.ArrayLike, counts: npt.ArrayLike) -> float:
    """Return the population stability index, the sum of `(q - p) * ln(q / p)` (Siddiqi 2006, "Credit Risk Scorecards").

    An empty bin counts as half a row, or as a share of 1e-4 where that is more.
    """
    p, q = _floored(reference), _floored(counts)
    return float(np.sum((q - p) * np.log(q / p)))


def _floored(counts: npt.ArrayLike) -> Numbers:
    rows = max(float(np.sum(counts)), 1.0)
    return np.maximum(shares(counts), max(SMALLEST_SHARE, 0.5 / rows))


def expected_psi(reference: npt.ArrayLike, counts: npt.ArrayLike, most: float = np.inf) -> float:
    """Return the index that chance alone gives on average: `(bins - 1) * (1/n + 1/m)`.

    `psi / (1/n + 1/m)` has about a chi-square distribution with bins - 1 degrees of freedom (Yurdakul and Naranjo 2020,
    "Statistical properties of the population stability index", Journal of Risk Model Validation 14 (4)). Bins that are
    empty on both sides do not count.

    Args:
        most: the most rows that count on a side, as further rows are not independent of them.
    """
    return _degrees(reference, counts) * _inverse_rows(reference, counts, most)


def chance_psi(reference: npt.ArrayLike, counts: npt.ArrayLike, most: float = np.inf) -> float:
    """Return the index that chance alone exceeds once in a million comparisons.

    The quantile of chi-square is by Wilson and Hilferty 1931, "The distribution of chi-square".
    """
    degrees = _degrees(reference, counts)
    if degrees < 1:
        return 0.0
    spread = 2 / (9 * degrees)
    return float(degrees * (1 - spread + RARE * np.sqrt(spread)) ** 3 * _inverse_rows(reference, counts, most))


def _degrees(reference: npt.ArrayLike, counts: npt.ArrayLike) -> int:
    return int(np.count_nonzero(np.asarray(reference) + np.asarray(counts))) - 1


def _inverse_rows(reference: npt.ArrayLike, counts: npt.ArrayLike, most: float) -> float:
    return sum(1 / max(min(float(np.sum(side)), most), 1.0) for side in (reference, counts))


def js(reference: npt.ArrayLike, counts: npt.ArrayLike) -> float:
    """Return the Jensen-Shannon distance with base 2: 0 for equal distributions, 1 without any overlap."""
    p, q = shares(reference), shares(counts)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(side > 0, side * np.log2(side / middle), 0.0).sum() for side in (p, q)]
    return float(np.sqrt(max(float(sum(terms)) / 2, 0.0)))


def ks(reference: npt.ArrayLike, counts: npt.ArrayLike, edges: npt.ArrayLike) -> Distance:
    """Return the Kolmogorov-Smirnov statistic of the known values, as far as the bins show it.

    At the edges the distance is exact. Inside a bin, it can exceed the distance at the bin's lower edge by the share of
    one side in the bin at most; a bin with a single value has nothing inside.

    Args:
        edges: the inner edges, ascending Float32; shape (bins - 1,).
    """
    p, q = shares(np.asarray(reference)[:-1]), shares(np.asarray(counts)[:-1])
    distance = np.cumsum(p) - np.cumsum(q)
    before = np.concatenate([[0.0], distance[:-1]])
    value = float(np.abs(distance).max())
    # Within a bin, either side's rows may all come first.
    largest = np.maximum(np.abs(before + p), np.abs(before - q))
    inner = np.asarray(edges, dtype=np.float32)
    single = np.zeros(len(p), dtype=bool)
    single[1:-1] = np.nextafter(inner[:-1], np.float32(np.inf)) == inner[1:]
    several = (p > 0) & (q > 0) & ~single
    return Distance(value, max(float(np.max(largest, where=several, initial=0.0)) - value, 0.0))


def wasserstein(reference: npt.ArrayLike, counts: npt.ArrayLike, values: npt.ArrayLike) -> float:
    """Return the Wasserstein-1 distance of the known values in the column's unit, each bin at its mean value.

    Args:
        values: the mean of each bin, ascending; shape (bins,).
    """
    p, q = shares(np.asarray(reference)[:-1]), shares(np.asarray(counts)[:-1])
    places = np.asarray(values, dtype=np.float64)
    return float(np.sum(np.abs(np.cumsum(p - q))[:-1] * np.diff(places)))
