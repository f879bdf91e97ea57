"""What an impression of an ad earns: posteriors of its click rate and of the revenue of a click.

An impression earns click × revenue of the click. The two have posteriors of their own:

- clicks: Binomial with a Beta prior, so Beta(a + clicks, b + impressions − clicks) (Gelman et al., "Bayesian Data
  Analysis", 3rd ed., section 2.4);
- revenue of a click: Normal with mean and variance unknown and their conjugate prior, Normal–inverse-χ² (the same,
  section 3.3). It needs the clicks' number, sum and sum of squares, and so no row but these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What was seen of an arm in a context; revenue_squares is the sum over clicks of their squared revenue."""

    impressions: int = 0
    clicks: int = 0
    revenue: float = 0.0
    revenue_squares: float = 0.0

    def __add__(self, other: Seen) -> Seen:
        return Seen(
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

    def after(self, seen: Seen) -> ClickRate:
        """The posterior; a click more than there were impressions counts as none."""
        clicks = min(seen.clicks, seen.impressions)
        return ClickRate(self.a + clicks, self.b + seen.impressions - clicks)

    @property
    def mean(self) -> float:
        """The expected rate, from 0 to 1."""
        return self.a / (self.a + self.b)


@dataclass(frozen=True)
class ClickRevenue:
    """A Normal–inverse-χ² distribution of the mean and the variance of the revenue of a click.

    Attributes:
        mean: of the mean.
        weight: how many clicks that is worth (κ).
        degrees: degrees of freedom of the variance (ν).
        variance: its scale (σ²).
    """

    mean: float
    weight: float
    degrees: float
    variance: float

    def after(self, seen: Seen) -> ClickRevenue:
        """The posterior after the clicks' revenue."""
        if seen.clicks == 0:
            return self
        n, average = seen.clicks, seen.revenue / seen.clicks
        squares = max(seen.revenue_squares - n * average**2, 0.0)
        weight, degrees = self.weight + n, self.degrees + n
        between = self.weight * n / weight * (average - self.mean) ** 2
        return ClickRevenue(
            (self.weight * self.mean + seen.revenue) / weight,
            weight,
            degrees,
            (self.degrees * self.variance + squares + between) / degrees,
        )

    def draw(self, generator: np.random.Generator, count: int) -> Array:
        """Samples of the mean, none below zero."""
        variance = self.degrees * self.variance / generator.chisquare(self.degrees, count)
        mean: Array = self.mean + np.sqrt(variance / self.weight) * generator.standard_normal(count)
        return np.maximum(mean, 0.0)


def priors(pooled: Seen, impressions: float, clicks: float) -> tuple[ClickRate, ClickRevenue]:
    """Priors centred on everything that was seen, worth so many impressions and clicks.

    Half a click, and half an impression without one, keep the rate inside (0, 1).
    """
    rate = (min(pooled.clicks, pooled.impressions) + 0.5) / (pooled.impressions + 1)
    n = pooled.clicks
    mean = pooled.revenue / n if n else 0.0
    variance = max(pooled.revenue_squares - n * mean**2, 0.0) / (n - 1) if n > 1 else 0.0
    return (
        ClickRate(rate * impressions, (1 - rate) * impressions),
        ClickRevenue(mean, clicks, clicks, variance),
    )
