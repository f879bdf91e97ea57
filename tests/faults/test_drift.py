"""Test what nights show of their drift: slices, shifts, failed runs, and inputs that are refused."""

# The fixtures come from the tests of a night, which pytest finds by their names here.
# ruff: noqa: F401, F811
from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from raypipe.clickhouse.client import Client
from raypipe.errors import ConfigError, GateRefused
from raypipe.score import run, runs
from raypipe.score.score import ScoreResult
from tests.integration.conftest import registered_model
from tests.integration.score.test_drift import DAY, SCORE, Night, night, nights, reader, snapshot

AFTER = date(2026, 2, 1)


def test_the_series_of_slices_are_measured_and_no_number_is_missing_without_a_reason(
    nights: tuple[ScoreResult, ScoreResult], reader: Client
) -> None:
    sql = (
        "SELECT slice_column, uniqExact(slice_value), uniqExact(column) FROM raypipe_drift"
        " WHERE date = {day:Date} GROUP BY 1"
    )
    found = {name: (values, columns) for name, values, columns in reader.rows(sql, {"day": DAY})}
    columns = found[""][1]
    assert found == {"": (1, columns)} | {
        "brand_id": (1, columns),
        "current_subscription_tier": (3, columns),
        "primary_country_code": (3, columns),
    }
    silent_nulls = reader.value(
        "SELECT count() FROM raypipe_drift WHERE psi IS NULL AND (status != 'not_compared' OR reason = '')"
    )
    nan = "isNaN(ifNull(psi, 0) + ifNull(ks, 0) + ifNull(js, 0) + ifNull(wasserstein, 0) + ifNull(missing, 0))"
    assert silent_nulls == reader.value(f"SELECT countIf({nan}) FROM raypipe_drift") == 0
    # Nothing changed from one snapshot to the next.
    assert reader.value("SELECT max(psi) FROM raypipe_drift WHERE reference = 'night'") == 0


def test_a_run_that_fails_after_it_was_measured_leaves_the_rows_of_the_accepted_run(
    nights: tuple[ScoreResult, ScoreResult], night: Night, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = f"SELECT run_id FROM raypipe_drift WHERE {SCORE} AND reference = 'fit' ORDER BY date"
    monitored = "SELECT monitoring_id FROM ml_model_monitoring ORDER BY monitoring_id"
    before = reader.rows(shown), reader.rows(monitored)

    def fails(*_: Any) -> None:
        raise GateRefused("a failure between monitoring and commit")

    monkeypatch.setattr(run.publish, "verify", fails)
    with pytest.raises(GateRefused, match="between monitoring and commit"):
        night(DAY)
    assert (reader.rows(shown), reader.rows(monitored)) == before
    failed = runs.listed(reader, "churn", limit=1)[0]
    assert failed.status == runs.REFUSED
    written = "SELECT count() FROM raypipe_drift_rows WHERE run_id = {run:String}"
    assert reader.value(written, {"run": failed.run_id}) > 0


def test_a_shift_alerts_by_name_and_slice_and_by_its_score(
    nights: tuple[ScoreResult, ScoreResult], night: Night, reader: Client
) -> None:
    feature = "days_since_last_session"
    snapshot(reader, AFTER, f"if(current_subscription_tier != 'c', 28, {feature}) AS {feature}")
    found = night(AFTER)
    assert {"score", "days_since_last_session"} <= set(found.drift.alerts)
    assert "score [current_subscription_tier=a]" in found.drift.alerts
    assert "score [current_subscription_tier=c]" not in found.drift.alerts
    ((detected, alerts, types),) = reader.rows(
        "SELECT drift_detected, alerts_triggered, alert_types FROM ml_model_monitoring"
        " WHERE monitoring_date = {day:Date}",
        {"day": AFTER},
    )
    assert (detected, alerts) == (1, len(found.drift.alerts))
    assert "drift:score" in json.loads(types)
    ignored = night(AFTER, "monitor.features={days_since_last_session: {ignore: true}}")
    assert "days_since_last_session" not in ignored.drift.alerts


@pytest.mark.parametrize(
    ("expect", "reason"),
    [
        ("{volume: {least: 1.5, most: 3.0, nights: 1}}", "volume: 300 rows (allowed: 450 to 900"),
        ("{unique: [brand_id]}", "unique of brand_id: 299 repeated values (allowed: none)"),
        ("{columns: {total_sessions: {range: [5, 40]}}}", "range of total_sessions: 0.1067 outside of 5 to 40"),
        ("{columns: {current_subscription_tier: {allowed: [a, b]}}}", "0.3333 outside of a, b (100 of 300 rows)"),
        ("{columns: {avg_searches: {missing: 0.0, zeros: 0.0}}}", "zeros of avg_searches: 1 zeros (300 of 300"),
        ("{freshness: {column: last_seen, column_days: 7}}", "found: last_seen"),
    ],
)
def test_an_expectation_that_fails_is_named(
    nights: tuple[ScoreResult, ScoreResult], night: Night, expect: str, reason: str
) -> None:
    with pytest.raises((GateRefused, ConfigError)) as caught:
        night(DAY, f"expect={expect}")
    assert reason in str(caught.value)


def test_an_expectation_of_a_column_that_is_not_there_is_a_mistake_in_the_config(
    nights: tuple[ScoreResult, ScoreResult], night: Night
) -> None:
    for expect, found in (
        ("{columns: {sesions: {missing: 0.1}}}", "sesions"),
        ("{columns: {current_user_segment: {zeros: 0.1}}}", "current_user_segment"),
        ("{freshness: {column: total_sessions, column_days: 1}}", "total_sessions"),
    ):
        with pytest.raises(ConfigError) as caught:
            night(DAY, f"expect={expect}")
        assert caught.value.found == found
