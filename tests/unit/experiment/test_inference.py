"""Test intervals and p-values against published values, and their errors over simulated experiments."""

from __future__ import annotations

from itertools import product
from math import exp, factorial, inf, sqrt

import numpy as np
import pytest
from scipy import integrate, stats

from raypipe.experiment import inference
from raypipe.experiment.inference import EveryLook, OneLook, Rule

EVERY = EveryLook(10_000, 0.05)
EXPERIMENTS, LOOKS, PER_DAY = 2000, 30, 500


def test_one_look_is_welchs_test() -> None:
    first, second = (15.0, sqrt(87.5), 13), (12.0, sqrt(39.0), 11)
    known = stats.ttest_ind_from_stats(*first, *second, equal_var=False)
    variances = [(first[1] ** 2 / first[2], first[2]), (second[1] ** 2 / second[2], second[2])]
    z = 3.0 / sqrt(sum(variance for variance, _ in variances))
    assert OneLook().p_value(z, 24, inference.freedom(variances)) == pytest.approx(known.pvalue)
    assert OneLook().critical(0.05, 24, inf) == pytest.approx(1.959964, abs=1e-6)


@pytest.mark.parametrize("units", [100, 10_000, 1_000_000])
def test_the_bound_of_every_look_is_where_the_mixture_of_likelihood_ratios_reaches_1_over_alpha(units: int) -> None:
    """With standard deviation 1, S is the sum of the units: ∫ exp(λ S - λ² n / 2) dN(λ; 0, ρ²) = 1 / α at the bound."""
    total = EVERY.critical(0.05, units, inf) * sqrt(units)
    spread = sqrt(EVERY.rho_squared)

    def ratio(effect: float) -> float:
        return exp(effect * total - effect**2 * units / 2) * float(stats.norm.pdf(effect, scale=spread))

    peak = total / units
    value, _ = integrate.quad(ratio, peak - 12 / sqrt(units), peak + 12 / sqrt(units), limit=200)
    assert value == pytest.approx(1 / 0.05, rel=1e-4)


def test_the_intervals_of_every_look_are_narrowest_at_the_planned_number() -> None:
    widths = {units: EVERY.critical(0.05, units, inf) for units in range(1_000, 100_000, 500)}
    # In standard errors the bound is flat; in the metric's units it is narrowest beside its neighbours' plans.
    others = [EveryLook(planned, 0.05).critical(0.05, 10_000, inf) for planned in (2_000, 5_000, 20_000, 50_000)]
    assert widths[10_000] < min(others)
    assert 2.7 < widths[10_000] < 3.1


@pytest.mark.parametrize("rule", [OneLook(), EVERY], ids=["one look", "every look"])
def test_a_difference_at_the_bound_has_the_p_value_of_the_level(rule: Rule) -> None:
    for alpha in (0.05, 0.01):
        assert rule.p_value(rule.critical(alpha, 5_000, inf), 5_000, inf) == pytest.approx(alpha)


def false_alarms(rule: Rule) -> float:
    """Return the share of A/A tests that a daily look ever finds significant; one unit in ten succeeds."""
    draw = np.random.default_rng(11)
    successes = draw.binomial(PER_DAY, 0.1, size=(2, EXPERIMENTS, LOOKS)).cumsum(axis=2)
    units = PER_DAY * np.arange(1, LOOKS + 1)
    rates = successes / units
    error = np.sqrt((rates * (1 - rates) / units).sum(axis=0))
    bounds = np.array([rule.critical(0.05, 2 * count, inf) for count in units])
    return float((np.abs(rates[1] - rates[0]) > bounds * error).any(axis=1).mean())


def test_over_2000_aa_tests_with_daily_looks_at_most_5_percent_raise_an_alarm() -> None:
    assert false_alarms(EveryLook(2 * PER_DAY * LOOKS, 0.05)) <= 0.05


def test_without_bounds_for_every_look_daily_looks_raise_several_times_as_many() -> None:
    assert false_alarms(OneLook()) > 0.2


def test_holm_and_bonferroni_give_the_p_values_of_r() -> None:
    # p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") and "bonferroni"
    p_values = [0.01, 0.04, 0.03, 0.005]
    assert inference.adjusted(p_values, "holm") == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert inference.adjusted(p_values, "bonferroni") == pytest.approx([0.04, 0.16, 0.12, 0.02])
    assert inference.adjusted(p_values, "none") == p_values


def test_a_sample_ratio_mismatch_has_the_p_value_of_the_textbook() -> None:
    """Kohavi, Tang and Xu 2020, "Trustworthy Online Controlled Experiments", chapter 3."""
    p_value = inference.sample_ratio([821_588, 815_482], [0.5, 0.5], every_look=False)
    assert p_value == pytest.approx(1.8e-6, rel=0.02)
    assert inference.sample_ratio([821_588, 815_482], [0.5, 0.5], every_look=True) < 0.001


def test_over_all_outcomes_the_sequential_mixture_is_a_fair_bet() -> None:
    """The mean of 1 / p (before it is cut at 1) under the plan is 1; Ville's inequality bounds it at all looks."""
    shares, units = [0.2, 0.3, 0.5], 4
    prior = np.array(shares) * inference.PRIOR_UNITS
    mean = 0.0
    for counts in product(range(units + 1), repeat=3):
        if sum(counts) != units:
            continue
        ways = factorial(units) / np.prod([factorial(count) for count in counts])
        chance = float(ways * np.prod(np.power(shares, counts)))
        odds = (
            inference._log_beta(prior + counts) - inference._log_beta(prior) - float(np.array(counts) @ np.log(shares))
        )
        mean += chance * exp(odds)
    assert mean == pytest.approx(1.0)


def test_daily_looks_at_the_sample_ratio_raise_few_alarms() -> None:
    draw = np.random.default_rng(13)
    daily = draw.binomial(1000, 0.5, size=(300, LOOKS)).cumsum(axis=1)
    alarms = 0
    for row in daily:
        counts = [(int(count), 1000 * (day + 1) - int(count)) for day, count in enumerate(row)]
        alarms += any(inference.sample_ratio(pair, [0.5, 0.5], every_look=True) < 0.05 for pair in counts)
    assert alarms <= 0.05 * 300


def test_units_for_an_effect_are_those_of_power_t_test() -> None:
    # R: power.t.test(delta = 0.5, sd = 1, power = 0.8)$n = 63.76576 per arm
    error = sqrt(1 / 50 + 1 / 50)
    units = inference.units_for(0.5, error, 100, OneLook(), 0.05, 0.8)
    assert units is not None
    assert units / 2 == pytest.approx(63.77, abs=0.5)


def test_with_these_units_the_effect_is_found_as_often_as_the_power_says() -> None:
    units = inference.units_for(0.1, sqrt(4 / 1000), 1000, OneLook(), 0.05, 0.8)
    assert units is not None
    error = sqrt(4 / units)
    draws = np.random.default_rng(17).normal(0.1, error, size=20_000)
    assert np.mean(draws / error > OneLook().critical(0.05, units, inf)) == pytest.approx(0.8, abs=0.01)


def test_more_units_than_anybody_has_are_no_number() -> None:
    assert inference.units_for(1e-12, 1.0, 100, OneLook(), 0.05, 0.8) is None


def test_stopping_at_any_look_takes_more_units_than_one_look_at_the_end() -> None:
    once = inference.units_for(0.1, sqrt(4 / 1000), 1000, OneLook(), 0.05, 0.8)
    always = inference.units_for(0.1, sqrt(4 / 1000), 1000, EVERY, 0.05, 0.8)
    assert once is not None
    assert always is not None
    assert 1.3 * once < always < 2.5 * once
