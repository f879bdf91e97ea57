"""Test which moves of a series are more than its usual moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from math import nan

import numpy as np
import pytest

from raypipe.monitor.histograms import SCORE, Histogram, Series
from raypipe.monitor.moves import COLUMN_TIMES, LEAST_MOVE, SCORE_TIMES, SLICE_TIMES, Usual, moved

BEFORE = Usual(date(2026, 1, 29), mean=0.5, missing=0.1, mean_move=0.01, missing_move=0.01)


def night(mean: float, missing: float = 0.1, rows: int = 10_000) -> Histogram:
    """Return rows with the values 0 and 1."""
    known = rows * (1 - missing)
    counts = np.array([known * (1 - mean), known * mean, rows * missing])
    return Histogram(counts, np.array([0.5], np.float32), np.array([0.0, 1.0]), (0,))


@pytest.mark.parametrize(
    ("series", "times"),
    [
        (Series(SCORE), SCORE_TIMES),
        (Series("sessions"), COLUMN_TIMES),
        (Series(SCORE, "tier", "free"), COLUMN_TIMES),
        (Series("sessions", "tier", "free"), SLICE_TIMES),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_more_series_are_compared_the_more_it_takes(series: Series, times: float, sign: int) -> None:
    assert moved(series, night(0.5 + sign * 0.01 * (times - 0.1)), BEFORE) == ""
    reason = moved(series, night(0.5 + sign * 0.01 * (times + 0.1)), BEFORE)
    assert reason == f"the mean moved by {times:.0f} times its usual move since 2026-01-29"


def test_a_share_of_missing_values_moves_too() -> None:
    assert moved(Series("sessions"), night(0.5, missing=0.15), BEFORE) == ""
    reason = moved(Series("sessions"), night(0.5, missing=0.2), BEFORE)
    assert reason == "the share of missing values moved by 10 times its usual move since 2026-01-29"


def test_a_small_part_of_the_deviation_is_no_message() -> None:
    still = replace(BEFORE, mean_move=0.0001)
    # The standard deviation of a half zeros and ones is 0.5.
    assert moved(Series(SCORE), night(0.5 + 0.5 * LEAST_MOVE * 0.98), still) == ""
    assert moved(Series(SCORE), night(0.5 + 0.5 * LEAST_MOVE * 1.02), still) != ""


def test_a_few_readers_of_a_column_that_never_moved_are_no_message() -> None:
    still = Usual(date(2026, 1, 29), mean=0.0, missing=0.0, mean_move=0.0, missing_move=0.0)
    few, many = night(13 / 1000, 0, 1000), night(15 / 1000, 0, 1000)
    assert (moved(Series("is_new"), few, still), bool(moved(Series("is_new"), many, still))) == ("", True)
    assert moved(Series("is_new"), night(0.0, 0, 1000), still) == ""
    gone = replace(still, mean=2 / 1000)
    assert moved(Series("is_new"), night(0.0, 0, 1000), gone) == ""
    constant = Histogram(np.array([1000.0, 0.0]), np.array([], np.float32), np.array([0.0]), ())
    assert moved(Series("is_new"), constant, gone) == ""


def test_without_a_value_there_is_no_mean_to_move() -> None:
    none = Usual(date(2026, 1, 29), mean=nan, missing=1.0, mean_move=nan, missing_move=0.0)
    assert moved(Series("sessions"), night(0.5, 1.0), none) == ""
    assert "missing" in moved(Series("sessions"), night(0.5, 0.1), none)
