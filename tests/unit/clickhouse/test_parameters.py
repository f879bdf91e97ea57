"""Test how query parameters are bound."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from raypipe.clickhouse.parameters import bound


def test_values_are_bound_only_where_a_typed_placeholder_asks() -> None:
    given = {"date": "2026-01-31"}
    assert bound("SELECT {date:Date}", given) == given
    assert bound("SELECT 1 % 2", given) == {}
    assert bound("SELECT {slice}", given) == {}
    assert bound("SELECT {date : Date}", given) == given
    assert bound("SELECT {date:Date}", None) == {}


@pytest.mark.parametrize(
    ("kind", "sent"),
    [("DateTime", "1762061400"), ("DateTime64(6)", "1762061400.250000"), ("Nullable(DateTime)", "1762061400")],
)
def test_an_instant_is_bound_as_seconds_that_no_time_zone_shifts(kind: str, sent: str) -> None:
    at = datetime(2025, 11, 2, 1, 30, 0, 250_000, tzinfo=ZoneInfo("America/New_York"))
    assert bound(f"SELECT {{at:{kind}}}", {"at": at}) == {"at": sent}
    naive = at.replace(tzinfo=None)
    assert bound(f"SELECT {{at:{kind}}}", {"at": naive}) == {"at": naive}
