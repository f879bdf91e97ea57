"""A contextual bandit: what each arm earns in each context, and how often to show it, by Thompson sampling.

An impression earns what `ad_revenue` expects. Its priors are weak and centred on all arms of all contexts together, so
that an arm with few impressions is taken for an ordinary one. The policy shows an arm with the probability that it is
the best one (Thompson 1933, "On the likelihood that one unknown probability exceeds another in view of the evidence of
two samples"; Scott 2010, "A modern Bayesian look at the multi-armed bandit"), and none less often than a floor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from raypipe.ads.ad_revenue import ClickRate, ClickRevenue, Seen, priors
from raypipe.errors import DataError, ModelError

Array = npt.NDArray[np.float64]

FILE = "policy.json"
FRAMEWORK, ALGORITHM, FORMAT = "raypipe", "Thompson sampling", "json"

# What becomes of a context.
LEARNED = "learned"
ONE_ARM = "one arm"
NOT_SHOWN = "no arm was shown"
NO_REVENUE = "no revenue"


@dataclass(frozen=True)
class Settings:
    """How a policy is learned.

    Attributes:
        prior_impressions: the weight of the prior of the click rate, in impressions.
        prior_clicks: the weight of the prior of the revenue of a click, in clicks.
        floor: the least probability of an arm; 1 / arms where that is less.
        draws: samples of each posterior.
        confidence: of the credible intervals.
        seed: of the samples.
    """

    prior_impressions: float = 20.0
    prior_clicks: float = 1.0
    floor: float = 0.02
    draws: int = 20_000
    confidence: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class ArmEstimate:
    """An arm in a context.

    Attributes:
        expected: revenue of an impression, the posterior mean.
        low: lower end of its credible interval.
        high: upper end.
        best: probability that no arm of the context earns more.
        share: how often the policy shows it.
        above_control: probability that it earns more than the context's control; 0.5 for the control itself.
    """

    arm: str
    seen: Seen
    click_rate: ClickRate
    click_revenue: ClickRevenue
    expected: float
    low: float
    high: float
    best: float
    share: float
    above_control: float


@dataclass(frozen=True)
class ContextPolicy:
    """What to show in a context.

    Attributes:
        arms: by name.
        control: the arm that was shown most.
        recommended: the arm that was shown and is expected to earn most; '' where nothing can be said.
        status: `learned`, or why there was little to learn.
    """

    context: str
    arms: tuple[ArmEstimate, ...]
    control: str
    recommended: str
    status: str

    def arm(self, name: str) -> ArmEstimate | None:
        """The estimate of an arm, or None."""
        return next((arm for arm in self.arms if arm.arm == name), None)


@dataclass(frozen=True)
class Policy:
    """A learned policy: for every context the probability of every arm."""

    contexts: Mapping[str, ContextPolicy]
    settings: Settings

    def share(self, context: str, arm: str) -> float:
        """The probability with which the policy shows an arm; 0 for one that it does not know."""
        known = self.contexts.get(context)
        estimate = known.arm(arm) if known else None
        return estimate.share if estimate else 0.0

    def files(self) -> dict[str, bytes]:
        """The policy as JSON."""
        document = {"contexts": [asdict(item) for item in self.contexts.values()], "settings": asdict(self.settings)}
        return {FILE: json.dumps(document, indent=1, sort_keys=True).encode()}


def from_files(files: Mapping[str, bytes]) -> Policy:
    """The policy that `Policy.files` gave.

    Raises:
        ModelError: the files hold no policy.
    """
    try:
        document = json.loads(files[FILE])
        contexts = [
            ContextPolicy(**{**item, "arms": tuple(_estimate(arm) for arm in item["arms"])})
            for item in document["contexts"]
        ]
        return Policy({item.context: item for item in contexts}, Settings(**document["settings"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError("The artifact holds no policy of a bandit", found=repr(error)) from error


def learn(seen: Mapping[str, Mapping[str, Seen]], settings: Settings) -> Policy:
    """A policy from what was seen of each arm in each context.

    Args:
        seen: by context and arm; an arm that was never shown may be there with zeros.
        settings: priors, samples, floor and seed.

    Raises:
        DataError: nothing was shown at all.
    """
    pooled = sum((item for arms in seen.values() for item in arms.values()), Seen())
    if pooled.impressions == 0:
        raise DataError(
            "No ad was shown, so there is nothing to learn from",
            found="0 impressions with an arm",
            allowed="at least one",
            next_step="check ads.impression and ads.click against the event types of customer_events, and the dates",
        )
    rate, revenue = priors(pooled, settings.prior_impressions, settings.prior_clicks)
    earning = pooled.revenue > 0
    return Policy(
        {context: _learn(context, arms, rate, revenue, settings, earning) for context, arms in sorted(seen.items())},
        settings,
    )


def probability_best(values: Array) -> Array:
    """The share of samples in which each arm earns most, (arms,), from (draws, arms) values; ties are shared."""
    winners = values == values.max(axis=1, keepdims=True)
    shares: Array = (winners / winners.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares


def with_floor(best: Array, floor: float) -> Array:
    """The policy's probabilities: each arm gets the floor, what is left goes by the probability to be best."""
    least = min(floor, 1 / len(best))
    shares: Array = least + (1 - len(best) * least) * best
    return shares


def _learn(
    context: str,
    seen: Mapping[str, Seen],
    rate: ClickRate,
    revenue: ClickRevenue,
    settings: Settings,
    earning: bool,
) -> ContextPolicy:
    names = sorted(seen)
    # The samples of a context do not depend on which others there are.
    digest = hashlib.sha256(context.encode()).digest()
    generator = np.random.default_rng([settings.seed, int.from_bytes(digest[:8], "big")])
    rates = [rate.after(seen[name]) for name in names]
    revenues = [revenue.after(seen[name]) for name in names]
    values = np.column_stack(
        [
            generator.beta(clicks.a, clicks.b, settings.draws) * earned.draw(generator, settings.draws)
            for clicks, earned in zip(rates, revenues, strict=True)
        ]
    )
    best = probability_best(values)
    shares = with_floor(best, settings.floor)
    tail = 50 * (1 - settings.confidence)
    low, high = np.percentile(values, [tail, 100 - tail], axis=0)
    control = max(range(len(names)), key=lambda at: seen[names[at]].impressions)
    above = (values > values[:, [control]]).mean(axis=0) + (values == values[:, [control]]).mean(axis=0) / 2
    arms = tuple(
        ArmEstimate(
            name,
            seen[name],
            rates[at],
            revenues[at],
            rates[at].mean * revenues[at].mean,
            float(low[at]),
            float(high[at]),
            float(best[at]),
            float(shares[at]),
            float(above[at]),
        )
        for at, name in enumerate(names)
    )
    shown = [arm for arm in arms if arm.seen.impressions]
    recommended = max(shown, key=lambda arm: arm.expected).arm if shown and earning else ""
    return ContextPolicy(context, arms, names[control], recommended, _status(arms, shown))


def _status(arms: Sequence[ArmEstimate], shown: Sequence[ArmEstimate]) -> str:
    if not shown:
        return NOT_SHOWN
    if sum(arm.seen.revenue for arm in arms) == 0:
        return NO_REVENUE
    return ONE_ARM if len(arms) == 1 else LEARNED


def _estimate(document: Mapping[str, object]) -> ArmEstimate:
    nested = {"seen": Seen, "click_rate": ClickRate, "click_revenue": ClickRevenue}
    built = {name: kind(**document[name]) for name, kind in nested.items()}  # type: ignore[arg-type]
    return ArmEstimate(**{**document, **built})
