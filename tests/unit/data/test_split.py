"""Test splits by time: training sees no test day, and errors name missing snapshots."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest

from raypipe.data.split import choose_dates, resolve_date
from raypipe.errors import DataError, UsageError

LAST = date(2026, 1, 31)
HORIZON = timedelta(days=30)
WEEKLY = [LAST - timedelta(days=7 * i) for i in reversed(range(16))]


def test_the_test_is_the_newest_snapshot_whose_label_is_known() -> None:
    assert choose_dates(WEEKLY, LAST, 30, 3).test == date(2025, 12, 27)


def test_no_label_of_the_training_reaches_into_the_test() -> None:
    dates = choose_dates(WEEKLY, LAST, 30, 3)
    assert len(dates.train) == 3
    assert all(day + HORIZON <= dates.test for day in dates.train)
    # A week later its label would look past the test's snapshot.
    assert dates.train[-1] + timedelta(days=7) + HORIZON > dates.test
    assert dates.test + HORIZON <= LAST


def test_a_label_that_ends_on_the_very_day_is_known() -> None:
    days = [date(2026, 1, 1), date(2026, 1, 11), date(2026, 1, 21)]
    dates = choose_dates(days, date(2026, 1, 21), 10, 3)
    assert (dates.train, dates.test) == ((date(2026, 1, 1),), date(2026, 1, 11))


def test_the_newest_training_snapshots_are_taken_and_fewer_where_there_are_no_more() -> None:
    assert choose_dates(WEEKLY, LAST, 30, 1).train == (date(2025, 11, 22),)
    assert len(choose_dates(WEEKLY, LAST, 30, 99).train) == 6


@pytest.mark.parametrize("found", [[], [LAST], [date(2025, 12, 1), date(2025, 12, 30)]])
def test_too_few_snapshots_are_refused_with_what_there_is(found: list[date]) -> None:
    with pytest.raises(DataError, match="too few snapshots") as refused:
        choose_dates(found, LAST, 30, 3)
    assert all(day.isoformat() in str(refused.value.found) for day in found)


DAILY = [LAST - timedelta(days=i) for i in reversed(range(150))]


def test_daily_snapshots_are_spread_over_months() -> None:
    dates = choose_dates(DAILY, LAST, 30, 3)
    assert dates.test == date(2026, 1, 1)
    assert dates.train == (date(2025, 10, 7), date(2025, 11, 4), date(2025, 12, 2))
    assert (
        dates.rule == "at least 28 days apart, a rule for frequent snapshots; their labels of 30 days end by the test"
    )


def test_a_short_history_of_daily_snapshots_is_spread_in_whole_weeks_where_that_is_possible() -> None:
    # 31 + 30 + n days hold n days to train on.
    for days, apart in ((80, 7), (90, 14), (66, 2)):
        train = choose_dates(DAILY[-days:], LAST, 30, 3).train
        assert [(later - earlier).days for earlier, later in pairwise(train)] == [apart, apart], days


def test_missing_days_shift_a_training_date_to_the_next_older_snapshot() -> None:
    holes = [day for day in DAILY if day not in (date(2025, 11, 4), date(2025, 11, 3))]
    assert choose_dates(holes, LAST, 30, 3).train == (date(2025, 10, 5), date(2025, 11, 2), date(2025, 12, 2))


def test_the_distance_may_be_set_and_sparse_snapshots_are_taken_as_they_come() -> None:
    assert choose_dates(DAILY, LAST, 30, 3, 1).train == (date(2025, 11, 30), date(2025, 12, 1), date(2025, 12, 2))
    assert choose_dates(WEEKLY, LAST, 30, 2, 14).train == (date(2025, 11, 8), date(2025, 11, 22))
    assert choose_dates(WEEKLY, LAST, 30, 2).train == (date(2025, 11, 15), date(2025, 11, 22))
    assert choose_dates(WEEKLY, LAST, 30, 2).rule.startswith("the newest;")


def test_a_day_after_the_one_asked_for_is_not_used() -> None:
    dates = choose_dates(WEEKLY, LAST - timedelta(days=7), 30, 3)
    assert dates.test == date(2025, 12, 20)


ROWS = dict.fromkeys(WEEKLY, 1000)


def test_latest_is_the_newest_snapshot() -> None:
    assert resolve_date(ROWS, None, "t") == LAST
    assert resolve_date(ROWS, WEEKLY[3], "t") == WEEKLY[3]
    assert resolve_date({LAST: 3}, None, "t") == LAST


@pytest.mark.parametrize(("rows", "latest"), [(499, WEEKLY[-2]), (500, LAST)])
def test_latest_passes_over_a_snapshot_that_looks_unfinished_and_says_so(
    rows: int, latest: date, caplog: pytest.LogCaptureFixture
) -> None:
    # One day that was written twice does not make all others look small.
    found = {**ROWS, WEEKLY[-2]: 2000, LAST: rows}
    assert resolve_date(found, None, "t") == latest
    said = [record.getMessage() for record in caplog.records]
    assert [f"t has {rows} rows of {LAST}" in one and f"--date {LAST}" in one for one in said] == [True] * (rows < 500)
    assert resolve_date(found, LAST, "t") == LAST


def test_a_date_without_a_snapshot_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="no snapshot of this date") as refused:
        resolve_date(ROWS, date(2026, 1, 20), "t")
    assert refused.value.found == "2026-01-20"
    assert "2026-01-17, 2026-01-24" in str(refused.value.allowed)
    assert f"the newest is {LAST.isoformat()}" in str(refused.value.allowed)


def test_a_table_without_snapshots_says_so() -> None:
    with pytest.raises(DataError, match="t has no snapshot"):
        resolve_date({}, None, "t")
