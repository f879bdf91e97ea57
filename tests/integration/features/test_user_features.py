"""Test a day of customer_user_features against the same day computed from the sessions in plain Python."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from math import sqrt
from statistics import fmean
from typing import Any

import pytest

from raypipe.artifact.contract import describe_query
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import load
from raypipe.demo import build
from raypipe.features.reading import NEVER, raw
from raypipe.project import shipped

LAST = date(2026, 1, 31)
DAY = date(2026, 1, 5)
Row = Mapping[str, Any]
Key = tuple[str, str, str]


@pytest.fixture
def demo(client: Client) -> Client:
    migrate(client)
    build(client, users=300, days=60, last_date=LAST, snapshot_every=1000)
    return client


def compute(client: Client, day: date) -> None:
    statement = load(shipped() / "sql" / "features" / "user_features.sql")
    text = statement.render(totals=raw("session_totals"), words=raw("session_words"))
    client.run("TRUNCATE TABLE customer_user_features")
    values = {"date": day, "timezone": "UTC", "run_at": datetime(2026, 2, 1), "first_session": NEVER}
    columns = ", ".join(describe_query(client, text, values))
    client.run(f"INSERT INTO customer_user_features ({columns}) {text}", values)


def rows_of(client: Client, table: str) -> list[Row]:
    rows: list[Row] = client.table(f"SELECT * FROM {table}").to_pylist()
    return rows


def key_of(row: Row) -> Key:
    return row["company_id"], row["brand_id"], row["user_id"]


def start_of(session: Row) -> datetime:
    start = session["session_start"]
    return datetime.fromtimestamp(start, UTC) if isinstance(start, int) else start.replace(tzinfo=UTC)


def sessions_by_user(client: Client, day: date) -> dict[Key, list[Row]]:
    grouped: dict[Key, list[Row]] = defaultdict(list)
    for session in rows_of(client, "customer_sessions"):
        if start_of(session).date() <= day:
            grouped[key_of(session)].append(session)
    return grouped


def most_frequent(values: Sequence[str]) -> str:
    counts = Counter(values)
    return min((value for value in counts if counts[value] == max(counts.values())), default="")


def expected(sessions: Sequence[Row], day: date) -> dict[str, Any]:
    def column(name: str) -> list[Any]:
        return [session[name] for session in sessions]

    durations = column("session_duration_sec")
    days = {start_of(session).date() for session in sessions}
    idle = (day - max(days)).days
    mean = fmean(durations)
    return {
        "total_sessions": len(sessions),
        "avg_session_duration_sec": mean,
        "min_session_duration_sec": min(durations),
        "max_session_duration_sec": max(durations),
        "std_session_duration_sec": sqrt(fmean((value - mean) ** 2 for value in durations)),
        "avg_events_per_session": fmean(column("total_events")),
        "avg_pages_per_session": fmean(column("pages_visited_count")),
        "avg_categories_diversity": fmean(column("unique_categories_count")),
        "avg_article_views": fmean(column("article_views")),
        "avg_article_clicks": fmean(column("article_clicks")),
        "avg_video_plays": fmean(column("video_plays")),
        "avg_searches": fmean(column("searches")),
        "total_newsletter_signups": sum(column("newsletter_signups")),
        "total_ad_clicks": sum(column("ad_clicks")),
        "avg_engagement_score": fmean(column("engagement_score")),
        "max_engagement_score": max(column("engagement_score")),
        "min_engagement_score": min(column("engagement_score")),
        "has_newsletter": int(sum(column("newsletter_signups")) > 0),
        "newsletter_signup_rate": fmean(column("newsletter_signups")),
        "preferred_brand_id": sessions[0]["brand_id"],
        "preferred_category_id": most_frequent([c for text in column("categories_visited") for c in json.loads(text)]),
        "preferred_device_type_id": most_frequent(column("device_type_id")),
        "preferred_os_id": most_frequent(column("os_id")),
        "preferred_browser_id": most_frequent(column("browser_id")),
        "primary_country_code": most_frequent(column("country_code")),
        "primary_city_id": most_frequent(column("city_id")),
        "current_subscription_tier": max(sessions, key=start_of)["subscription_tier"],
        "current_user_segment": max(sessions, key=start_of)["user_segment"],
        "days_active": len(days),
        "days_since_last_session": idle,
        "active_today": int(idle == 0),
        "active_last_7_days": int(idle < 7),
        "active_last_30_days": int(idle < 30),
        "churn_risk_score": 0,
        "churn_probability": 0,
    }


def test_a_day_equals_the_same_day_computed_in_python(demo: Client) -> None:
    compute(demo, DAY)
    grouped = sessions_by_user(demo, DAY)
    features = {key_of(row): row for row in rows_of(demo, "customer_user_features")}
    assert features.keys() == grouped.keys()
    for key, sessions in grouped.items():
        wanted = expected(sessions, DAY)
        for name, value in wanted.items():
            close = value if isinstance(value, str) else pytest.approx(value, rel=1e-5, abs=1e-4)
            assert features[key][name] == close, (key, name)


def test_first_and_last_session_dates_are_days_in_utc(demo: Client) -> None:
    compute(demo, DAY)
    grouped = sessions_by_user(demo, DAY)
    found = {
        (company, brand, user): (first, last)
        for company, brand, user, first, last in demo.rows(
            "SELECT company_id, brand_id, user_id, first_session_date, last_session_date FROM customer_user_features"
        )
    }
    assert found == {
        key: (min(start_of(s).date() for s in sessions), max(start_of(s).date() for s in sessions))
        for key, sessions in grouped.items()
    }


def test_there_is_one_row_a_user_and_one_id_a_row(demo: Client) -> None:
    compute(demo, DAY)
    (row,) = demo.rows(
        "SELECT count(), uniqExact(company_id, brand_id, user_id), uniqExact(user_feature_id), uniqExact(feature_date)"
        " FROM customer_user_features"
    )
    assert row[0] == row[1] == row[2]
    assert row[3] == 1


@pytest.mark.parametrize(("second", "counts"), [(-1, True), (0, False), (86_400, False)])
def test_only_a_session_before_the_end_of_the_day_counts(demo: Client, second: int, counts: bool) -> None:
    compute(demo, DAY)
    before = demo.rows("SELECT sum(cityHash64(*)), sum(total_sessions) FROM customer_user_features")
    demo.run(
        "INSERT INTO customer_sessions SELECT * REPLACE('late' AS session_id,"
        " toDateTime({next:Date}, 'UTC') + {second:Int32} AS session_start) FROM customer_sessions"
        " WHERE session_start < toDateTime({next:Date}, 'UTC') ORDER BY session_id LIMIT 1",
        {"next": DAY + timedelta(days=1), "second": second},
    )
    compute(demo, DAY)
    after = demo.rows("SELECT sum(cityHash64(*)), sum(total_sessions) FROM customer_user_features")
    assert (after != before) == counts


def test_a_day_before_all_sessions_has_no_rows(demo: Client) -> None:
    compute(demo, date(2025, 1, 1))
    assert demo.value("SELECT count() FROM customer_user_features") == 0
