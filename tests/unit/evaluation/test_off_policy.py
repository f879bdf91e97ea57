"""Test off-policy values of one policy on another policy's impressions, against closed forms."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from raypipe.errors import ConfigError
from raypipe.evaluation import off_policy
from raypipe.evaluation.off_policy import Impressions, OffPolicy


def shown(
    arm: str, impressions: int, revenue: float, propensity: float, *, context: str = "m", bucket: int = 0
) -> Impressions:
    return Impressions(
        context,
        arm,
        bucket,
        impressions,
        revenue,
        impressions / propensity,
        impressions / propensity**2,
        revenue / propensity,
    )


def judged(rows: list[Impressions], policy: dict[tuple[str, str], float], resamples: int = 0) -> OffPolicy:
    found = off_policy.judge(rows, policy, resamples, seed=1)
    assert found is not None
    return found


ROWS = [shown("a", 80, 8.0, 0.8), shown("b", 20, 6.0, 0.2)]


def test_ips_and_snips_weigh_each_impression_by_how_much_more_often_it_would_be_shown() -> None:
    # Weights 0.25 / 0.8 and 0.75 / 0.2; the arms earn 0.1 and 0.3 an impression.
    found = judged(ROWS, {("m", "a"): 0.25, ("m", "b"): 0.75})
    weights = np.array([0.3125] * 80 + [3.75] * 20)
    rewards = np.array([0.1] * 80 + [0.3] * 20)
    assert found.ips.value == pytest.approx((weights * rewards).sum() / 100)
    assert found.snips.value == pytest.approx((weights * rewards).sum() / weights.sum())
    assert found.effective == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert found.mean_weight == pytest.approx(weights.mean())
    assert found.logging.value == pytest.approx(0.14)
    assert found.gain.value == pytest.approx(found.snips.value - 0.14)
    assert (found.impressions, found.unsupported, found.propensities) == (100, 0.0, off_policy.LOGGED)


def test_the_policy_that_has_shown_them_is_worth_what_they_earned() -> None:
    found = judged(ROWS, {("m", "a"): 0.8, ("m", "b"): 0.2})
    assert (found.ips.value, found.snips.value, found.gain.value) == pytest.approx((0.14, 0.14, 0.0))
    assert found.effective == pytest.approx(100)


def test_over_all_that_could_have_been_shown_ips_is_the_policys_true_value() -> None:
    """Two impressions, three arms: the mean of IPS over every outcome, by its probability, is Σ π r."""
    propensity, reward = {"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 0.2, "b": 1.0, "c": 0.6}
    policy = {("m", "a"): 0.1, ("m", "b"): 0.2, ("m", "c"): 0.7}
    mean = sum(
        propensity[one]
        * propensity[two]
        * judged([shown(arm, 1, reward[arm], propensity[arm]) for arm in (one, two)], policy).ips.value
        for one, two in itertools.product("abc", repeat=2)
    )
    assert mean == pytest.approx(0.1 * 0.2 + 0.2 * 1.0 + 0.7 * 0.6)


def test_snips_does_not_move_when_all_propensities_are_wrong_by_the_same_factor() -> None:
    policy = {("m", "a"): 0.25, ("m", "b"): 0.75}
    wrong = [shown("a", 80, 8.0, 0.4), shown("b", 20, 6.0, 0.1)]
    assert judged(wrong, policy).snips.value == pytest.approx(judged(ROWS, policy).snips.value)
    assert judged(wrong, policy).ips.value == pytest.approx(2 * judged(ROWS, policy).ips.value)


def test_missing_propensities_are_the_arms_shares_of_their_context() -> None:
    policy = {("m", "a"): 0.25, ("m", "b"): 0.75}
    without = [
        Impressions("m", "a", 0, 80, 8.0, without_propensity=80),
        Impressions("m", "b", 0, 20, 6.0, without_propensity=20),
    ]
    found = judged(without, policy)
    assert found.propensities == off_policy.ESTIMATED
    assert replace(found, propensities=off_policy.LOGGED) == judged(ROWS, policy)


def test_an_arm_with_clicks_alone_has_no_frequency_to_be_weighed_by() -> None:
    rows = [
        Impressions("m", "a", 0, 80, 8.0, without_propensity=80),
        Impressions("m", "b", 0, 0, 3.0, without_propensity=1),
    ]
    found = judged(rows, {("m", "a"): 0.5, ("m", "b"): 0.5})
    assert found.snips.value == pytest.approx(0.1)
    assert found.unsupported == pytest.approx(0.5)


def test_one_missing_propensity_leaves_the_other_contexts_as_logged() -> None:
    rows = [*ROWS, Impressions("t", "a", 0, 10, 1.0, without_propensity=1)]
    found = judged(rows, {("m", "a"): 1.0, ("t", "a"): 1.0})
    assert found.propensities == off_policy.MIXED
    assert found.ips.value == pytest.approx((8.0 / 0.8 + 1.0) / 110)


def test_a_context_that_the_policy_does_not_know_is_left_as_it_was() -> None:
    rows = [*ROWS, shown("a", 100, 50.0, 0.5, context="new")]
    found = judged(rows, {("m", "a"): 0.8, ("m", "b"): 0.2})
    assert found.gain.value == pytest.approx(0.0)
    assert found.effective == pytest.approx(200)


def test_what_the_policy_shows_and_the_impressions_do_not_is_said() -> None:
    assert judged(ROWS, {("m", "a"): 0.6, ("m", "c"): 0.4}).unsupported == pytest.approx(0.4)


def test_without_impressions_nothing_is_judged() -> None:
    assert off_policy.judge([], {("m", "a"): 1.0}, 10, 1) is None
    assert off_policy.judge([Impressions("m", "a", 0, 0, 1.0)], {("m", "a"): 1.0}, 10, 1) is None


def test_one_bucket_or_no_resamples_have_no_interval() -> None:
    for found in (judged(ROWS, {("m", "a"): 1.0}, resamples=100), judged(two_buckets(), {("m", "a"): 1.0})):
        assert (found.snips.low, found.snips.high) == (None, None)


def two_buckets() -> list[Impressions]:
    return [shown("a", 10, 1.0, 1.0, bucket=0), shown("a", 10, 3.0, 1.0, bucket=1)]


def test_the_interval_is_that_of_a_mean_over_buckets() -> None:
    """With one arm and equal buckets, SNIPS is the mean of their means, with standard error s / √k."""
    generator = np.random.default_rng(5)
    means = generator.normal(1.0, 0.3, size=400)
    rows = [shown("a", 10, 10 * float(mean), 1.0, bucket=bucket) for bucket, mean in enumerate(means)]
    found = judged(rows, {("m", "a"): 1.0}, resamples=4000)
    half = 1.96 * means.std() / np.sqrt(400)
    assert found.snips.low is not None
    assert found.snips.high is not None
    assert found.snips.low == pytest.approx(means.mean() - half, abs=0.1 * half)
    assert found.snips.high == pytest.approx(means.mean() + half, abs=0.1 * half)


def test_the_same_seed_gives_the_same_interval() -> None:
    policy = {("m", "a"): 1.0}
    assert judged(two_buckets(), policy, 50) == judged(two_buckets(), policy, 50)


def test_the_doubly_robust_estimate_needs_right_propensities_or_right_rewards() -> None:
    """Each arm always earns the same, so that the mean rewards are right, whatever the propensities say."""
    policy = {("m", "a"): 0.25, ("m", "b"): 0.75}
    right = [shown(arm, n, n * earns, p, bucket=at) for at in range(10) for arm, n, earns, p in EARNING]
    wrong = [shown(arm, n, n * earns, 0.5, bucket=at) for at in range(10) for arm, n, earns, _ in EARNING]
    assert judged(right, policy).robust.value == pytest.approx(0.25)
    assert judged(wrong, policy).robust.value == pytest.approx(0.25)
    assert judged(wrong, policy).ips.value == pytest.approx(0.13)


# Arm, impressions, revenue of each, propensity.
EARNING = (("a", 80, 0.1, 0.8), ("b", 20, 0.3, 0.2))


def test_without_mean_rewards_the_doubly_robust_estimate_is_ips() -> None:
    # One bucket has no other bucket to learn mean rewards from.
    wrong = [shown("a", 80, 8.0, 0.5), shown("b", 20, 6.0, 0.5)]
    found = judged(wrong, {("m", "a"): 0.25, ("m", "b"): 0.75})
    assert found.robust.value == pytest.approx(found.ips.value) == pytest.approx(0.13)


def test_it_varies_less_than_ips_where_rewards_differ_by_arm() -> None:
    draw = np.random.default_rng(1)
    policy = {("m", "a"): 0.2, ("m", "b"): 0.8}
    estimates = []
    for _ in range(200):
        rows = []
        for bucket in range(20):
            of_a = int(draw.binomial(50, 0.8))
            for arm, count, mean, propensity in (("a", of_a, 0.1, 0.8), ("b", 50 - of_a, 0.9, 0.2)):
                rows.append(shown(arm, count, float(draw.binomial(count, mean)), propensity, bucket=bucket))
        found = judged(rows, policy)
        estimates.append((found.ips.value, found.robust.value))
    values = np.array(estimates)
    assert values.mean(axis=0) == pytest.approx([0.74, 0.74], abs=0.02)
    assert values[:, 1].std() < 0.5 * values[:, 0].std()


def test_a_floor_raises_each_share_and_leaves_the_rest_in_proportion() -> None:
    assert off_policy.with_floor(np.array([0.7, 0.3, 0.0]), 0.1, "m") == pytest.approx([0.59, 0.31, 0.1])
    assert off_policy.with_floor(np.array([1.0]), 0.9, "m") == pytest.approx([1.0])


@pytest.mark.parametrize("floor", [0.25, 0.3, 0.9])
def test_a_floor_that_makes_every_policy_uniform_is_refused(floor: float) -> None:
    with pytest.raises(ConfigError, match="makes the policy uniform") as refusal:
        off_policy.with_floor(np.array([0.7, 0.1, 0.1, 0.1]), floor, "m")
    assert refusal.value.allowed == "below 0.25, or fewer arms"
