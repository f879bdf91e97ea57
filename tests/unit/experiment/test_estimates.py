"""Test estimates against a library's answers on the same rows, and against textbooks."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from raypipe.experiment import inference
from raypipe.experiment.estimates import Estimate, estimates
from raypipe.experiment.inference import OneLook
from raypipe.experiment.moments import Array, Moments, union, with_constant

CLOSE = {"rel": 1e-9}


def moments(*columns: Array) -> Moments:
    rows = np.column_stack(columns).astype(float)
    apart = rows - rows.mean(axis=0)
    return Moments(len(rows), rows.mean(axis=0), apart.T @ apart)


def by_arm(arm: Array, *columns: Array) -> dict[str, Moments]:
    return {str(name): moments(*(column[arm == name] for column in columns)) for name in (0, 1)}


def compared(found: dict[str, Estimate]) -> list[float]:
    """Return both values, the difference, its 95 % interval and the p-value, by Welch's t."""
    control, arm = found["0"], found["1"]
    error, difference = sqrt(control.variance + arm.variance), arm.value - control.value
    freedom = inference.freedom([(item.variance, item.units) for item in (control, arm)])
    half = OneLook().critical(0.05, 400, freedom) * error
    p_value = OneLook().p_value(difference / error, 400, freedom)
    return [control.value, arm.value, difference, difference - half, difference + half, p_value]


AT = np.arange(400)
ARM = AT * 7919 % 11 % 2
BEFORE = AT * 31 % 17
VIEWS = 1 + AT * 13 % 7
BEFORE_VIEWS = 1 + AT * 17 % 5
CLICKS = np.floor(VIEWS * ((AT * 29 % 10) / 10)) + ARM * (AT % 3 == 0)
REVENUE = 0.8 * BEFORE + (AT * 37 % 23) / 5 + 0.5 * ARM

# The answers of tea-tasting 1.14 on these rows: Mean, and RatioOfMeans, without and with a covariate.
MEAN = [8.61187214611872, 9.106629834254145, 0.4947576881354241, -0.32786139789227275, 1.317376774163121]
MEAN_CUPED = [8.618597616237532, 9.098492386983319, 0.479894770745787, 0.2169618092254204, 0.7428277322661536]
RATIO = [0.3513203214695752, 0.43112947658402206, 0.07980915511444686, 0.015615916372855948, 0.14400239385603777]
RATIO_CUPED = [0.3512153183063305, 0.4312569527489944, 0.08004163444266388, 0.016113022517961165, 0.1439702463673666]


@pytest.mark.parametrize(
    ("columns", "needed", "expected"),
    [
        ((REVENUE,), 1, [*MEAN, 0.23773073449607085]),
        ((REVENUE, BEFORE), 1, [*MEAN_CUPED, 0.000375492390313641]),
        ((CLICKS, VIEWS), 2, [*RATIO, 0.014957647355446121]),
        ((CLICKS, VIEWS, BEFORE, BEFORE_VIEWS), 2, [*RATIO_CUPED, 0.014267777960849956]),
    ],
    ids=["mean", "mean with covariate", "ratio", "ratio with covariate"],
)
def test_values_intervals_and_p_values_are_those_of_tea_tasting(
    columns: tuple[Array, ...], needed: int, expected: list[float]
) -> None:
    assert compared(estimates(by_arm(ARM, *columns), needed)) == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_a_covariate_leaves_the_textbooks_share_of_the_variance(correlation: float) -> None:
    draw = np.random.default_rng(3)
    before = draw.normal(size=40_000)
    value = correlation * before + sqrt(1 - correlation**2) * draw.normal(size=40_000)
    for item in estimates(by_arm(np.arange(40_000) % 2, value, before), 1).values():
        assert item.variance / item.unadjusted == pytest.approx(1 - correlation**2, abs=0.02)


def test_over_many_experiments_the_adjusted_difference_varies_as_its_variance_says() -> None:
    draw = np.random.default_rng(5)
    errors, claimed = [], []
    for _ in range(400):
        before = draw.normal(size=400)
        value = 0.8 * before + 0.6 * draw.normal(size=400)
        control, arm = estimates(by_arm(np.arange(400) % 2, value, before), 1).values()
        errors.append(arm.value - control.value)
        claimed.append(control.variance + arm.variance)
    assert np.var(errors) == pytest.approx(np.mean(claimed), rel=0.15)
    # Without the adjustment it would be 1 / 0.36 of that.
    assert np.var(errors) < 0.5 * 4 / 400


def test_the_variance_of_a_ratio_is_that_of_resampled_units() -> None:
    """Units with many views weigh more, so that the clicks per view of single views would be too sure."""
    draw = np.random.default_rng(7)
    rate, views = draw.beta(2, 8, size=2000), draw.poisson(20, size=2000) + 1
    clicks = draw.binomial(views, rate)
    (found,) = estimates({"0": moments(clicks, views)}, 2).values()
    drawn = draw.integers(0, 2000, size=(2000, 2000))
    resampled = clicks[drawn].sum(axis=1) / views[drawn].sum(axis=1)
    assert sqrt(found.variance) == pytest.approx(resampled.std(), rel=0.06)
    naive = sqrt(found.value * (1 - found.value) / views.sum())
    assert sqrt(found.variance) > 1.5 * naive


def test_groups_are_joined_as_if_all_units_were_one_group() -> None:
    parts = [moments(REVENUE[at::3], BEFORE[at::3]) for at in range(3)]
    whole, joined = moments(REVENUE, BEFORE), union(parts)
    assert joined is not None
    assert joined.units == 400
    assert joined.mean == pytest.approx(whole.mean)
    assert joined.scatter == pytest.approx(whole.scatter)


def test_a_large_mean_costs_no_digits() -> None:
    times = 1.7e9 + REVENUE
    joined = union([moments(times[:200]), moments(times[200:])])
    assert joined is not None
    assert joined.covariance[0, 0] == pytest.approx(np.var(REVENUE, ddof=1), rel=1e-6)


def test_units_without_a_covariate_count_as_units_with_its_mean() -> None:
    known, value, before = AT % 4 != 0, REVENUE, BEFORE.astype(float)
    centre = before[known].mean()
    lacking = with_constant(moments(value[~known], before[~known]), 1, np.array([centre]))
    joined = union([moments(value[known], before[known]), lacking])
    filled = moments(value, np.where(known, before, centre))
    assert joined is not None
    assert joined.mean == pytest.approx(filled.mean)
    assert joined.scatter == pytest.approx(filled.scatter)
