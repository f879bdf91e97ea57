"""Test days in a zone: when a day is complete, and that no pipeline's SQL cuts days otherwise."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import pytest

from raypipe.data.days import end_of_day, last_ended_day
from raypipe.project import shipped

DAY = date(2026, 1, 31)
# Shown or compared as a moment, not as a day.
MOMENT = re.compile(
    r"DateTime64\(6, 'UTC'\)|"
    r"toDateTime64\((?:[^()]|\([^()]*\))*, 0, 'UTC'\)|toDateTime\((?:started_at|max\(modification_time\)), 'UTC'\)"
)
# The demo has days of its own, and the tables' partitions are no days of readers.
OTHERS = ("demo", "schema")


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_a_day_is_over_from_its_last_midnight_on(zone: str) -> None:
    end = end_of_day(DAY, zone).astimezone(UTC)
    assert last_ended_day(end, zone) == DAY
    assert last_ended_day(end - timedelta(seconds=1), zone) == DAY - timedelta(days=1)


def test_of_one_moment_the_last_ended_day_depends_on_the_zone() -> None:
    at = datetime(2026, 1, 31, 11, tzinfo=UTC)
    assert [last_ended_day(at, zone).day for zone in ("Pacific/Auckland", "UTC")] == [31, 30]


def test_no_query_of_a_pipeline_cuts_days_in_a_zone_of_its_own() -> None:
    paths = [path for path in (shipped() / "sql").rglob("*.sql") if path.parent.name not in OTHERS]
    assert len(paths) > 50
    fixed = {str(path) for path in paths if "'UTC'" in MOMENT.sub("", path.read_text())}
    assert fixed == set()
