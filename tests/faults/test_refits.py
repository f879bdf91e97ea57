"""Test the refits of weeks of nights, on drift that the nights themselves measure."""

from __future__ import annotations

from pathlib import Path

from raypipe.clickhouse.endpoint import Endpoint
from tests.visits import trigger, visits_at


def test_drift_on_three_dates_in_a_row_causes_one_refit(endpoint: Endpoint, tmp_path: Path) -> None:
    on_drift = "model.refit=on_drift"
    with visits_at(endpoint, tmp_path) as visits:
        assert [trigger(visits.night(week, on_drift)) for week in range(5)] == ["first", None, None, None, None]
        result = visits.night(5, on_drift)
        assert result.refit is not None
        reason = "on_drift: drift on each of the last 3 published dates (2026-01-17 to 2026-01-31): "
        assert result.refit.cause.reason.startswith(reason)
        assert "signal" in result.refit.cause.reason.removeprefix(reason).split(", ")
        assert trigger(visits.night(5, on_drift)) is None
