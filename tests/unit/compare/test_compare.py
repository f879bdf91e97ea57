"""Test which days a comparison reads."""

from __future__ import annotations

from datetime import date

import pytest

from raypipe.compare.compare import _last_day
from raypipe.registry.training_runs import CompletedRun

ITS_FIT = CompletedRun(
    "churn_fit_1", {}, ("f.sql @ 2025-11-02", "f.sql @ 2025-11-02", "f.sql @ 2026-01-01"), (60, 15, 25), {}, 12.0
)


@pytest.mark.parametrize(
    ("wanted", "last"),
    [
        (None, date(2026, 1, 31)),
        (date(2026, 3, 1), date(2026, 1, 31)),
        (date(2026, 1, 30), date(2026, 1, 30)),
    ],
)
def test_the_champions_own_snapshots_are_taken_unless_they_end_too_late(wanted: date | None, last: date) -> None:
    assert _last_day(ITS_FIT, 30, wanted) == last


def test_without_a_champion_the_day_is_the_one_asked_for() -> None:
    assert _last_day(None, 30, date(2026, 1, 5)) == date(2026, 1, 5)
    assert _last_day(None, 30, None) is None


def test_a_table_without_snapshots_has_no_horizon() -> None:
    assert _last_day(ITS_FIT, None, None) == date(2026, 1, 1)
