"""A source without a date column is read as of today in the configured time zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from raypipe.config.load import Loaded, load_pipeline
from raypipe.fit.recipe import recipe_of
from raypipe.project import shipped
from raypipe.score import prepare

# 26 hours apart: at every moment at least one of the two has another date than UTC.
ZONES = ("Pacific/Kiritimati", "Etc/GMT+12")
NOWHERE = cast(Any, None)


def configured(zone: str) -> Loaded:
    overrides = ["source.date_column=null", "label.horizon_days=null", f"timezone={zone}"]
    return load_pipeline("churn", shipped() / "configs", overrides, environ={})


@pytest.mark.parametrize(
    "day_of",
    [
        lambda loaded: prepare.population(NOWHERE, loaded, None).date,
        lambda loaded: recipe_of(NOWHERE, loaded, None).test_date,
    ],
    ids=["score", "fit"],
)
def test_without_a_date_column_today_is_that_of_the_configured_zone(day_of: Callable[[Loaded], date]) -> None:
    for zone in ZONES:
        before = datetime.now(ZoneInfo(zone)).date()
        day = day_of(configured(zone))
        assert before <= day <= datetime.now(ZoneInfo(zone)).date()


def test_a_date_that_was_asked_for_counts_in_every_zone() -> None:
    for zone in ZONES:
        assert prepare.population(NOWHERE, configured(zone), date(2026, 1, 31)).date == date(2026, 1, 31)
