"""Test the drift of nights: its references, slices, reruns, and inputs that are refused before anything is scored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from raypipe.clickhouse.client import Client
from raypipe.config.load import load_pipeline
from raypipe.errors import ConfigError, GateRefused
from raypipe.progress import silent
from raypipe.score import run, runs
from raypipe.score.score import ScoreResult, score
from tests.integration.conftest import RegisteredModel

BEFORE, DAY, AFTER = date(2026, 1, 30), date(2026, 1, 31), date(2026, 2, 1)
SLICES = "monitor.slices=[brand_id, current_subscription_tier, primary_country_code]"
SCORE = "column = 'score' AND slice_column = ''"
Night = Callable[..., ScoreResult]


@pytest.fixture(scope="module")
def night(registered_model: RegisteredModel) -> Night:
    """Score a day in this process, without Ray."""

    def scored(day: date, *overrides: str) -> ScoreResult:
        given = [f"artifacts={registered_model.artifacts}", "score.explain.rows=0", SLICES, *overrides]
        loaded = load_pipeline("churn", registered_model.project / "configs", given, environ={})
        return score(registered_model.endpoint, loaded, day, "champion", silent)

    return scored


@pytest.fixture(scope="module")
def nights(night: Night) -> tuple[ScoreResult, ScoreResult]:
    """The nights of the two snapshots."""
    return night(BEFORE), night(DAY)


@pytest.fixture
def reader(registered_model: RegisteredModel) -> Iterator[Client]:
    with Client(registered_model.endpoint) as client:
        yield client


def snapshot(client: Client, day: date, changed: str) -> None:
    """Copy the newest snapshot to a day, with changed columns."""
    client.run(f"ALTER TABLE customer_user_features DELETE WHERE feature_date = '{day}' SETTINGS mutations_sync = 1")
    client.run(
        f"INSERT INTO customer_user_features SELECT * REPLACE (toDate('{day}') AS feature_date, {changed})"
        f" FROM (SELECT * FROM customer_user_features WHERE feature_date = '{DAY}')"
    )


def test_each_row_says_which_reference_it_is_compared_with(
    nights: tuple[ScoreResult, ScoreResult], reader: Client
) -> None:
    sql = f"SELECT date, reference, reference_date, reference_run_id, status, reason FROM raypipe_drift WHERE {SCORE}"
    found = {(day, kind): rest for day, kind, *rest in reader.rows(sql)}
    first, second = (item.manifest.run_id for item in nights)
    none = [None, "", "not_compared"]
    assert found[BEFORE, "night"] == [*none, "no reference yet: there is no earlier accepted night"]
    assert found[DAY, "night"] == [BEFORE, first, "ok", ""]
    assert found[DAY, "weekday"] == [*none, "no reference yet: there is no accepted night of 2026-01-24"]
    assert found[DAY, "fit"][1:3] == ["", "ok"]
    assert nights[0].drift.worst is None
    assert nights[1].drift.reference == "night of 2026-01-30"
    assert second != first


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


def test_a_rerun_of_a_date_replaces_its_rows_in_every_chart(
    nights: tuple[ScoreResult, ScoreResult], night: Night, reader: Client
) -> None:
    counts = "SELECT count(), uniqExact(run_id), any(run_id) FROM raypipe_drift WHERE date = {day:Date}"
    ((rows, _, _),) = reader.rows(counts, {"day": DAY})
    again = night(DAY)
    assert reader.rows(counts, {"day": DAY}) == [(rows, 1, again.manifest.run_id)]
    monitored = (
        "SELECT JSONExtractString(metadata, 'run_id') FROM ml_model_monitoring WHERE monitoring_date = {day:Date}"
    )
    assert reader.rows(monitored, {"day": DAY}) == [(again.manifest.run_id,)]


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


EXPECT = "expect={columns: {days_since_last_session: {zeros: 0.5, missing: 0.1, fail: %s}}}"


def test_a_column_that_turns_to_zero_is_refused_before_anything_is_scored(
    nights: tuple[ScoreResult, ScoreResult], night: Night, reader: Client, caplog: pytest.LogCaptureFixture
) -> None:
    day = date(2026, 2, 2)
    snapshot(reader, day, "0 AS days_since_last_session")
    assert night(DAY, EXPECT % "refuse").outcome.run.status == runs.PUBLISHED
    before = len(runs.listed(reader, limit=1000))
    with pytest.raises(GateRefused, match="not as expected") as caught:
        night(day, EXPECT % "refuse")
    assert caught.value.exit_code == 3
    assert caught.value.found == "zeros of days_since_last_session: 1 zeros (300 of 300 rows) (allowed: at most 0.5)"
    assert len(runs.listed(reader, limit=1000)) == before
    checks = "SELECT check, status FROM raypipe_checks WHERE date = {day:Date} ORDER BY check"
    assert reader.rows(checks, {"day": day}) == [("missing", "ok"), ("zeros", "refused")]
    warned = night(day, EXPECT % "warn")
    assert warned.outcome.run.status == runs.PUBLISHED
    assert "zeros of days_since_last_session" in caplog.text


@pytest.mark.parametrize(
    ("expect", "reason"),
    [
        ("{volume: {least: 1.5, most: 3.0, nights: 1}}", "volume: 300 rows (allowed: 450 to 900"),
        ("{unique: [brand_id]}", "unique of brand_id: 299 repeated values (allowed: none)"),
        ("{columns: {total_sessions: {range: [5, 40]}}}", "range of total_sessions: 0.1067 outside of 5 to 40"),
        ("{columns: {current_subscription_tier: {allowed: [a, b]}}}", "0.3333 outside of a, b (100 of 300 rows)"),
        ("{columns: {avg_searches: {missing: 0.0, zeros: 0.0}}}", "zeros of avg_searches: 1 zeros (300 of 300"),
        ("{freshness: {column: last_seen, column_days: 7}}", "newest 2025-10-01 (allowed: 2026-01-24 or"),
    ],
)
def test_an_expectation_that_fails_is_named(
    nights: tuple[ScoreResult, ScoreResult], night: Night, expect: str, reason: str
) -> None:
    with pytest.raises((GateRefused, ConfigError)) as caught:
        night(DAY, f"expect={expect}")
    assert reason in str(caught.value)


def test_an_expectation_of_a_column_that_is_not_there_is_a_mistake_in_the_config(
    nights: tuple[ScoreResult, ScoreResult], night: Night, tmp_path: Path
) -> None:
    for expect, found in (
        ("{columns: {sesions: {missing: 0.1}}}", "sesions"),
        ("{columns: {current_user_segment: {zeros: 0.1}}}", "current_user_segment"),
        ("{freshness: {column: total_sessions, column_days: 1}}", "total_sessions"),
    ):
        with pytest.raises(ConfigError) as caught:
            night(DAY, f"expect={expect}")
        assert caught.value.found == found
