"""Test Thompson sampling: probabilities to be best, the policy, and contexts with little data."""

from __future__ import annotations

import numpy as np
import pytest

from raypipe.ads import bandit
from raypipe.ads.bandit import Policy
from raypipe.ads.revenue import ArmTotals, ClickRate
from raypipe.config.ads import Ads
from raypipe.errors import ConfigError, DataError, ModelError

SETTINGS = Ads(draws=40_000)
SEED = 3


def earning(impressions: int, clicks: int, each: float = 1.0) -> ArmTotals:
    """An arm whose every click earns the same."""
    return ArmTotals(impressions, clicks, clicks * each, clicks * each**2)


def learned(settings: Ads = SETTINGS, **arms: ArmTotals) -> bandit.ContextPolicy:
    return bandit.learn({"mobile": arms}, settings, SEED).contexts["mobile"]


def density(rate: ClickRate, at: np.ndarray) -> np.ndarray:
    """The Beta's density on a fine grid, normalised on it."""
    logs = (rate.a - 1) * np.log(at) + (rate.b - 1) * np.log1p(-at)
    weights = np.exp(logs - logs.max())
    return weights / weights.sum()


GRID = (np.arange(200_000) + 0.5) / 200_000


def test_the_probability_to_be_best_is_that_of_one_beta_above_another() -> None:
    context = learned(a=earning(1000, 30), b=earning(1000, 40))
    a, b = (context.arm(name) for name in "ab")
    assert a is not None
    assert b is not None
    exact = float(np.sum(density(b.click_rate, GRID) * np.cumsum(density(a.click_rate, GRID))))
    assert 0.8 < exact < 0.95
    assert b.best == pytest.approx(exact, abs=0.01)
    assert a.best == pytest.approx(1 - b.best)
    assert b.above_control == pytest.approx(b.best)  # a was shown as often, and comes first


def test_the_credible_interval_has_the_betas_quantiles() -> None:
    context = learned(a=earning(1000, 30), b=earning(1000, 40))
    for arm in context.arms:
        below = np.cumsum(density(arm.click_rate, GRID))
        low, high = (GRID[np.searchsorted(below, share)] for share in (0.025, 0.975))
        assert (arm.low, arm.high) == pytest.approx((low, high), rel=0.03)
        assert arm.expected == pytest.approx(arm.click_rate.mean)


def test_what_counts_is_revenue_and_not_clicks() -> None:
    context = learned(cheap=earning(2000, 100, each=0.1), dear=earning(2000, 40, each=1.0))
    assert context.recommended == "dear"
    dear = context.arm("dear")
    assert dear is not None
    assert dear.best > 0.99


@pytest.mark.parametrize("floor", [0.0, 0.02, 0.2, 0.249])
def test_the_shares_always_add_up_and_keep_the_floor(floor: float) -> None:
    context = learned(
        SETTINGS.model_copy(update={"floor": floor}),
        a=earning(900, 90),
        b=earning(900, 9),
        c=earning(900, 8),
        d=earning(9, 0),
    )
    shares = [arm.share for arm in context.arms]
    assert sum(shares) == pytest.approx(1)
    assert min(shares) >= floor - 1e-12


def test_a_floor_that_leaves_equal_shares_is_refused_where_there_are_several_arms() -> None:
    settings = SETTINGS.model_copy(update={"floor": 0.5})
    with pytest.raises(ConfigError, match="makes the policy uniform"):
        learned(settings, a=earning(900, 90), b=earning(900, 9))
    assert [arm.share for arm in learned(settings, a=earning(900, 90)).arms] == [1.0]


def test_ties_are_shared() -> None:
    assert bandit.probability_best(np.zeros((10, 4))) == pytest.approx([0.25] * 4)


def test_the_same_seed_gives_the_same_bytes_and_another_others() -> None:
    totals = {"mobile": {"a": earning(500, 20), "b": earning(500, 22)}}
    files = bandit.learn(totals, SETTINGS, SEED).files()
    assert bandit.learn(totals, SETTINGS, SEED).files() == files
    assert bandit.learn(totals, SETTINGS, SEED + 1).files() != files


def test_a_context_does_not_depend_on_the_order_of_the_others() -> None:
    mobile, tablet = {"a": earning(500, 20), "b": earning(500, 22)}, {"a": earning(50, 2), "b": earning(5, 1)}
    one, other = ({"m": mobile, "t": tablet}, {"t": tablet, "m": mobile})
    assert bandit.learn(one, SETTINGS, SEED) == bandit.learn(other, SETTINGS, SEED)


def test_an_arm_that_was_never_shown_is_explored_but_not_recommended() -> None:
    context = learned(old=earning(1000, 30), new=ArmTotals())
    new = context.arm("new")
    assert new is not None
    assert context.recommended == "old"
    assert new.share > SETTINGS.floor
    # All that is known of it is what is known of all arms together.
    assert new.expected == pytest.approx(30.5 / 1001)


def test_a_context_with_one_arm_shows_it_always() -> None:
    context = learned(only=earning(100, 3))
    (arm,) = context.arms
    assert (context.status, context.recommended, context.control) == (bandit.ONE_ARM, "only", "only")
    assert (arm.best, arm.share) == (1.0, 1.0)


def test_without_any_revenue_all_arms_are_alike_and_none_is_recommended() -> None:
    context = learned(a=ArmTotals(100, 5), b=ArmTotals(100, 1))
    assert (context.status, context.recommended) == (bandit.NO_REVENUE, "")
    assert [(arm.expected, arm.best, arm.share) for arm in context.arms] == [(0.0, 0.5, 0.5)] * 2


def test_a_context_without_revenue_learns_from_the_others_what_a_click_earns() -> None:
    policy = bandit.learn(
        {"m": {"a": earning(900, 30)}, "t": {"a": ArmTotals(300, 9), "b": ArmTotals(300, 0)}}, SETTINGS, SEED
    )
    tablet = policy.contexts["t"]
    assert tablet.status == bandit.NO_REVENUE
    assert all(arm.expected > 0 for arm in tablet.arms)


def test_a_context_with_clicks_alone_says_that_nothing_was_shown() -> None:
    policy = bandit.learn(
        {"m": {"a": earning(900, 30)}, "t": {"a": ArmTotals(clicks=2, revenue=1, revenue_squares=1)}}, SETTINGS, SEED
    )
    assert (policy.contexts["t"].status, policy.contexts["t"].recommended) == (bandit.NOT_SHOWN, "")


def test_nothing_shown_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="No ad was shown"):
        bandit.learn({"m": {"a": ArmTotals(clicks=2)}}, SETTINGS, SEED)


def test_a_policy_survives_its_files() -> None:
    policy = bandit.learn({"m": {"a": earning(900, 30), "b": ArmTotals()}, "t": {"a": ArmTotals(3, 1)}}, SETTINGS, SEED)
    again = bandit.from_files(policy.files())
    assert isinstance(again, Policy)
    assert again == policy
    assert again.shares()["m", "a"] == policy.contexts["m"].arms[0].share


@pytest.mark.parametrize("files", [{}, {"policy.json": b"{"}, {"policy.json": b'{"contexts": [{}]}'}])
def test_files_without_a_policy_are_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(ModelError, match="does not hold a bandit's policy"):
        bandit.from_files(files)
