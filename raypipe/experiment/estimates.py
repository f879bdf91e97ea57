"""Estimate a metric per arm from its moments: means, ratios by the delta method, both with a covariate.

- A ratio of sums has the variance of (numerator - ratio · denominator) / mean denominator per unit (Deng, Knoblich and
  Lu 2018, "Applying the delta method in metric analytics").
- A covariate from before the exposure takes its part of the variance away: value - θ (covariate - its mean over all
  arms), where θ is the slope over all arms (CUPED: Deng, Xu, Kohavi and Walker 2013, "Improving the sensitivity of
  online controlled experiments by utilizing pre-experiment data"). With correlation r, 1 - r² of the variance is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np

from raypipe.experiment.moments import Array, Moments


@dataclass(frozen=True)
class Estimate:
    """A metric's value in an arm.

    Attributes:
        variance: of the value, as an estimate.
        unadjusted: its variance without a covariate.
        covariate: the covariate's own value, None without one; `covariate_variance` is its variance as an estimate.
    """

    units: int
    value: float
    variance: float
    unadjusted: float
    covariate: float | None = None
    covariate_variance: float = 0.0


def estimates(arms: Mapping[str, Moments], needed: int) -> dict[str, Estimate]:
    """Return the estimate of each arm.

    Args:
        arms: the moments of the metric's variables: value or numerator and denominator, then those of the covariate.
        needed: the number of variables before the covariate.
    """
    values = {name: _linear(arm, slice(None, needed)) for name, arm in arms.items()}
    if all(len(arm.mean) == needed for arm in arms.values()):
        return {
            name: Estimate(arm.units, value, variance, variance)
            for name, arm in arms.items()
            for value, variance in [_spread(arm, values[name])]
        }
    total = reduce(Moments.__add__, arms.values())
    centre, weights = _linear(total, slice(needed, None))
    slope = _slope(total, _linear(total, slice(None, needed))[1], weights)
    return {
        name: _adjusted(arm, values[name], _linear(arm, slice(needed, None)), slope, centre)
        for name, arm in arms.items()
    }


# A value, and the weight of each variable in its linear part.
_Linear = tuple[float, Array]


def _linear(arm: Moments, at: slice) -> _Linear:
    """Return a mean, or a ratio of two means, with its gradient."""
    means, weights = arm.mean[at], np.zeros(len(arm.mean))
    if len(means) == 1:
        weights[at] = 1.0
        return float(means[0]), weights
    above, below = means
    if below == 0:
        return 0.0, weights
    weights[at] = (1 / below, -above / below**2)
    return float(above / below), weights


def _spread(arm: Moments, linear: _Linear) -> tuple[float, float]:
    value, weights = linear
    return value, float(weights @ arm.covariance @ weights) / arm.units


def _slope(total: Moments, value: Array, covariate: Array) -> float:
    spread = float(covariate @ total.scatter @ covariate)
    return float(value @ total.scatter @ covariate) / spread if spread > 0 else 0.0


def _adjusted(arm: Moments, value: _Linear, covariate: _Linear, slope: float, centre: float) -> Estimate:
    _, unadjusted = _spread(arm, value)
    before, before_variance = _spread(arm, covariate)
    adjusted = value[0] - slope * (before - centre)
    _, variance = _spread(arm, (adjusted, value[1] - slope * covariate[1]))
    return Estimate(arm.units, adjusted, variance, unadjusted, before, before_variance)
