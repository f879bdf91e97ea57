from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from raypipe.demo.plan import EVENT_READERS, DemoPlan
from raypipe.errors import UsageError

PLAN = DemoPlan(
    users=1_000,
    days=120,
    seed=1,
    last_date=date(2026, 1, 31),
    drift_on=None,
    snapshot_every=15,
    written_at=datetime(2026, 2, 1),
)


def test_the_days_end_with_the_last_date() -> None:
    assert (PLAN.last_date - PLAN.first_date).days + 1 == 120


def test_the_newest_snapshot_is_the_last_date() -> None:
    assert PLAN.snapshots[-1] == PLAN.last_date


def test_a_snapshot_has_labels_thirty_days_later_within_the_demo() -> None:
    assert PLAN.last_date - timedelta(days=30) in PLAN.snapshots


def test_three_snapshots_are_old_enough_to_train_for_the_newest_labelled_one() -> None:
    labelled = PLAN.last_date - timedelta(days=30)
    assert len([day for day in PLAN.snapshots if day <= labelled - timedelta(days=30)]) == 3


def test_every_snapshot_has_thirty_days_before_it() -> None:
    assert min(PLAN.snapshots) - timedelta(days=29) >= PLAN.first_date


def test_the_snapshots_of_a_long_demo_have_the_longest_window_before_them() -> None:
    long = replace(PLAN, days=210)
    assert min(long.snapshots) - timedelta(days=83) >= long.first_date
    assert len(long.snapshots) == 9


def test_months_cover_every_day_once() -> None:
    days = [first + timedelta(days=n) for first, until in PLAN.months for n in range((until - first).days + 1)]
    assert days == [PLAN.first_date + timedelta(days=n) for n in range(120)]


def test_no_piece_crosses_a_month() -> None:
    assert all((first.year, first.month) == (until.year, until.month) for first, until in PLAN.months)


def test_all_readers_of_a_small_demo_have_events() -> None:
    assert PLAN.parameters["share_ppm"] == 1_000_000


def test_the_readers_with_events_of_a_large_demo_are_bounded() -> None:
    large = replace(PLAN, users=4_000_000)
    assert large.users * large.parameters["share_ppm"] / 1_000_000 == EVENT_READERS


@pytest.mark.parametrize("change", [{"users": 0}, {"days": 29}, {"seed": -1}, {"snapshot_every": 0}])
def test_numbers_that_cannot_be_built_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        replace(PLAN, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("drift_on", [date(2025, 1, 1), date(2026, 2, 1)])
def test_a_drift_outside_the_days_is_refused(drift_on: date) -> None:
    with pytest.raises(UsageError, match="drift"):
        replace(PLAN, drift_on=drift_on)
