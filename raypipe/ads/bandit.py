"""Learn a contextual bandit by Thompson sampling: each arm's revenue in each context, and its share of impressions.

The revenue of an impression is estimated in `revenue.py`. The priors are weak and centred on all arms of all contexts,
so that an arm with few impressions counts as an average arm. The policy shows an arm with the probability that it is
the best arm (Thompson 1933, "On the likelihood that one unknown probability exceeds another in view of the evidence of
two samples"; Scott 2010, "A modern Bayesian look at the multi-armed bandit"), and at least as often as a floor.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from raypipe.ads.revenue import ArmTotals, ClickRate, ClickRevenue, priors
from raypipe.config.ads import Ads
from raypipe.errors import DataError, ModelError
from raypipe.evaluation.off_policy import with_floor

Array = npt.NDArray[np.float64]

FILE = "policy.json"
FRAMEWORK, ALGORITHM, FORMAT = "raypipe", "Thompson sampling", "json"

# The states of a context.
LEARNED = "learned"
ONE_ARM = "one arm"
NOT_SHOWN = "no arm was shown"
NO_REVENUE = "no revenue"


@dataclass(frozen=True)
class ArmEstimate:
    """The estimate of an arm in a context.

    Attributes:
        expected: the posterior mean of the revenue per impression.
        best: the probability that no arm of the context earns more.
        share: the arm's share of the policy's impressions.
        above_control: the probability that it earns more than the context's control; 0.5 for the control itself.
    """

    arm: str
    totals: ArmTotals
    click_rate: ClickRate
    click_revenue: ClickRevenue
    expected: float
    low: float
    high: float
    best: float
    share: float
    above_control: float

    def to_json(self) -> dict[str, float]:
        """Return the sums and the shares as JSON-ready values."""
        totals = self.totals
        counts = {"impressions": totals.impressions, "clicks": totals.clicks, "revenue": round(totals.revenue, 6)}
        return {**counts, "best": self.best, "share": self.share}


@dataclass(frozen=True)
class ContextPolicy:
    """The arms of a context and their shares.

    Attributes:
        control: the arm with the most impressions.
        recommended: the shown arm with the highest expected revenue; '' where no arm has revenue.
        status: `learned`, or the reason why there was little to learn.
    """

    context: str
    arms: tuple[ArmEstimate, ...]
    control: str
    recommended: str
    status: str

    def arm(self, name: str) -> ArmEstimate | None:
        """Return the estimate of an arm, or None."""
        return next((arm for arm in self.arms if arm.arm == name), None)


@dataclass(frozen=True)
class Policy:
    """A learned policy: the probability of every arm in every context."""

    contexts: Mapping[str, ContextPolicy]

    def shares(self) -> dict[tuple[str, str], float]:
        """Return the probability of each arm by context and arm."""
        return {(item.context, arm.arm): arm.share for item in self.contexts.values() for arm in item.arms}

    def files(self) -> dict[str, bytes]:
        """Return the policy as JSON."""
        document = {"contexts": [asdict(item) for item in self.contexts.values()]}
        return {FILE: json.dumps(document, indent=1, sort_keys=True).encode()}


def from_files(files: Mapping[str, bytes]) -> Policy:
    """Load the policy that `Policy.files` wrote.

    Raises:
        ModelError: the files hold no policy.
    """
    try:
        document = json.loads(files[FILE])
        contexts = [
            ContextPolicy(**{**item, "arms": tuple(_estimate(arm) for arm in item["arms"])})
            for item in document["contexts"]
        ]
        return Policy({item.context: item for item in contexts})
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError("The artifact does not hold a bandit's policy", found=repr(error)) from error


def learn(totals: Mapping[str, Mapping[str, ArmTotals]], settings: Ads, seed: int) -> Policy:
    """Learn a policy from the totals of each arm in each context.

    Args:
        totals: by context and arm; an arm that was never shown may have zeros.
        settings: priors, samples, floor and confidence.

    Raises:
        DataError: no ad was shown.
        ConfigError: the floor makes the policy of a context uniform.
    """
    pooled = sum((item for arms in totals.values() for item in arms.values()), ArmTotals())
    if pooled.impressions == 0:
        raise DataError(
            "No ad was shown, so no policy can be learned",
            found="0 impressions with an arm",
            allowed="at least one",
            next_step="check ads.impression and ads.click against the event types of customer_events, and the dates",
        )
    rate, revenue = priors(pooled, settings.prior_impressions, settings.prior_clicks)
    earning = pooled.revenue > 0
    return Policy(
        {
            context: _learn(context, arms, rate, revenue, settings, seed, earning)
            for context, arms in sorted(totals.items())
        }
    )


def probability_best(values: Array) -> Array:
    """Return the share of samples in which each arm earns most, (arms,), from (draws, arms); ties are shared."""
    winners = values == values.max(axis=1, keepdims=True)
    shares: Array = (winners / winners.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares


def _learn(
    context: str,
    totals: Mapping[str, ArmTotals],
    rate: ClickRate,
    revenue: ClickRevenue,
    settings: Ads,
    seed: int,
    earning: bool,
) -> ContextPolicy:
    names = sorted(totals)
    # The samples of a context do not depend on the other contexts.
    digest = hashlib.sha256(context.encode()).digest()
    generator = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
    rates = [rate.after(totals[name]) for name in names]
    revenues = [revenue.after(totals[name]) for name in names]
    values = np.column_stack(
        [
            generator.beta(clicks.a, clicks.b, settings.draws) * earned.draw(generator, settings.draws)
            for clicks, earned in zip(rates, revenues, strict=True)
        ]
    )
    best = probability_best(values)
    shares = with_floor(best, settings.floor, context)
    tail = 50 * (1 - settings.confidence)
    low, high = np.percentile(values, [tail, 100 - tail], axis=0)
    control = max(range(len(names)), key=lambda at: totals[names[at]].impressions)
    above = (values > values[:, [control]]).mean(axis=0) + (values == values[:, [control]]).mean(axis=0) / 2
    arms = tuple(
        ArmEstimate(
            name,
            totals[name],
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
    shown = [arm for arm in arms if arm.totals.impressions]
    recommended = max(shown, key=lambda arm: arm.expected).arm if shown and earning else ""
    return ContextPolicy(context, arms, names[control], recommended, _status(arms, shown))


def _status(arms: Sequence[ArmEstimate], shown: Sequence[ArmEstimate]) -> str:
    if not shown:
        return NOT_SHOWN
    if sum(arm.totals.revenue for arm in arms) == 0:
        return NO_REVENUE
    return ONE_ARM if len(arms) == 1 else LEARNED


def _estimate(document: Mapping[str, object]) -> ArmEstimate:
    nested = {"totals": ArmTotals, "click_rate": ClickRate, "click_revenue": ClickRevenue}
    built = {name: kind(**document[name]) for name, kind in nested.items()}  # type: ignore[arg-type]
    return ArmEstimate(**{**document, **built})
