"""Test which differences of two nights are drift, and that whatever cannot be compared is said in words."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from raypipe.monitor.drift import (
    ALERT,
    FIT,
    LEAST_ROWS,
    NIGHT,
    NOT_COMPARED,
    OK,
    WARNING,
    Comparison,
    Limits,
    Reference,
    Terms,
    compare,
    summary,
)
from raypipe.monitor.histograms import SCORE, Histogram, Series
from raypipe.monitor.moves import Usual

DAY = date(2026, 1, 31)
BEFORE = date(2026, 1, 30)
LIMITS = Limits(0.1, 0.25)
SERIES = Series("sessions")
EDGES = np.array([1, 2, 3], dtype=np.float32)


def histogram(*counts: float, edges: np.ndarray = EDGES) -> Histogram:
    means = np.append(edges - 0.5, edges[-1] + 0.5).astype(np.float64) if len(edges) else np.zeros(1)
    return Histogram(np.array(counts, dtype=np.float64), edges, means, tuple(range(len(edges))))


def reference(then: Histogram | None, kind: str = NIGHT, usual: Usual | None = None) -> Reference:
    known = {} if then is None else {SERIES: then}
    return Reference(kind, DAY, "run", "v1", known, {} if usual is None else {SERIES: usual})


def one(
    now: Histogram, against: Reference, limits: Limits = LIMITS, *, series: Series = SERIES, groups: float = math.inf
) -> Comparison:
    (result,) = compare({series: now}, against, lambda _: Terms(limits, groups=groups))
    return result


def compared(now: Histogram, then: Histogram | None, limits: Limits = LIMITS, usual: Usual | None = None) -> Comparison:
    return one(now, reference(then, usual=usual), limits)


SAME = histogram(2500, 2500, 2500, 2500, 0)


@pytest.mark.parametrize(
    ("now", "status"),
    [
        (histogram(2520, 2480, 2500, 2500, 0), OK),
        (histogram(3400, 2600, 2200, 1800, 0), OK),
        (histogram(3900, 2600, 2000, 1500, 0), WARNING),
        (histogram(5000, 2500, 1500, 1000, 0), ALERT),
        (histogram(2000, 2000, 2000, 2000, 2000), ALERT),
    ],
)
def test_the_status_follows_from_the_index_less_what_chance_gives(now: Histogram, status: str) -> None:
    result = compared(now, SAME)
    assert result.status == status, result
    assert result.psi is not None
    assert (status == ALERT) == (result.psi >= 0.25)


def test_a_small_population_does_not_alert_by_chance_and_does_by_a_shift() -> None:
    now, then = histogram(32, 22, 28, 38, 0), histogram(38, 32, 22, 28, 0)
    assert compared(now, then).status == OK
    few = compared(histogram(9, 1, 0, 0, 0), histogram(0, 0, 50, 60, 0))
    assert (few.status, few.psi) == (NOT_COMPARED, None)
    assert few.reason == f"10 rows are too few to judge; {LEAST_ROWS} are enough"
    assert compared(histogram(120, 0, 0, 0, 0), histogram(0, 0, 0, 120, 0)).status == ALERT


def test_a_move_that_is_a_multiple_of_the_usual_is_an_alert_below_the_limit() -> None:
    moved = histogram(2700, 2550, 2400, 2350, 0)
    assert compared(moved, SAME).status == OK
    assert compared(moved, SAME, usual=Usual(BEFORE, 2.0, 0.0, 0.05, 0.0)).status == OK
    unusual = compared(moved, SAME, usual=Usual(BEFORE, 2.0, 0.0, 0.005, 0.0))
    assert unusual.status == ALERT
    assert unusual.reason == "the mean moved by 12 times its usual move since 2026-01-30"


def test_values_that_groups_of_rows_share_are_no_more_rows_than_groups() -> None:
    shifted = histogram(5000, 2500, 1500, 1000, 0)
    grouped = one(shifted, reference(SAME), groups=38)
    assert (compared(shifted, SAME).status, grouped.status) == (ALERT, OK)
    assert grouped.psi_noise == pytest.approx(3 * 2 / 38)
    assert one(shifted, reference(SAME), groups=3000).status == ALERT


def test_of_a_slice_no_value_is_called_unseen() -> None:
    of_slice = Series("sessions", "tier", "free")
    known = Reference(NIGHT, DAY, "run", "v1", {of_slice: SAME})
    result = one(SAME, known, series=of_slice)
    assert (result.status, result.unseen, result.reference_unseen) == (OK, None, None)


def test_limits_of_a_feature_replace_those_of_all_and_an_ignored_feature_is_not_compared() -> None:
    shifted = histogram(5000, 2500, 1500, 1000, 0)
    assert compared(shifted, SAME, Limits(0.5, 0.9)).status == OK
    ignored = compared(shifted, SAME, Limits(0.1, 0.25, ignore=True))
    assert (ignored.status, ignored.psi, ignored.reason) == (NOT_COMPARED, None, "ignored by monitor.features")


ALL_MISSING = histogram(0, 0, 0, 0, 10_000)


def test_a_feature_that_appears_or_vanishes_is_told_as_that() -> None:
    gone, there = compared(ALL_MISSING, SAME), compared(SAME, ALL_MISSING)
    assert (gone.status, gone.reason) == (ALERT, "there on 2026-01-31, and missing in all rows now")
    assert (there.status, there.reason) == (ALERT, "missing in all rows on 2026-01-31, and there now")
    assert (gone.ks, gone.wasserstein, gone.unseen, there.reference_unseen) == (None, None, None, None)
    both = compared(ALL_MISSING, ALL_MISSING)
    assert (both.status, both.reason, both.psi) == (OK, "missing in all rows, as on 2026-01-31", 0)
    at_fit = one(SAME, reference(ALL_MISSING, FIT))
    assert at_fit.reason == "missing in all rows at the fit, and there now"


def test_rates_of_missing_and_unseen_values_are_shares() -> None:
    result = compared(histogram(100, 200, 300, 100, 300), SAME)
    assert (result.missing, result.unseen) == (0.3, pytest.approx(200 / 700))


def test_without_a_reference_the_row_says_so() -> None:
    none = one(SAME, Reference(NIGHT, reason="no reference yet"))
    assert (none.status, none.reason, none.psi) == (NOT_COMPARED, "no reference yet", None)
    other = compared(SAME, None)
    assert (other.status, other.reason) == (NOT_COMPARED, "no rows of this series on 2026-01-31")


def test_one_row_and_no_row_are_words_and_never_nan() -> None:
    for now in (histogram(1, 0, 0, 0, 0), histogram(0, 0, 0, 0, 0), histogram(5, 0, edges=EDGES[:0])):
        result = compared(now, SAME if len(now.edges) else histogram(1, 0, edges=EDGES[:0]))
        assert result.status == NOT_COMPARED
        assert "too few" in result.reason
        numbers = [value for value in vars(result).values() if isinstance(value, float)]
        assert all(np.isfinite(numbers))


def test_a_histogram_of_another_version_is_counted_again_in_the_bins_of_this_one() -> None:
    then = histogram(100, 200, 300, 400, 7)
    now = histogram(0, 0, 0, edges=np.array([2.0], dtype=np.float32))
    again = then.in_bins_of(now)
    assert again.counts.tolist() == [300, 700, 7]
    assert then.in_bins_of(histogram(0, 0, 0, 0, 0)) is then
    grown = then.in_bins_of(now, growth=-1.0)
    assert grown.counts.tolist() == [600, 400, 7]


def test_equal_bins_that_another_version_groups_otherwise_are_grouped_as_here() -> None:
    now = replace(SAME, wide=SAME.wide[:1])
    result = one(now, reference(SAME.in_bins_of(now)))
    assert (len(now.widened), result.psi) == (3, 0)


def test_many_series_are_measured_as_one_is() -> None:
    rng = np.random.default_rng(6)
    counted, then = {}, {}
    for number, size in enumerate([4, 4, 4, 9, 9, 1, 0]):
        edges = np.sort(rng.random(size)).astype(np.float32)
        sides = [histogram(*rng.integers(0, 900, size + 2).tolist(), edges=edges) for _ in range(2)]
        counted[Series(str(number))], then[Series(str(number))] = sides
    counted[Series("gone")], then[Series("gone")] = ALL_MISSING, SAME
    against = Reference(NIGHT, DAY, "run", "v1", then)
    together = compare(counted, against, lambda _: Terms(LIMITS))
    assert together == [one(now, against, series=series) for series, now in counted.items()]


def test_the_summary_names_the_series_of_the_reference_that_alerts_the_largest_index_first() -> None:
    against, whole = (
        reference(None),
        [
            Comparison(reference(None), Series("a"), 500, psi=0.3, status=ALERT),
            Comparison(reference(None), Series("b", "tier", "free"), 500, psi=0.9, status=ALERT),
            Comparison(reference(None), Series(SCORE), 500, psi=0.15, status=WARNING),
            Comparison(reference(None, FIT), Series("c"), 500, psi=3.0, status=ALERT),
        ],
    )
    found = summary(whole, against, histogram(1, 2, 3, 4, 0))
    assert (found.alerts, found.warnings, found.since_fit) == (("b [tier=free]", "a"), ("score",), ("c",))
    assert (found.worst, found.score, found.features) == (0.3, 0.15, {"a": 0.3})
    assert found.score_counts == (1, 2, 3, 4, 0)
    assert found.reference == "night of 2026-01-31"
    nothing = summary([], Reference(NIGHT, reason="no reference yet"), None)
    assert (nothing.worst, nothing.reference, nothing.alerts) == (None, "no reference yet", ())
