"""Test the drift of nights: its references, slices, reruns, and inputs that are refused before anything is scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

import pytest

from raypipe.clickhouse.client import Client
from raypipe.config.load import load_pipeline
from raypipe.errors import GateRefused
from raypipe.progress import silent
from raypipe.score import runs
from raypipe.score.score import ScoreResult, score
from tests.integration.conftest import RegisteredModel

BEFORE, DAY = date(2026, 1, 30), date(2026, 1, 31)
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
    checks = (
        "SELECT check, status FROM raypipe_checks"
        " WHERE date = {day:Date} AND column = 'days_since_last_session' ORDER BY check"
    )
    assert reader.rows(checks, {"day": day}) == [("missing", "ok"), ("zeros", "refused")]
    warned = night(day, EXPECT % "warn")
    assert warned.outcome.run.status == runs.PUBLISHED
    assert "zeros of days_since_last_session" in caplog.text
