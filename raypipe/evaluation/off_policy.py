"""Estimate a policy's revenue on impressions that another policy has shown.

An impression stands for any logged action: an ad, a price, a message, with the reward that followed as its revenue. An
impression of arm a in context x with propensity p and revenue r counts with the weight w = π(a | x) / p, where π is
the policy to judge:

- IPS, Σ w r / n, is unbiased (Horvitz and Thompson 1952, "A generalization of sampling without replacement from a
  finite universe");
- SNIPS, Σ w r / Σ w, trades a little bias for much less variance (Swaminathan and Joachims 2015, "The self-normalized
  estimator for counterfactual learning");
- the doubly robust estimate, Σ (Σₐ π(a | x) q(x, a) + w (r - q(x, a))) / n with an arm's mean revenue q in its
  context, is right if the propensities or q are right, and varies less than IPS (Dudík, Langford and Li 2011, "Doubly
  robust policy evaluation and learning"); q comes from other buckets than the impressions it is used for;
- (Σ w)² / Σ w² is the effective number of impressions (Kish 1965, "Survey Sampling").

All need only sums, so the rows are sums per context, arm and bucket of readers. The intervals are percentiles of a
bootstrap of the buckets, since the impressions of a reader depend on one another (Cameron, Gelbach and Miller 2008,
"Bootstrap-based improvements for inference with clustered errors").
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import ConfigError
from raypipe.evaluation import metrics

Array = npt.NDArray[np.float64]

# Parts of the buckets that take turns to give the mean revenues of the doubly robust estimate.
FOLDS = 5
LOGGED = "logged"
ESTIMATED = "estimated by frequency"
MIXED = "logged in some contexts, estimated by frequency in the others"


@dataclass(frozen=True)
class Impressions:
    """Impressions of an arm in a context to a bucket of readers.

    Attributes:
        impressions: their number (n).
        revenue: their revenue (Σ r).
        inverse: Σ 1/p.
        inverse_squares: Σ 1/p².
        weighted_revenue: Σ r/p.
        without_propensity: the number of impressions and earning clicks without a propensity.
    """

    context: str
    arm: str
    bucket: int
    impressions: int
    revenue: float
    inverse: float = 0.0
    inverse_squares: float = 0.0
    weighted_revenue: float = 0.0
    without_propensity: int = 0


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval, which needs resamples and at least two buckets."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class OffPolicy:
    """A policy's estimated revenue per impression, beside the logged revenue.

    Attributes:
        ips: the estimate by inverse propensities.
        robust: the doubly robust estimate.
        gain: snips - logging.
        effective: the effective number of impressions.
        mean_weight: 1 apart from noise, if the propensities are right and every arm of the policy was shown.
        unsupported: the share of the policy's impressions for arms that were not shown.
        propensities: `logged`, or the method of their estimation.
    """

    ips: Estimate
    snips: Estimate
    robust: Estimate
    logging: Estimate
    gain: Estimate
    impressions: int
    effective: float
    mean_weight: float
    unsupported: float
    propensities: str

    def to_json(self) -> dict[str, Any]:
        """Return the estimates as JSON-ready values."""
        return asdict(self)


def with_propensities(rows: Sequence[Impressions]) -> tuple[list[Impressions], str]:
    """Estimate the propensities of a context where one is missing by each arm's share of the impressions.

    The estimate is right where arms were drawn by the context alone.
    """
    lacking = {row.context for row in rows if row.without_propensity}
    totals: dict[tuple[str, ...], int] = {}
    for row in rows:
        for key in ((row.context,), (row.context, row.arm)):
            totals[key] = totals.get(key, 0) + row.impressions
    estimated = [
        _estimated(row, totals[row.context, row.arm] / max(totals[row.context,], 1)) if row.context in lacking else row
        for row in rows
    ]
    everywhere = lacking == {row.context for row in rows}
    return estimated, ESTIMATED if lacking and everywhere else MIXED if lacking else LOGGED


def judge(
    rows: Sequence[Impressions], policy: Mapping[tuple[str, str], float], resamples: int, seed: int
) -> OffPolicy | None:
    """Judge a policy on impressions that it did not learn from; return None without impressions.

    Args:
        policy: π(arm | context) by context and arm. A missing arm is never shown; the impressions of a missing context
            keep the weight 1.
        resamples: the number of bootstrap resamples; 0 gives no intervals.
    """
    rows, source = with_propensities(rows)
    if not sum(row.impressions for row in rows):
        return None
    buckets = sorted({row.bucket for row in rows})
    at = {bucket: position for position, bucket in enumerate(buckets)}
    sums = np.zeros((len(buckets), 5))
    squares = 0.0
    known = {context for context, _ in policy}
    robust = _robust(rows, policy)
    for row, corrected in zip(rows, robust, strict=True):
        share = policy.get((row.context, row.arm), 0.0)
        weight, square, weighted = share * row.inverse, share**2 * row.inverse_squares, share * row.weighted_revenue
        if row.context not in known:
            weight, square, weighted, corrected = row.impressions, row.impressions, row.revenue, row.revenue
        sums[at[row.bucket]] += (row.impressions, row.revenue, weight, weighted, corrected)
        squares += square
    whole = sums.sum(axis=0)
    drawn = _resampled(sums, resamples, seed)
    weights = float(whole[2])
    return OffPolicy(
        ips=_estimate(whole, drawn, lambda sums: _ratio(sums[:, 3], sums[:, 0])),
        snips=_estimate(whole, drawn, _snips),
        robust=_estimate(whole, drawn, lambda sums: _ratio(sums[:, 4], sums[:, 0])),
        logging=_estimate(whole, drawn, _logging),
        gain=_estimate(whole, drawn, lambda sums: _snips(sums) - _logging(sums)),
        impressions=int(whole[0]),
        effective=weights**2 / squares if squares else 0.0,
        mean_weight=weights / float(whole[0]),
        unsupported=_unsupported(rows, policy),
        propensities=source,
    )


def with_floor(shares: Array, floor: float, context: str) -> Array:
    """Return the shares of a context's arms with a floor for each, and the rest by their shares.

    Raises:
        ConfigError: the floor leaves no rest, so that every policy would become the uniform policy.
    """
    count = len(shares)
    if count > 1 and floor * count >= 1:
        raise ConfigError(
            "The floor makes the policy uniform, so that nothing it has learned counts",
            found=f"a floor of {floor:g} for each of {count} arms, in the context {context!r}",
            allowed=f"below {1 / count:g}, or fewer arms",
            next_step="lower `floor`",
        )
    least = floor if count > 1 else 0.0
    raised: Array = least + (1 - count * least) * shares
    return raised


def _robust(rows: Sequence[Impressions], policy: Mapping[tuple[str, str], float]) -> list[float]:
    """Return each row's part of the doubly robust sum."""
    means = [_means([row for row in rows if row.bucket % FOLDS != fold]) for fold in range(FOLDS)]
    shares: dict[str, list[tuple[str, float]]] = {}
    for (context, arm), share in policy.items():
        shares.setdefault(context, []).append((arm, share))
    parts = []
    for row in rows:
        known = means[row.bucket % FOLDS]

        def mean(arm: str, row: Impressions = row, known: Mapping[tuple[str, ...], float] = known) -> float:
            # An arm that the other buckets never saw counts as the average of its context, or of all.
            return known.get((row.context, arm), known.get((row.context,), known.get((), 0.0)))

        expected = sum(share * mean(arm) for arm, share in shares.get(row.context, ()))
        weighted = policy.get((row.context, row.arm), 0.0) * (row.weighted_revenue - mean(row.arm) * row.inverse)
        parts.append(row.impressions * expected + weighted)
    return parts


def _means(rows: Sequence[Impressions]) -> dict[tuple[str, ...], float]:
    """Return the mean revenue by context and arm, by context, and of all."""
    sums: dict[tuple[str, ...], tuple[float, int]] = {}
    for row in rows:
        for key in ((row.context, row.arm), (row.context,), ()):
            revenue, impressions = sums.get(key, (0.0, 0))
            sums[key] = (revenue + row.revenue, impressions + row.impressions)
    return {key: revenue / impressions for key, (revenue, impressions) in sums.items() if impressions}


def _estimated(row: Impressions, propensity: float) -> Impressions:
    if not propensity:
        # Clicks on an arm without impressions have no weight.
        return replace(row, inverse=0.0, inverse_squares=0.0, weighted_revenue=0.0)
    return replace(
        row,
        inverse=row.impressions / propensity,
        inverse_squares=row.impressions / propensity**2,
        weighted_revenue=row.revenue / propensity,
    )


def _resampled(sums: Array, resamples: int, seed: int) -> Array:
    """Return sums over buckets drawn with replacement, (resamples, columns)."""
    count = len(sums)
    if resamples == 0 or count < 2:
        return np.empty((0, sums.shape[1]))
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    drawn: Array = times @ sums
    return drawn


def _estimate(whole: Array, drawn: Array, formula: Any) -> Estimate:
    low, high = metrics.percentile_interval(formula(drawn))
    return Estimate(float(formula(whole[None])[0]), low, high)


def _snips(sums: Array) -> Array:
    return _ratio(sums[:, 3], sums[:, 2])


def _logging(sums: Array) -> Array:
    return _ratio(sums[:, 1], sums[:, 0])


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _unsupported(rows: Sequence[Impressions], policy: Mapping[tuple[str, str], float]) -> float:
    shown = {(row.context, row.arm) for row in rows if row.impressions}
    of_context: dict[str, int] = {}
    for row in rows:
        of_context[row.context] = of_context.get(row.context, 0) + row.impressions
    lost = sum(
        share * of_context.get(context, 0) for (context, arm), share in policy.items() if (context, arm) not in shown
    )
    return lost / sum(of_context.values())
