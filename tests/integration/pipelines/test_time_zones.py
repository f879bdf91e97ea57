"""Test that the config's zone cuts days: events after midnight belong to the label, not to the features."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from raypipe.cli import app
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import load
from raypipe.config.load import load_pipeline
from raypipe.data import split
from raypipe.data.days import end_of_day
from raypipe.data.slices import unsliced
from raypipe.errors import UsageError
from raypipe.features import snapshots
from raypipe.project import shipped

DAY = date(2026, 1, 31)
KEY = ("c", "b", "u")
EAST = ("Asia/Tokyo", "Pacific/Auckland")
WEST = "America/Los_Angeles"


def midnight(zone: str) -> datetime:
    return end_of_day(DAY, zone).astimezone(UTC)


def read_twice(client: Client, zone: str) -> Client:
    """Add a reader who sees and clicks an article one second before the zone's midnight, and again at midnight."""
    migrate(client)
    client.run(
        "INSERT INTO editorial_articles (article_id, brand_id, status, primary_category_id, publish_time, publish_date)"
        " VALUES ('a', 'b', 'published', 'k', toDateTime('2026-01-28 00:00:00', 'UTC'), '2026-01-28')"
    )
    client.run(
        "INSERT INTO editorial_article_performance (performance_date, article_id, brand_id, total_views)"
        " VALUES ('2026-01-30', 'a', 'b', 10)"
    )
    client.run("INSERT INTO categories (category_id, category_name) VALUES ('k', 'Sports')")
    end = midnight(zone)
    for number, (at, engagement) in enumerate(((end - timedelta(seconds=1), 80), (end, 20))):
        values = {"at": at.strftime("%Y-%m-%d %H:%M:%S"), "id": str(number), "engagement": engagement}
        moment = "toDateTime({at:String}, 'UTC')"
        client.run(
            "INSERT INTO customer_sessions (session_id, company_id, brand_id, user_id, session_start, engagement_score)"
            f" VALUES ({{id:String}}, 'c', 'b', 'u', {moment}, {{engagement:Float32}})",
            values,
        )
        # The click of the second visit is a type of which nothing is known on the day.
        for kind in ("article_view", "article_click")[: 1 + number]:
            client.run(
                "INSERT INTO customer_events (event_id, company_id, brand_id, user_id, article_id, event_type,"
                f" event_timestamp) VALUES ({{id:String}}, 'c', 'b', 'u', 'a', {{kind:String}}, {moment})",
                {**values, "kind": kind},
            )
        client.run(
            "INSERT INTO editorial_content_events (event_id, brand_id, user_id, article_id, category_id, event_type,"
            f" event_timestamp) VALUES ({{id:String}}, 'b', 'u', 'a', 'k', {{kind:String}}, {moment})",
            {**values, "kind": ("view", "share")[number]},
        )
    return client


def compute(client: Client, zone: str, day: date | None = None, at: datetime | None = None) -> date:
    """Makes the snapshot of a day, the newest unless one is named, at the zone's midnight."""
    outcome = snapshots.compute(
        client, day, run_at=at or midnight(zone), timezone=zone, progress=lambda stage, done, total: None
    )
    return outcome.days[-1].date


def rows_of(client: Client, zone: str, pipeline: str, file: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows of a pipeline's query by entity, with the values that a fit binds."""
    config = load_pipeline(pipeline, shipped() / "configs", [f"timezone={zone}"], {}).config
    assert config.label is not None
    assert config.label.horizon_days is not None
    values = split.parameters(DAY, DAY + timedelta(days=config.label.horizon_days), config)
    text = unsliced(load(shipped() / "sql" / pipeline / f"{file}.sql").text)
    rows: list[dict[str, Any]] = client.table(text, values).to_pylist()
    return {tuple(row[key] for key in config.entity.keys): row for row in rows}


@pytest.mark.parametrize("zone", [*EAST, WEST])
def test_what_happens_after_midnight_is_the_label_s_and_no_feature_knows_of_it(client: Client, zone: str) -> None:
    read_twice(client, zone)
    # A second earlier the day is not over.
    with pytest.raises(UsageError, match="has not ended"):
        compute(client, zone, DAY, midnight(zone) - timedelta(seconds=1))
    assert compute(client, zone) == DAY
    ((sessions, first, last, idle, active, engagement, text),) = client.rows(
        "SELECT total_sessions, first_session_date, last_session_date, days_since_last_session, days_active,"
        " avg_engagement_score, ml_features FROM customer_user_features WHERE feature_date = {day:Date}",
        {"day": DAY},
    )
    assert (sessions, first, last, idle, active, engagement) == (1, DAY, DAY, 0, 1, 80)
    known = json.loads(text)
    assert [known[f"{what}_7d"] for what in ("sessions", "events", "content_events")] == [1, 1, 1]
    assert [known[f"{what}_weighted"] for what in ("sessions", "events", "content_events")] == [1, 1, 1]
    assert (known["events_by_type"], known["content_by_type"]) == ({"article_view": 1}, {"view": 1})

    assert rows_of(client, zone, "churn", "features")[KEY]["total_sessions"] == 1
    assert rows_of(client, zone, "churn", "labels")[KEY]["label"] == 0
    engaged = rows_of(client, zone, "engagement", "features")[KEY]
    assert (engaged["last_engagement"], engaged["engagement_7"], engaged["sessions_7"]) == (80, 80, 1)
    assert (engaged["events_weighted"], engaged["events_trend"]) == (1, 3)
    assert rows_of(client, zone, "engagement", "labels")[KEY]["label"] == 20
    assert rows_of(client, zone, "clicks", "features")[*KEY, "a"]["category_views"] == 1
    assert rows_of(client, zone, "clicks", "labels")[*KEY, "a"]["label"] == 1


@pytest.mark.parametrize("command", [["features"], ["nightly", "--only", "churn"]], ids=["features", "nightly"])
def test_a_command_cuts_days_in_the_zone_of_the_base_config(client: Client, tmp_path: Path, command: list[str]) -> None:
    read_twice(client, "Asia/Tokyo")
    shutil.copytree(shipped() / "configs", tmp_path / "configs")
    shutil.copytree(shipped() / "sql" / "churn", tmp_path / "sql" / "churn")
    (tmp_path / "configs" / "base.yaml").write_text("timezone: Asia/Tokyo\n")
    result = CliRunner().invoke(
        app,
        [*command, "--date", str(DAY), "--config", str(tmp_path / "configs"), "--json"],
        env={"RAYPIPE_URL": str(client.endpoint), "RAYPIPE_PASSWORD_FILE": client.endpoint.password_file or ""},
    )
    # Two readers are too few for churn, but its night builds the features first.
    assert result.exit_code == (0 if command == ["features"] else 1), result.stderr
    assert client.rows("SELECT feature_date, total_sessions FROM customer_user_features") == [(DAY, 1)]
