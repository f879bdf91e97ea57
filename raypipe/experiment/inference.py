"""Intervals and p-values of a difference: valid once, at the planned end, or at every look.

Sources:

- one look: Student's t with the degrees of freedom of Welch 1947 ("The generalization of Student's problem"), or the
  normal distribution for shares;
- every look: the asymptotic confidence sequences of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024 ("Time-uniform
  central limit theory and asymptotic confidence sequences", Annals of Statistics 52, theorem 2.2), whose boundary is
  the normal mixture of Robbins 1970, and of the mixture sequential probability ratio test;
- several arms: Holm 1979 ("A simple sequentially rejective multiple test procedure");
- the ratio of the arms' sizes: Pearson's χ², and for several looks the multinomial mixture of Lindon and Malek 2022
  ("Anytime-valid inference for multinomial count data").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from typing import Protocol

import numpy as np
from scipy import special, stats

# The weight of the planned shares in the prior of `sample_ratio`; large, since real mismatches are of a percent.
PRIOR_UNITS = 10_000
# A power is reached approximately, and no experiment is planned for more units.
MOST_UNITS = 10**13


class Rule(Protocol):
    """A way to judge a difference by its standard error."""

    def critical(self, alpha: float, units: float, freedom: float) -> float:
        """Return the half-width of the interval of level 1 - alpha, in standard errors."""
        ...

    def p_value(self, z: float, units: float, freedom: float) -> float:
        """Return the two-sided p-value of a difference of z standard errors."""
        ...


@dataclass(frozen=True)
class OneLook:
    """Intervals that hold for one look at a number of units that was fixed before."""

    def critical(self, alpha: float, units: float, freedom: float) -> float:
        return float(stats.t.isf(alpha / 2, freedom))

    def p_value(self, z: float, units: float, freedom: float) -> float:
        return float(2 * stats.t.sf(abs(z), freedom))


@dataclass(frozen=True)
class EveryLook:
    """Intervals that hold at all numbers of units at once, so that anybody may look and stop at any time.

    Attributes:
        planned: the number of units at which the intervals are narrowest.
        alpha: the level that `planned` was chosen for.
    """

    planned: int
    alpha: float

    @property
    def rho_squared(self) -> float:
        """Return the variance of the mixture, by the paper's closed form."""
        known = -2 * log(self.alpha)
        return (known + log(known + 1)) / self.planned

    def critical(self, alpha: float, units: float, freedom: float) -> float:
        spread = units * self.rho_squared
        return sqrt(2 * (1 + 1 / spread) * (log(spread + 1) / 2 - log(alpha)))

    def p_value(self, z: float, units: float, freedom: float) -> float:
        spread = units * self.rho_squared
        return min(1.0, exp(log(spread + 1) / 2 - z**2 / 2 * spread / (spread + 1)))


def freedom(variances: Sequence[tuple[float, int]]) -> float:
    """Return Welch's degrees of freedom.

    Args:
        variances: per arm, the variance of its estimate and the number of its units.
    """
    total = sum(variance for variance, _ in variances)
    parts = sum(variance**2 / (units - 1) for variance, units in variances)
    return total**2 / parts if parts > 0 else inf


def adjusted(p_values: Sequence[float], correction: str) -> list[float]:
    """Return p-values corrected for their number, in the same order."""
    count = len(p_values)
    if correction == "none":
        return list(p_values)
    if correction == "bonferroni":
        return [min(1.0, count * p) for p in p_values]
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate([min(1.0, (count - rank) * p_values[at]) for rank, at in enumerate(order)])
    return [float(stepped[rank]) for rank in np.argsort(order)]


def sample_ratio(counts: Sequence[int], shares: Sequence[float], *, every_look: bool) -> float:
    """Return the p-value of the arms' sizes under their planned shares.

    Args:
        every_look: whether the p-value must hold at every look.
    """
    expected = np.array(shares) / sum(shares)
    observed = np.array(counts)
    if not every_look:
        return float(stats.chisquare(observed, expected * observed.sum()).pvalue)
    prior = expected * PRIOR_UNITS
    mixture = _log_beta(prior + observed) - _log_beta(prior)
    return min(1.0, exp(min(0.0, float(observed @ np.log(expected) - mixture))))


def units_for(effect: float, error: float, units: int, rule: Rule, alpha: float, power: float) -> int | None:
    """Return the number of units that find an effect with a power; None without such a number.

    The arms keep their present shares.

    Args:
        effect: the difference to find, in the metric's units.
        error: the present standard error, of `units` units.
    """

    def is_enough(total: float) -> bool:
        return detectable(error * sqrt(units / total), total, rule, alpha, power) <= effect

    most = 2.0
    while not is_enough(most):
        most *= 2
        if most > MOST_UNITS:
            return None
    low, high = most / 2, most
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return round(high)


def detectable(error: float, units: float, rule: Rule, alpha: float, power: float) -> float:
    """Return the smallest difference that is found with a power."""
    return (rule.critical(alpha, units, max(units - 2, 1)) + float(stats.norm.ppf(power))) * error


def _log_beta(weights: np.typing.NDArray[np.float64]) -> float:
    return float(special.gammaln(weights).sum() - special.gammaln(weights.sum()))
