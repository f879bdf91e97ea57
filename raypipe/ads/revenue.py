"""Estimate the revenue of an impression: posteriors of the click rate and of the revenue per click.

An impression earns click × revenue of the click. Each factor has a posterior of its own:

- clicks: Binomial with a Beta prior, so Beta(a + clicks, b + impressions − clicks) (Gelman et al., "Bayesian Data
  Analysis", 3rd ed., section 2.4);
- revenue of a click: Normal with mean and variance unknown and their conjugate prior, Normal–inverse-χ² (the same,
  section 3.3). It needs only the clicks' number, sum and sum of squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ArmTotals:
    """The totals of an arm in a context; `revenue_squares` is the sum of the clicks' squared revenue."""

    impressions: int = 0
    clicks: int = 0
    revenue: float = 0.0
    revenue_squares: float = 0.0

    def __add__(self, other: ArmTotals) -> ArmTotals:
        return ArmTotals(
            self.impressions + other.impressions,
            self.clicks + other.clicks,
            self.revenue + other.revenue,
            self.revenue_squares + other.revenue_squares,
        )


@dataclass(frozen=True)
class ClickRate:
    """A Beta distribution of the probability of a click."""

    a: float
    b: float

    def after(self, totals: ArmTotals) -> ClickRate:
        """Return the posterior; more clicks than impressions do not count."""
        clicks = min(totals.clicks, totals.impressions)
        return ClickRate(self.a + clicks, self.b + totals.impressions - clicks)

    @property
    def mean(self) -> float:
        """Return the expected rate, from 0 to 1."""
        return self.a / (self.a + self.b)


@dataclass(frozen=True)
class ClickRevenue:
    """A Normal–inverse-χ² distribution of the mean and the variance of the revenue per click.

    Attributes:
        mean: the expected mean (μ).
        weight: the weight of the mean, in clicks (κ).
        degrees: degrees of freedom of the variance (ν).
        variance: scale of the variance (σ²).
    """

    mean: float
    weight: float
    degrees: float
    variance: float

    def after(self, totals: ArmTotals) -> ClickRevenue:
        """Return the posterior after the clicks' revenue."""
        if totals.clicks == 0:
            return self
        n, average = totals.clicks, totals.revenue / totals.clicks
        squares = max(totals.revenue_squares - n * average**2, 0.0)
        weight, degrees = self.weight + n, self.degrees + n
        between = self.weight * n / weight * (average - self.mean) ** 2
        return ClickRevenue(
            (self.weight * self.mean + totals.revenue) / weight,
            weight,
            degrees,
            (self.degrees * self.variance + squares + between) / degrees,
        )

    def draw(self, generator: np.random.Generator, count: int) -> Array:
        """Draw samples of the mean, with zero as the lower limit."""
        variance = self.degrees * self.variance / generator.chisquare(self.degrees, count)
        mean: Array = self.mean + np.sqrt(variance / self.weight) * generator.standard_normal(count)
        return np.maximum(mean, 0.0)


def priors(pooled: ArmTotals, impressions: float, clicks: float) -> tuple[ClickRate, ClickRevenue]:
    """Return priors centred on the totals of all arms, with the weight of these impressions and clicks.

    Half a click, and half an impression without a click, keep the rate inside (0, 1).
    """
    rate = (min(pooled.clicks, pooled.impressions) + 0.5) / (pooled.impressions + 1)
    n = pooled.clicks
    mean = pooled.revenue / n if n else 0.0
    variance = max(pooled.revenue_squares - n * mean**2, 0.0) / (n - 1) if n > 1 else 0.0
    return (
        ClickRate(rate * impressions, (1 - rate) * impressions),
        ClickRevenue(mean, clicks, clicks, variance),
    )
