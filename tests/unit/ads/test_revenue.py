"""Test the posteriors of a click and of its revenue against their closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from raypipe.ads.revenue import ArmTotals, ClickRate, ClickRevenue, priors


def of_clicks(*revenue: float, impressions: int = 100) -> ArmTotals:
    return ArmTotals(impressions, len(revenue), sum(revenue), sum(value**2 for value in revenue))


def test_clicks_and_impressions_without_one_add_to_the_two_sides_of_the_beta() -> None:
    assert ClickRate(2.0, 38.0).after(ArmTotals(impressions=100, clicks=7)) == ClickRate(9.0, 131.0)
    assert ClickRate(9.0, 131.0).mean == pytest.approx(9 / 140)


def test_a_click_beyond_the_impressions_counts_as_none() -> None:
    assert ClickRate(1.0, 1.0).after(ArmTotals(impressions=3, clicks=5)) == ClickRate(4.0, 1.0)


def test_without_a_click_its_revenue_stays_the_prior() -> None:
    prior = ClickRevenue(0.5, 1.0, 2.0, 0.09)
    assert prior.after(ArmTotals(impressions=50)) is prior


def test_sums_give_the_posterior_that_the_single_clicks_give() -> None:
    """Gelman et al., section 3.3, with s² and the mean computed from the clicks themselves."""
    clicks = [0.2, 0.5, 1.1, 0.4, 0.9]
    prior = ClickRevenue(mean=0.4, weight=2.0, degrees=3.0, variance=0.05)
    n, mean, s2 = len(clicks), np.mean(clicks), np.var(clicks, ddof=1)
    expected = 3.0 * 0.05 + (n - 1) * s2 + 2.0 * n / (2.0 + n) * (mean - 0.4) ** 2
    found = prior.after(of_clicks(*clicks))
    assert (found.weight, found.degrees) == (7.0, 8.0)
    assert found.mean == pytest.approx(2 / 7 * 0.4 + 5 / 7 * mean)
    assert found.degrees * found.variance == pytest.approx(expected)


def test_clicks_seen_at_once_or_one_after_the_other_give_the_same_posterior() -> None:
    prior = ClickRevenue(0.4, 1.0, 1.0, 0.2)
    at_once, in_turn = prior.after(of_clicks(0.3, 1.2, 0.6)), prior.after(of_clicks(0.3, 1.2)).after(of_clicks(0.6))
    assert vars(in_turn) == pytest.approx(vars(at_once))


def test_samples_of_the_mean_follow_its_students_t() -> None:
    """The mean follows a t distribution with variance σ²/κ · ν/(ν − 2), for ν degrees and scale² σ²/κ."""
    revenue = ClickRevenue(mean=5.0, weight=4.0, degrees=12.0, variance=0.8)
    drawn = revenue.draw(np.random.default_rng(1), 400_000)
    assert drawn.mean() == pytest.approx(5.0, abs=0.003)
    assert drawn.var() == pytest.approx(0.8 / 4 * 12 / 10, rel=0.02)


def test_no_sample_of_a_revenue_is_negative() -> None:
    drawn = ClickRevenue(mean=0.1, weight=1.0, degrees=3.0, variance=1.0).draw(np.random.default_rng(1), 10_000)
    assert drawn.min() == 0


def test_equal_revenue_of_all_clicks_leaves_no_doubt_of_it() -> None:
    rate, prior = priors(of_clicks(0.5, 0.5, 0.5), impressions=20, clicks=1)
    assert (prior.mean, prior.variance) == (0.5, 0.0)
    assert set(prior.after(of_clicks(0.5, 0.5)).draw(np.random.default_rng(1), 10)) == {0.5}
    assert rate == ClickRate(pytest.approx(20 * 3.5 / 101), pytest.approx(20 * 97.5 / 101))


def test_the_prior_has_the_mean_and_the_variance_of_all_clicks_together() -> None:
    clicks = [0.2, 0.5, 1.1, 0.4, 0.9]
    _, prior = priors(of_clicks(*clicks), impressions=20, clicks=3)
    assert (prior.mean, prior.variance) == pytest.approx((np.mean(clicks), np.var(clicks, ddof=1)))
    assert (prior.weight, prior.degrees) == (3, 3)


def test_the_prior_of_nothing_but_impressions_is_a_rare_click_that_earns_nothing() -> None:
    rate, revenue = priors(ArmTotals(impressions=99), impressions=10, clicks=1)
    assert rate.mean == pytest.approx(0.005)
    assert (revenue.mean, revenue.variance) == (0.0, 0.0)
