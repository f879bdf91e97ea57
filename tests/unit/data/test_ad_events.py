"""The days of ad events."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from raypipe.data import ad_events

NIGHT = datetime(2026, 2, 1, 3, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("timezone", "last"),
    [("UTC", date(2026, 1, 31)), ("America/New_York", date(2026, 1, 30)), ("Pacific/Auckland", date(2026, 1, 31))],
)
def test_the_last_day_is_the_one_that_is_over_in_its_time_zone(timezone: str, last: date) -> None:
    assert ad_events.last_day(NIGHT, timezone) == last


def test_a_day_is_over_at_its_midnight() -> None:
    midnight = datetime(2026, 1, 31, 23, tzinfo=UTC)
    assert ad_events.last_day(midnight, "Europe/Berlin") == date(2026, 1, 31)
    assert ad_events.last_day(midnight.replace(hour=22, minute=59), "Europe/Berlin") == date(2026, 1, 30)
