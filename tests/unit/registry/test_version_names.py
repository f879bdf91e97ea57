"""The names of versions."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from raypipe.fit import registration


def test_a_version_is_named_by_the_moment_of_its_fit_so_that_names_sort_by_time() -> None:
    recipe = SimpleNamespace(
        pipeline="churn",
        dates_of=lambda part: "",
        params={},
        rounds=1,
        balance="none",
        features_sql=SimpleNamespace(source="features.sql"),
        test_date=date(2025, 12, 1),
    )
    first = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
    names = [
        registration.begin(cast(Any, recipe), first + timedelta(seconds=seconds), "forest").version
        for seconds in range(3)
    ]
    assert names[0].startswith("20260131.235959.")
    assert names[1].startswith("20260201.000000.")
    assert names == sorted(names)
