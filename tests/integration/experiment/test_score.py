"""A published score is a covariate if the ledger proves it older than the exposure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from math import sqrt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.errors import ConfigError, DataError

DAY = date(2026, 1, 1)
RUN = "churn_20260101_00000001"
EXPOSURE = {"time": "at", "since": "2026-01-11", "until": "2026-01-30"}
UNITS = 2000


@pytest.fixture
def scored(client: Client) -> Client:
    """Create visits that follow a score, and the score's published run; every tenth reader has no score."""
    migrate(client)
    draw = np.random.default_rng(1)
    score = draw.uniform(size=UNITS)
    readers = [f"u{number}" for number in range(UNITS)]
    visits = pa.table(
        {
            "user_id": readers,
            "arm": ["control" if number % 2 else "treatment" for number in range(UNITS)],
            "orders": 10 * score + draw.normal(size=UNITS),
            "at": pa.array([date(2026, 1, 11 + number % 20) for number in range(UNITS)], pa.date32()),
        }
    )
    client.run(
        "CREATE TABLE visits (user_id String, arm String, orders Float64, at Date) ENGINE = MergeTree ORDER BY at"
    )
    client.insert("visits", visits)
    published(client, datetime(2026, 1, 10, 23, 59, tzinfo=UTC))
    run_at = datetime(2026, 1, 10, tzinfo=UTC)
    shared = {
        "model_id": "m",
        "prediction_type": "churn",
        "entity_type": "user",
        "prediction_date": DAY,
        "batch_id": RUN,
    }
    rows = [
        {**shared, "prediction_id": reader, "entity_id": reader, "prediction_value": float(value)}
        | {"predicted_at": run_at, "created_at": run_at}
        for reader, value in list(zip(readers, score, strict=True))[UNITS // 10 :]
    ]
    client.insert_rows("ml_model_predictions", rows)
    return client


def published(client: Client, at: datetime) -> None:
    client.run("TRUNCATE TABLE raypipe_runs")
    row = {"run_id": RUN, "pipeline": "churn", "date": DAY, "status": "PUBLISHED", "sequence": 1, "version": 1}
    client.insert_rows("raypipe_runs", [{**row, "started_at": datetime(2026, 1, 10, tzinfo=UTC), "published_at": at}])


def test_an_older_score_makes_the_intervals_narrower(scored: Client, analysed: Callable[..., Any]) -> None:
    plain, adjusted = analysed(exposure=EXPOSURE), analysed(exposure=EXPOSURE, score="churn")
    (metric,) = adjusted.metrics
    assert metric.covariate == "score of churn"
    # The score explains 100 / 12 of 100 / 12 + 1, for nine units in ten.
    assert metric.variance_cut == pytest.approx(0.9 * 8.33 / 9.33, abs=0.03)
    widths = [
        (item.high or 0) - (item.low or 0)
        for item in (plain.metrics[0].comparisons[0].difference, metric.comparisons[0].difference)
    ]
    assert widths[1] / widths[0] == pytest.approx(sqrt(1 - metric.variance_cut), rel=0.01)
    assert adjusted.warnings == ("orders: 200 units have no covariate and get its mean",)
    assert adjusted.score == {
        "pipeline": "churn",
        "run_id": RUN,
        "date": "2026-01-01",
        "published_at": "2026-01-10T23:59:00+00:00",
    }


@pytest.mark.parametrize("at", [datetime(2026, 1, 11, tzinfo=UTC), datetime(2026, 1, 15, tzinfo=UTC)])
def test_a_score_that_was_published_later_is_refused_however_early_its_date(
    scored: Client, analysed: Callable[..., Any], at: datetime
) -> None:
    published(scored, at)
    with pytest.raises(DataError, match="No published score of churn is older than the exposure") as refusal:
        analysed(exposure=EXPOSURE, score="churn")
    assert refusal.value.found == f"the earliest was published at {at:%Y-%m-%d %H:%M} UTC"


def test_a_pipeline_without_a_published_run_is_refused(scored: Client, analysed: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match="No published score of engagement"):
        analysed(exposure=EXPOSURE, score="engagement")


def test_a_unit_that_no_score_has_is_refused(scored: Client, analysed: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="cannot be found among published scores"):
        analysed(exposure=EXPOSURE, score="churn", unit=["user_id", "arm"])
