"""Test comparisons, verdicts and what to do, without ClickHouse."""

from __future__ import annotations

from math import inf, sqrt
from typing import Any

import pytest

from raypipe.config.experiment import ExperimentConfig
from raypipe.experiment import inference
from raypipe.experiment.comparisons import compare_all
from raypipe.experiment.estimates import Estimate
from raypipe.experiment.inference import OneLook
from raypipe.experiment.result import BETTER, NO_CHANGE, UNDECIDED, UNKNOWN, WORSE, Comparison


def share(successes: int, units: int) -> Estimate:
    value = successes / units
    variance = value * (1 - value) / (units - 1)
    return Estimate(units, value, variance, variance)


def compared(arms: dict[str, Estimate], per_day: float = 0.0, **changes: Any) -> tuple[Comparison, ...]:
    metric = {"name": "converted", "kind": "proportion", "value": "converted", **changes.pop("metric", {})}
    config = ExperimentConfig.model_validate(
        {
            "table": "visits",
            "unit": ["user_id"],
            "arm": "arm",
            "arms": [{"name": name, "share": 1 / len(arms)} for name in arms],
            "metrics": [metric],
            **changes,
        }
    )
    return compare_all(config, config.metrics[0], arms, per_day)


UDACITY = {"control": share(17_489, 145_274), "treatment": share(17_264, 145_310)}
COOKIE_CATS = {"gate_40": share(8_279, 45_489), "gate_30": share(8_502, 44_700)}


def test_udacitys_landing_pages_have_the_published_z_and_p() -> None:
    (found,) = compared(UDACITY)
    assert -(found.statistic or 0) == pytest.approx(1.3109, abs=5e-5)
    assert found.p_value == pytest.approx(0.1899, abs=5e-5)
    assert found.verdict == UNDECIDED


def test_cookie_cats_retention_has_the_published_z_and_p() -> None:
    (found,) = compared(COOKIE_CATS)
    assert found.statistic == pytest.approx(3.1644, abs=5e-5)
    assert found.p_value == pytest.approx(0.00155, abs=5e-6)
    assert (found.verdict, found.winner) == (BETTER, "gate_30")
    (worse,) = compared(COOKIE_CATS, metric={"better": "lower"})
    assert (worse.verdict, worse.winner) == (WORSE, "gate_40")


def test_the_relative_interval_is_that_of_the_ratio() -> None:
    (found,) = compared(COOKIE_CATS)
    control, arm = COOKIE_CATS.values()
    ratio = arm.value / control.value
    half = 1.959964 * ratio * sqrt(arm.variance / arm.value**2 + control.variance / control.value**2)
    assert found.relative.value == pytest.approx(ratio - 1)
    assert found.relative.high == pytest.approx(ratio - 1 + half, rel=1e-6)


def test_a_control_that_may_be_zero_has_no_relative_difference() -> None:
    (found,) = compared({"a": share(1, 1000), "b": share(9, 1000)}, metric={"detect": 0.1})
    assert (found.relative, found.detectable, found.units_to_go) == (UNKNOWN, None, None)
    assert found.p_value is not None


def test_units_without_any_difference_have_no_p_value() -> None:
    (found,) = compared({"a": share(0, 1000), "b": share(0, 1000)})
    assert (found.p_value, found.difference.low, found.verdict) == (None, None, UNDECIDED)


def test_a_change_worth_knowing_is_excluded_by_an_interval_inside_of_it() -> None:
    assert compared(UDACITY, metric={"detect": 0.05})[0].verdict == NO_CHANGE
    assert compared(UDACITY, metric={"detect": 0.02})[0].verdict == UNDECIDED


def test_what_is_missing_is_counted_over_all_arms() -> None:
    """Of three arms, two are compared: what the pair lacks is two thirds of what the experiment lacks."""
    pair = {"a": share(1_000, 10_000), "b": share(1_010, 10_000)}
    third = {**pair, "c": share(1_000, 10_000)}
    (two,), (three, _) = (compared(arms, 100.0, metric={"detect": 0.05}, correction="none") for arms in (pair, third))
    error = sqrt(sum(item.variance for item in pair.values()))
    wanted = inference.units_for(0.05 * 0.1, error, 20_000, OneLook(), 0.05, 0.8) or 0
    assert two.units_to_go == wanted - 20_000
    assert three.units_to_go == pytest.approx(1.5 * (wanted - 20_000), abs=1)
    assert two.days_to_go == pytest.approx((wanted - 20_000) / 100, abs=1)


def test_several_arms_have_wider_intervals_and_larger_p_values() -> None:
    arms = {"a": share(1_000, 10_000), "b": share(1_090, 10_000), "c": share(1_000, 10_000)}
    (holm, _), (plain, _) = (compared(arms, correction=name) for name in ("holm", "none"))
    assert plain.verdict == BETTER
    assert (holm.adjusted, holm.verdict) == (pytest.approx(2 * (plain.p_value or 0)), UNDECIDED)
    ratio = OneLook().critical(0.025, 1, inf) / OneLook().critical(0.05, 1, inf)
    widths = [(item.difference.high or 0) - (item.difference.low or 0) for item in (holm, plain)]
    assert widths[0] == pytest.approx(ratio * widths[1])


def test_with_looks_the_same_difference_takes_a_larger_statistic() -> None:
    (looked,), (once,) = compared(COOKIE_CATS, looks={"planned_units": 90_000}), compared(COOKIE_CATS)
    assert (looked.p_value or 0) > (once.p_value or 0)
    assert (looked.difference.high or 0) > (once.difference.high or 0)
    # Without the pooled variance, because the interval and the p-value have to agree at every look.
    assert ((looked.p_value or 0) < 0.05) == ((looked.difference.low or 0) > 0)
