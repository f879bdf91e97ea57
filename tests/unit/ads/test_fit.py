"""Test learning, evaluation and warnings of an ads policy, on handmade sums."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from raypipe.ads.events import TEST, TRAIN, AdEvents, AdWindow
from raypipe.ads.fit import FittedPolicy, PolicySpec, fit_policy
from raypipe.config.ads import Ads
from raypipe.errors import DataError

SETTINGS = Ads(draws=5000, buckets=20, min_impressions=50, min_effective=100)


def sums(part: str, arm: str, impressions: int, clicks: int, *, propensity: float = 0.5) -> list[dict[str, Any]]:
    """An arm's impressions and clicks of one euro, spread evenly over twenty buckets of readers."""
    return [
        {
            "context": "mobile",
            "arm": arm,
            "part": part,
            "bucket": bucket,
            "impressions": impressions // 20,
            "clicks": clicks // 20,
            "revenue": clicks / 20,
            "revenue_squares": clicks / 20,
            "without_propensity": 0,
            "inverse": impressions / 20 / propensity,
            "inverse_squares": impressions / 20 / propensity**2,
            "weighted_revenue": clicks / 20 / propensity,
        }
        for bucket in range(20)
    ]


def fitted(*cells: list[dict[str, Any]], settings: Ads = SETTINGS) -> FittedPolicy:
    spec = PolicySpec("ads", "", "customer_events", {}, AdWindow(date(2026, 1, 31), "UTC", settings), 1, 200)
    rows = [row for part in cells for row in part]
    return fit_policy(AdEvents(pa.Table.from_pylist(rows), {}, {}, len(rows), {}, "sha"), spec)


GOOD_AND_BAD = (sums(TRAIN, "a", 2000, 400), sums(TRAIN, "b", 2000, 40))


def test_the_judged_policy_has_not_seen_the_days_that_judge_it() -> None:
    found = fitted(*GOOD_AND_BAD, sums(TEST, "a", 20_000, 20), sums(TEST, "b", 20_000, 8000))
    assert found.judged is not None
    assert found.judged.contexts["mobile"].recommended == "a"
    assert found.policy.contexts["mobile"].recommended == "b"


def test_a_policy_that_would_have_earned_less_than_was_earned_is_held_back() -> None:
    found = fitted(*GOOD_AND_BAD, sums(TEST, "a", 2000, 20), sums(TEST, "b", 2000, 400))
    assert not found.decision.promote
    assert found.decision.reason.startswith("worse than the logged ads")


def test_a_policy_that_would_have_earned_more_is_published() -> None:
    found = fitted(*GOOD_AND_BAD, sums(TEST, "a", 2000, 400), sums(TEST, "b", 2000, 40))
    assert found.decision.promote
    assert found.decision.reason.startswith("better than the logged ads")
    assert found.warnings == ()


def test_a_policy_that_earns_the_same_is_published_as_it_explores() -> None:
    found = fitted(*GOOD_AND_BAD, sums(TEST, "a", 2000, 400), sums(TEST, "b", 2000, 400))
    assert found.decision.promote
    assert "within noise" in found.decision.reason


@pytest.mark.parametrize("part", [TRAIN, TEST])
def test_with_one_part_of_the_window_alone_it_is_published_and_said_not_to_be_judged(part: str) -> None:
    found = fitted(sums(part, "a", 2000, 400), sums(part, "b", 2000, 40))
    assert found.value is None
    assert found.decision.promote
    assert "the policy was not judged: one part of the window has no impressions" in found.warnings


def test_a_value_that_rests_on_few_impressions_is_warned_of() -> None:
    found = fitted(*GOOD_AND_BAD, sums(TEST, "a", 20, 0, propensity=0.01), sums(TEST, "b", 2000, 40, propensity=0.99))
    assert found.value is not None
    assert found.value.effective < 100
    assert any("effective impressions of 2020" in warning for warning in found.warnings)


def test_an_arm_of_the_config_that_was_never_shown_is_explored_and_warned_of() -> None:
    found = fitted(
        *GOOD_AND_BAD, sums(TEST, "a", 2000, 400), settings=SETTINGS.model_copy(update={"arms": ("a", "new")})
    )
    mobile = found.policy.contexts["mobile"]
    assert {arm.arm for arm in mobile.arms} == {"a", "b", "new"}
    assert mobile.recommended == "a"
    assert any("fewer impressions" in warning and "new in 'mobile' 0" in warning for warning in found.warnings)
    assert any("arms without test impressions" in warning for warning in found.warnings)


def test_nothing_but_clicks_is_refused() -> None:
    with pytest.raises(DataError, match="No ad was shown"):
        fitted(sums(TRAIN, "a", 0, 20))
