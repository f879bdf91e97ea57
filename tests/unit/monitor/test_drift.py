"""Test the population stability index against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from raypipe.monitor.drift import SMALLEST_SHARE, measure, psi

FEATURES = ((0.5, 0.5, 0.0), (0.9, 0.1, 0.0))
SCORE = (0.5, 0.5, 0.0)


def counts(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


@pytest.mark.parametrize(
    ("expected", "found", "index"),
    [
        ((0.5, 0.5), (50, 50), 0.0),
        # 0.25 ln 1.5 + -0.25 ln 0.5
        ((0.5, 0.5), (75, 25), 0.25 * math.log(1.5) + 0.25 * math.log(2)),
        # 0.1 ln 1.5 + 0.1 ln 1.5 - 0.2 ln (3 / 5)
        ((0.2, 0.2, 0.6), (30, 30, 40), 2 * 0.1 * math.log(1.5) - 0.2 * math.log(4 / 6)),
    ],
)
def test_the_index_is_the_sum_of_share_differences_times_the_log_of_their_ratio(
    expected: tuple[float, ...], found: tuple[int, ...], index: float
) -> None:
    assert psi(expected, counts(*found)) == pytest.approx(index)


def test_a_bin_that_one_side_never_saw_counts_as_the_smallest_share() -> None:
    q = SMALLEST_SHARE
    expected = (1 - 0.5) * math.log(1 / 0.5) + (q - 0.5) * math.log(q / 0.5)
    assert psi((0.5, 0.5), counts(10, 0)) == pytest.approx(expected)
    assert psi((1.0, 0.0), counts(1, 1)) == pytest.approx((0.5 - 1) * math.log(0.5) + (0.5 - q) * math.log(0.5 / q))


def test_the_index_does_not_depend_on_how_many_rows_there_are() -> None:
    assert psi((0.3, 0.7), counts(40, 60)) == pytest.approx(psi((0.3, 0.7), counts(4000, 6000)))


def test_nothing_counted_is_no_drift() -> None:
    assert psi((0.5, 0.5), counts(0, 0)) == 0


def of(first: tuple[int, ...], second: tuple[int, ...], scores: tuple[int, ...]) -> dict[str, object]:
    return {"features": [list(first), list(second)], "scores": list(scores)}


def test_the_counts_of_all_slices_are_added_before_they_are_compared() -> None:
    # Each slice alone has moved; together they are as at fit time.
    slices = [of((100, 0, 0), (90, 10, 0), (0, 100, 0)), of((0, 100, 0), (90, 10, 0), (100, 0, 0))]
    found = measure(["a", "b"], FEATURES, SCORE, slices, warning=0.1, alert=0.25)
    assert found.features == {"a": 0.0, "b": 0.0}
    assert (found.score, found.worst, found.warnings, found.alerts) == (0.0, 0.0, (), ())
    assert found.score_counts == (100, 100, 0)


def test_a_column_is_a_warning_between_the_limits_and_an_alert_from_the_second_on() -> None:
    # 0.2747 for the first feature; 0.1 ln … for the second; the score as the first.
    moved = of((75, 25, 0), (75, 25, 0), (50, 50, 0))
    second = round(-0.15 * math.log(0.75 / 0.9) + 0.15 * math.log(2.5), 5)
    found = measure(["a", "b"], FEATURES, SCORE, [moved], warning=second, alert=0.25)
    assert found.features == {"a": 0.27465, "b": second}
    assert (found.warnings, found.alerts, found.worst) == (("b",), ("a",), 0.27465)


def test_the_score_is_watched_as_the_features_are() -> None:
    found = measure(["a", "b"], FEATURES, SCORE, [of((1, 1, 0), (9, 1, 0), (75, 25, 0))], warning=0.1, alert=0.25)
    assert (found.alerts, found.worst) == (("score",), 0.27465)


def test_missing_values_that_appear_are_drift() -> None:
    found = measure(["a", "b"], FEATURES, SCORE, [of((25, 25, 50), (9, 1, 0), (1, 1, 0))], warning=0.1, alert=0.25)
    assert found.alerts == ("a",)


def test_values_that_appear_where_the_fit_knew_none_are_not_drift() -> None:
    counts_of = {"features": [[90, 10], [90, 10, 0]], "scores": [1, 1, 0]}
    found = measure(["a", "b"], ((0.0, 1.0), FEATURES[1]), SCORE, [counts_of], warning=0.1, alert=0.25)
    assert found.features == {"a": 0.0, "b": 0.0}


def test_other_columns_than_those_of_the_bins_are_a_bug() -> None:
    with pytest.raises(ValueError, match="zip"):
        measure(["a"], FEATURES, SCORE, [], warning=0.1, alert=0.25)
