"""Test scales and their ticks."""

from __future__ import annotations

from datetime import date

import pytest

from raypipe.pages.scales import Days, Linear, around


def test_a_scale_maps_its_ends_and_a_single_value_to_the_middle() -> None:
    scale = Linear(0.0, 10.0, 100.0, 0.0)
    assert [scale(0), scale(5), scale(10)] == [100.0, 50.0, 0.0]
    assert Linear(3.0, 3.0, 0.0, 10.0)(3.0) == 5.0


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (0.78, 0.83, [0.78, 0.8, 0.82]),
        (0.0, 44_000.0, [0.0, 20_000.0, 40_000.0]),
        (-3.0, 2.0, [-2.0, 0.0, 2.0]),
        (5.0, 5.0, [5.0]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, ticks: list[float]) -> None:
    assert Linear(low, high, 0.0, 1.0).ticks() == pytest.approx(ticks)


def test_a_scale_around_values_skips_what_is_not_finite() -> None:
    scale = around([1.0, float("nan"), 3.0, float("inf")], 0.0, 1.0)
    assert (scale.low, scale.high) == pytest.approx((0.9, 3.1))
    assert around([], 0.0, 1.0).low < around([], 0.0, 1.0).high
    assert around([0.0, 0.0], 0.0, 1.0, zero=True).high == 1.0


def test_days_are_labelled_by_day_or_by_month() -> None:
    short = Days(date(2026, 1, 1), date(2026, 1, 31), 0.0, 100.0).ticks()
    assert short[-1] == (date(2026, 1, 31), "31 Jan")
    assert len(short) <= 5
    year = Days(date(2025, 2, 1), date(2026, 1, 31), 0.0, 100.0).ticks()
    assert [label for _, label in year] == ["Apr", "Jul", "Oct", "2026"]
    assert Days(date(2026, 1, 1), date(2026, 1, 1), 0.0, 100.0).ticks() == [(date(2026, 1, 1), "1 Jan")]
