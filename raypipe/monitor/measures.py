"""Measure how far distributions over the same bins are apart, and how far chance alone takes them.

`reference` and `counts` are rows per bin, the last bin for missing values; shape (..., bins + 1). Each measure has the
shape (...,): a night compares a thousand series, and one call for each of them would take longer than the counting.
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

    value: Numbers
    error: Numbers


def shares(counts: npt.ArrayLike) -> Numbers:
    """Return the share of each bin; without rows all shares are 0."""
    rows = np.asarray(counts, dtype=np.float64)
    found: Numbers = rows / np.maximum(rows.sum(axis=-1, keepdims=True), 1e-300)
    return found


def psi(reference: npt.ArrayLike, counts: npt.ArrayLike) -> Numbers:
    """Return the population stability index, the sum of `(q - p) * ln(q / p)` (Siddiqi 2006, "Credit Risk Scorecards").

    An empty bin counts as half a row, or as a share of 1e-4 where that is more.
    """
    p, q = _floored(reference), _floored(counts)
    return _sum((q - p) * np.log(q / p))


def _floored(counts: npt.ArrayLike) -> Numbers:
    rows = np.asarray(counts, dtype=np.float64).sum(axis=-1, keepdims=True)
    floored: Numbers = np.maximum(shares(counts), np.maximum(SMALLEST_SHARE, 0.5 / np.maximum(rows, 1.0)))
    return floored


def expected_psi(reference: npt.ArrayLike, counts: npt.ArrayLike, most: npt.ArrayLike = np.inf) -> Numbers:
    """Return the index that chance alone gives on average: `(bins - 1) * (1/n + 1/m)`.

    `psi / (1/n + 1/m)` has about a chi-square distribution with bins - 1 degrees of freedom (Yurdakul and Naranjo 2020,
    "Statistical properties of the population stability index", Journal of Risk Model Validation 14 (4)). Bins that are
    empty on both sides do not count.

    Args:
        most: the most rows that count on a side, as further rows are not independent of them; shape (...,).
    """
    return _degrees(reference, counts) * _inverse_rows(reference, counts, most)


def chance_psi(reference: npt.ArrayLike, counts: npt.ArrayLike, most: npt.ArrayLike = np.inf) -> Numbers:
    """Return the index that chance alone exceeds once in a million comparisons; 0 for a single bin.

    The quantile of chi-square is by Wilson and Hilferty 1931, "The distribution of chi-square".
    """
    degrees = _degrees(reference, counts)
    spread = 2 / (9 * np.maximum(degrees, 1.0))
    quantile = degrees * (1 - spread + RARE * np.sqrt(spread)) ** 3
    return np.where(degrees < 1, 0.0, quantile * _inverse_rows(reference, counts, most))


def _degrees(reference: npt.ArrayLike, counts: npt.ArrayLike) -> Numbers:
    used: Numbers = (np.asarray(reference) + np.asarray(counts) > 0).astype(np.float64)
    return _sum(used) - 1


def _inverse_rows(reference: npt.ArrayLike, counts: npt.ArrayLike, most: npt.ArrayLike) -> Numbers:
    rows = (_sum(np.asarray(side, dtype=np.float64)) for side in (reference, counts))
    first, second = (1 / np.maximum(np.minimum(number, most), 1.0) for number in rows)
    total: Numbers = first + second
    return total


def js(reference: npt.ArrayLike, counts: npt.ArrayLike) -> Numbers:
    """Return the Jensen-Shannon distance with base 2: 0 for equal distributions, 1 without any overlap."""
    p, q = shares(reference), shares(counts)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [_sum(np.where(side > 0, side * np.log2(side / middle), 0.0)) for side in (p, q)]
    return np.sqrt(np.maximum((terms[0] + terms[1]) / 2, 0.0))


def ks(reference: npt.ArrayLike, counts: npt.ArrayLike, edges: npt.ArrayLike) -> Distance:
    """Return the Kolmogorov-Smirnov statistic of the known values, as far as the bins show it.

    At the edges the distance is exact. Inside a bin, it can exceed the distance at the bin's lower edge by the share of
    one side in the bin at most; a bin with a single value has nothing inside.

    Args:
        edges: the inner edges, ascending Float32; shape (..., bins - 1).
    """
    p, q = shares(np.asarray(reference)[..., :-1]), shares(np.asarray(counts)[..., :-1])
    distance = np.cumsum(p - q, axis=-1)
    before = distance - (p - q)
    value = np.abs(distance).max(axis=-1)
    # Within a bin, either side's rows may all come first.
    largest = np.maximum(np.abs(before + p), np.abs(before - q))
    inner = np.asarray(edges, dtype=np.float32)
    single = np.zeros(p.shape, dtype=bool)
    single[..., 1:-1] = np.nextafter(inner[..., :-1], np.float32(np.inf)) == inner[..., 1:]
    several = (p > 0) & (q > 0) & ~single
    inside = np.max(largest, axis=-1, where=several, initial=0.0)
    return Distance(value, np.maximum(inside - value, 0.0))


def wasserstein(reference: npt.ArrayLike, counts: npt.ArrayLike, values: npt.ArrayLike) -> Numbers:
    """Return the Wasserstein-1 distance of the known values in the column's unit, each bin at its mean value.

    Args:
        values: the mean of each bin, ascending; shape (..., bins).
    """
    p, q = shares(np.asarray(reference)[..., :-1]), shares(np.asarray(counts)[..., :-1])
    steps = np.diff(np.asarray(values, dtype=np.float64), axis=-1)
    return _sum(np.abs(np.cumsum(p - q, axis=-1))[..., :-1] * steps)


def _sum(values: Numbers) -> Numbers:
    total: Numbers = values.sum(axis=-1)
    return total
