"""Means and covariances of groups of units, and their union.

Groups are joined by the update of Chan, Golub and LeVeque 1983 ("Algorithms for computing the sample variance", The
American Statistician 37), which loses no digits where a mean is large beside its spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """The moments of some units.

    Attributes:
        units: their number.
        mean: (variables,), the means.
        scatter: (variables, variables), the sums of products of deviations from the means.
    """

    units: int
    mean: Array
    scatter: Array

    @property
    def covariance(self) -> Array:
        """Return the unbiased covariances, (variables, variables); of at least two units."""
        return self.scatter / (self.units - 1)

    def __add__(self, other: Moments) -> Moments:
        units = self.units + other.units
        apart = other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(apart, apart) * (self.units * other.units / units)
        return Moments(units, self.mean + apart * (other.units / units), scatter)


def union(groups: Sequence[Moments]) -> Moments | None:
    """Return the moments of all units of the groups; None without a unit."""
    return reduce(Moments.__add__, groups) if groups else None


def from_triangle(units: int, means: Sequence[float], covariances: Sequence[float]) -> Moments:
    """Return the moments of a group from its population covariances.

    Args:
        covariances: the upper triangle, row by row.
    """
    size = len(means)
    covariance = np.zeros((size, size))
    covariance[np.triu_indices(size)] = covariances
    covariance += np.triu(covariance, 1).T
    return Moments(units, np.array(means), covariance * units)


def with_constant(group: Moments, first: int, values: Array) -> Moments:
    """Return the moments with the variables from `first` on at constant values, as for units that lack them."""
    mean, scatter = group.mean.copy(), group.scatter.copy()
    mean[first:] = values
    scatter[first:, :] = scatter[:, first:] = 0.0
    return Moments(group.units, mean, scatter)
