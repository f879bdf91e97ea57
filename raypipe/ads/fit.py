"""A policy for ads from its events: learned on all days, judged on the last of them as learned on the earlier ones."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raypipe.ads import bandit, off_policy
from raypipe.ads.ad_events import TEST, TRAIN, AdEvents, Window
from raypipe.ads.ad_revenue import Seen
from raypipe.ads.bandit import Policy, Settings
from raypipe.ads.off_policy import OffPolicy, Shown
from raypipe.evaluation.decision import Decision

METRIC = "revenue an impression"
SHOWN = 3


@dataclass(frozen=True)
class Recipe:
    """What is learned, from what, and how it is judged; plain values of a pipeline's config.

    Attributes:
        source: the table of the events, for people.
        columns: the columns of the sums that the posteriors are made of, each with its description and unit.
        arms: arms that every context has, shown or not.
        settings: of the bandit.
        resamples: of the bootstrap.
        min_impressions: of an arm, below which its estimate is a warning.
        min_effective: effective impressions, below which the value of the policy is a warning.
    """

    pipeline: str
    description: str
    source: str
    columns: Mapping[str, str]
    window: Window
    arms: tuple[str, ...]
    settings: Settings
    resamples: int
    min_impressions: int
    min_effective: int


@dataclass(frozen=True)
class FittedAds:
    """A learned policy and how it was judged.

    Attributes:
        policy: learned from the whole window; this one is published.
        judged: learned from the training part alone.
        value: what `judged` would have earned in the test part; None where one of the parts is empty.
        decision: whether it may be published, and why.
        warnings: what a person should look at.
        seconds: wall time.
    """

    policy: Policy
    judged: Policy | None
    value: OffPolicy | None
    decision: Decision
    warnings: tuple[str, ...]
    seconds: float

    @property
    def evaluation(self) -> dict[str, Any]:
        """How it was judged, as JSON-ready values."""
        return {
            "test": {} if self.value is None else self.value.to_json(),
            "baselines": {} if self.value is None else {"logging policy": self.value.to_json()["logging"]},
            "decision": self.decision.to_json(),
        }


def fit(events: AdEvents, recipe: Recipe) -> FittedAds:
    """Learns and judges.

    Raises:
        DataError: no ad was shown.
    """
    settings = recipe.settings
    started = time.perf_counter()
    policy = bandit.learn(_seen(events.rows(), recipe.arms), settings)
    earlier = _seen(events.rows(TRAIN), recipe.arms)
    shown = sum(item.impressions for context in earlier.values() for item in context.values())
    judged = bandit.learn(earlier, settings) if shown else None
    value = None
    if judged is not None:
        value = off_policy.judge(_shown(events.rows(TEST)), _shares(judged), recipe.resamples, settings.seed)
    return FittedAds(
        policy,
        judged,
        value,
        decide(value),
        tuple(_warnings(policy, value, recipe)),
        time.perf_counter() - started,
    )


def decide(value: OffPolicy | None) -> Decision:
    """Holds a policy back that would have earned less than what was shown, by more than noise.

    One that is only not better is published: its shares explore by themselves, and without it nothing is learned.
    """
    if value is None:
        return Decision(True, "not judged: one part of the window has no impressions", METRIC)
    gain = value.gain
    span = "" if gain.low is None or gain.high is None else f" [{gain.low:+.5f}, {gain.high:+.5f}]"
    worse = gain.high is not None and gain.high < 0
    better = gain.low is not None and gain.low > 0
    verdict = "worse than" if worse else "better than" if better else "no worse than"
    reason = (
        f"{verdict} what was shown{'' if better or worse else ', within noise'}: {METRIC} {value.snips.value:.5f}"
        f" against {value.logging.value:.5f}, difference {gain.value:+.5f}{span}"
    )
    return Decision(not worse, reason, METRIC, "logging policy", gain.value, gain.low, gain.high)


def _seen(rows: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> dict[str, dict[str, Seen]]:
    found: dict[str, dict[str, Seen]] = {}
    for row in rows:
        context = found.setdefault(row["context"], {arm: Seen() for arm in arms})
        one = Seen(row["impressions"], row["clicks"], row["revenue"], row["revenue_squares"])
        context[row["arm"]] = context.get(row["arm"], Seen()) + one
    return found


def _shown(rows: Sequence[Mapping[str, Any]]) -> list[Shown]:
    names = Shown.__dataclass_fields__
    return [Shown(**{name: row[name] for name in names}) for row in rows]


def _shares(policy: Policy) -> dict[tuple[str, str], float]:
    return {(item.context, arm.arm): arm.share for item in policy.contexts.values() for arm in item.arms}


def _warnings(policy: Policy, value: OffPolicy | None, recipe: Recipe) -> list[str]:
    contexts = policy.contexts.values()
    found = [f"context {one.context!r}: {one.status}" for one in contexts if one.status != bandit.LEARNED]
    cells = [(one.context, arm) for one in contexts for arm in one.arms]
    for problem, those in (
        (
            f"fewer impressions than ads.min_impressions ({recipe.min_impressions})",
            [(context, arm) for context, arm in cells if arm.seen.impressions < recipe.min_impressions],
        ),
        (
            "more clicks than impressions",
            [(context, arm) for context, arm in cells if arm.seen.clicks > arm.seen.impressions],
        ),
    ):
        if those:
            listed = ", ".join(f"{arm.arm} in {context!r} {arm.seen.impressions}" for context, arm in those[:SHOWN])
            found.append(f"{problem}: {len(those)} of {len(cells)} arms, such as {listed}")
    if value is None:
        return [*found, "the policy was not judged: one part of the window has no impressions"]
    if value.effective < recipe.min_effective:
        found.append(
            f"the value of the policy rests on {value.effective:.0f} effective impressions of {value.impressions}"
            f" (ads.min_effective {recipe.min_effective})"
        )
    if value.propensities != off_policy.LOGGED:
        found.append(f"propensities: {value.propensities}; right only where arms were drawn by the context alone")
    if value.unsupported > 0:
        found.append(f"{value.unsupported:.1%} of the policy's impressions go to arms that the test days do not show")
    return found
