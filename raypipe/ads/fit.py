"""Fit a policy on all days, and judge one fitted on the earlier days by the last days."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raypipe.ads import bandit
from raypipe.ads.bandit import Policy
from raypipe.ads.events import TEST, TRAIN, AdEvents, AdWindow
from raypipe.ads.revenue import ArmTotals
from raypipe.evaluation import off_policy
from raypipe.evaluation.decision import Decision
from raypipe.evaluation.off_policy import Impressions, OffPolicy

METRIC = "revenue per impression"
LISTED = 3
_UNJUDGED = "one part of the window has no impressions"


@dataclass(frozen=True)
class PolicySpec:
    """The settings of a policy, from a pipeline's config.

    Attributes:
        source: the table of the events, for display.
        columns: the summed columns that the posteriors use, each with its description and unit.
    """

    pipeline: str
    description: str
    source: str
    columns: Mapping[str, str]
    window: AdWindow
    seed: int
    resamples: int


@dataclass(frozen=True)
class FittedPolicy:
    """A learned policy and its evaluation.

    Attributes:
        policy: learned from the whole window, and published.
        judged: learned from the training part alone.
        value: the value of `judged` on the test part; None where a part is empty.
    """

    policy: Policy
    judged: Policy | None
    value: OffPolicy | None
    decision: Decision
    warnings: tuple[str, ...]
    seconds: float

    @property
    def evaluation(self) -> dict[str, Any]:
        """Return the evaluation as JSON-ready values."""
        value = self.value.to_json() if self.value else {}
        return {
            "test": value,
            "baselines": {"logging policy": value["logging"]} if value else {},
            "decision": self.decision.to_json(),
        }


def fit_policy(events: AdEvents, spec: PolicySpec) -> FittedPolicy:
    """Learn a policy and judge it.

    Raises:
        DataError: no ad was shown.
    """
    settings, seed = spec.window.settings, spec.seed
    started = time.perf_counter()
    policy = bandit.learn(_totals(events.rows(), settings.arms), settings, seed)
    earlier = _totals(events.rows(TRAIN), settings.arms)
    judged = value = None
    if any(totals.impressions for context in earlier.values() for totals in context.values()):
        judged = bandit.learn(earlier, settings, seed)
        value = off_policy.judge(_impressions(events.rows(TEST)), judged.shares(), spec.resamples, seed)
    warnings = _warnings(policy, value, spec)
    return FittedPolicy(policy, judged, value, decide(value), tuple(warnings), time.perf_counter() - started)


def decide(value: OffPolicy | None) -> Decision:
    """Hold back a policy that would have earned less than the logged ads by more than noise.

    A policy that is merely not better is published, since its shares explore and nothing is learned without them.
    """
    if value is None:
        return Decision(True, f"not judged: {_UNJUDGED}", METRIC)
    gain = value.gain
    span = "" if gain.low is None or gain.high is None else f" [{gain.low:+.5f}, {gain.high:+.5f}]"
    worse = gain.high is not None and gain.high < 0
    better = gain.low is not None and gain.low > 0
    verdict = "worse than" if worse else "better than" if better else "no worse than"
    reason = (
        f"{verdict} the logged ads{'' if better or worse else ', within noise'}: {METRIC} {value.snips.value:.5f}"
        f" against {value.logging.value:.5f}, difference {gain.value:+.5f}{span}"
    )
    return Decision(not worse, reason, METRIC, "logging policy", gain.value, gain.low, gain.high)


def _totals(rows: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> dict[str, dict[str, ArmTotals]]:
    totals: dict[str, dict[str, ArmTotals]] = {}
    for row in rows:
        context = totals.setdefault(row["context"], {arm: ArmTotals() for arm in arms})
        cell = ArmTotals(row["impressions"], row["clicks"], row["revenue"], row["revenue_squares"])
        context[row["arm"]] = context.get(row["arm"], ArmTotals()) + cell
    return totals


def _impressions(rows: Sequence[Mapping[str, Any]]) -> list[Impressions]:
    names = Impressions.__dataclass_fields__
    return [Impressions(**{name: row[name] for name in names}) for row in rows]


def _warnings(policy: Policy, value: OffPolicy | None, spec: PolicySpec) -> list[str]:
    settings, contexts = spec.window.settings, policy.contexts.values()
    warnings = [f"context {item.context!r}: {item.status}" for item in contexts if item.status != bandit.LEARNED]
    cells = [(item.context, arm) for item in contexts for arm in item.arms]
    few = [(context, arm) for context, arm in cells if arm.totals.impressions < settings.min_impressions]
    odd = [(context, arm) for context, arm in cells if arm.totals.clicks > arm.totals.impressions]
    for problem, affected in (
        (f"fewer impressions than ads.min_impressions ({settings.min_impressions})", few),
        ("more clicks than impressions", odd),
    ):
        if affected:
            listed = [f"{arm.arm} in {context!r} {arm.totals.impressions}" for context, arm in affected[:LISTED]]
            warnings.append(f"{problem}: {len(affected)} of {len(cells)} arms, such as {', '.join(listed)}")
    if value is None:
        return [*warnings, f"the policy was not judged: {_UNJUDGED}"]
    if value.effective < settings.min_effective:
        warnings.append(
            f"the value of the policy rests on {value.effective:.0f} effective impressions of {value.impressions}"
            f" (ads.min_effective {settings.min_effective})"
        )
    if value.propensities != off_policy.LOGGED:
        warnings.append(f"propensities: {value.propensities}; right only where arms were drawn by the context alone")
    if value.unsupported > 0:
        warnings.append(f"the policy gives {value.unsupported:.1%} of its impressions to arms without test impressions")
    return warnings
