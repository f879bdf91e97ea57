"""Test the synthetic publisher: the same rows for the same seed, consistent with its latent truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.demo import Summary, build
from raypipe.demo.publisher import FILLED_TABLES, TRUTH_TABLES
from raypipe.errors import DataError
from tests.conftest import _fresh_database

LAST = date(2026, 1, 31)
SMALL: Mapping[str, Any] = {"users": 300, "days": 60, "last_date": LAST, "written_at": datetime(2026, 2, 1)}


@pytest.fixture
def empty(client: Client) -> Client:
    return _migrated(client)


def _migrated(client: Client) -> Client:
    migrate(client)
    for table in FILLED_TABLES:
        # Whether a replaced row is merged away is a matter of time; here every row counts.
        client.run(f"SYSTEM STOP MERGES {table}")
    return client


@dataclass(frozen=True)
class Built:
    """A filled database that no test writes to, and the summary of `build`."""

    client: Client
    summary: Summary


@pytest.fixture(scope="module")
def built(endpoint: Endpoint) -> Iterator[Built]:
    with _fresh_database(endpoint) as fresh, Client(fresh) as client:
        yield Built(client, build(_migrated(client), **SMALL))


def checksums(client: Client) -> dict[str, tuple[int, int]]:
    found = {}
    for table in (*FILLED_TABLES, *TRUTH_TABLES):
        (row,) = client.rows(f"SELECT count(), sum(cityHash64(*)) FROM {table}")
        found[table] = (int(row[0]), int(row[1]))
    return found


def count(client: Client, condition: str) -> int:
    return int(client.value(f"SELECT count() FROM {condition}"))


def test_the_same_seed_gives_the_same_rows_whatever_the_threads(empty: Client) -> None:
    build(empty, seed=5, **SMALL)
    first = checksums(empty)
    with Client(empty.endpoint, {"max_threads": 1, "max_block_size": 1000}) as single:
        build(single, seed=5, replace=True, **SMALL)
    assert checksums(empty) == first


@pytest.mark.versions
def test_every_table_is_filled(built: Built) -> None:
    assert [table for table, (rows, _) in checksums(built.client).items() if rows == 0] == []


def test_another_seed_gives_other_people_and_sessions(empty: Client) -> None:
    build(empty, seed=5, **SMALL)
    before = {str(user) for (user,) in empty.rows("SELECT user_id FROM users")}
    build(empty, seed=6, replace=True, **SMALL)
    after = {str(user) for (user,) in empty.rows("SELECT user_id FROM users")}
    assert not before & after


def test_the_summary_counts_what_the_tables_hold(built: Built) -> None:
    summary = built.summary
    held = Summary(
        users=count(built.client, "users"),
        sessions=count(built.client, "customer_sessions"),
        events=count(built.client, "customer_events"),
        first_date=built.client.value("SELECT min(day) FROM demo_days"),
        last_date=built.client.value("SELECT max(day) FROM demo_days"),
        seconds=summary.seconds,
    )
    assert summary == held


def test_a_database_with_rows_is_refused(built: Built) -> None:
    with pytest.raises(DataError, match="not empty") as refused:
        build(built.client, **SMALL)
    assert "--replace" in str(refused.value)


def test_a_database_that_is_no_demo_is_never_emptied(empty: Client) -> None:
    empty.run("INSERT INTO companies (company_id) VALUES ('theirs')")
    with pytest.raises(DataError, match="not empty"):
        build(empty, replace=True, **SMALL)
    assert count(empty, "companies WHERE company_id = 'theirs'") == 1


def test_missing_tables_are_named(client: Client) -> None:
    with pytest.raises(DataError, match="lacks tables") as refused:
        build(client, **SMALL)
    assert "raypipe demo" in str(refused.value)


def test_sessions_stay_within_their_days(built: Built) -> None:
    summary = built.summary
    (row,) = built.client.rows(
        "SELECT min(toDate(session_start, 'UTC')), max(toDate(session_end, 'UTC')),"
        " countIf(toDate(session_start, 'UTC') != toDate(session_end, 'UTC')) FROM customer_sessions"
    )
    assert row == (summary.first_date, LAST, 0)


def test_events_are_those_that_their_sessions_count(built: Built) -> None:
    differing = built.client.value(
        """
        SELECT count() FROM
        (SELECT session_id, total_events, article_views, article_clicks, ad_clicks FROM customer_sessions) AS session
        FULL OUTER JOIN
        (SELECT session_id, count() AS events, countIf(event_type = 'article_view') AS views,
            countIf(event_type = 'article_click') AS clicks, countIf(event_type = 'ad_click') AS ads
         FROM customer_events GROUP BY session_id) AS event
        ON session.session_id = event.session_id
        WHERE session.session_id = '' OR event.session_id = ''
            OR (total_events, article_views, article_clicks, ad_clicks) != (events, views, clicks, ads)
        """
    )
    assert differing == 0


def test_every_article_that_is_read_was_published_by_then(built: Built) -> None:
    unknown = (
        "customer_events AS e LEFT ANTI JOIN editorial_articles AS a ON a.article_id = e.article_id"
        " AND a.publish_date <= toDate(e.event_timestamp, 'UTC') WHERE e.article_id != ''"
    )
    assert count(built.client, unknown) == 0


def test_every_snapshot_has_all_features(built: Built) -> None:
    assert count(built.client, "(SELECT DISTINCT feature_date FROM customer_user_features)") == 3
    assert count(built.client, "customer_user_features WHERE NOT JSONHas(ml_features, 'avg_article_engagement')") == 0


def test_a_reader_of_two_brands_is_two_rows(built: Built) -> None:
    assert count(built.client, "(SELECT user_id FROM demo_truth GROUP BY user_id HAVING uniqExact(brand_id) = 2)") > 5


def test_some_reference_keys_stand_twice(built: Built) -> None:
    for table, key in (("brands", "brand_id"), ("categories", "category_id"), ("editorial_articles", "article_id")):
        assert count(built.client, table) > int(built.client.value(f"SELECT uniqExact({key}) FROM {table}")), table


def test_a_drift_lowers_engagement_from_its_day_on(empty: Client) -> None:
    since = date(2026, 1, 15)
    build(empty, drift_on=since, **SMALL)
    (row,) = empty.rows(
        "SELECT avgIf(engagement_score, session_start >= toDateTime({since:Date}, 'UTC'))"
        " / avgIf(engagement_score, session_start < toDateTime({since:Date}, 'UTC')) FROM customer_sessions",
        {"since": since},
    )
    assert 0.70 < row[0] < 0.80


def test_without_a_drift_engagement_stays(built: Built) -> None:
    (row,) = built.client.rows(
        "SELECT avgIf(engagement_score, session_start >= toDateTime('2026-01-15', 'UTC'))"
        " / avgIf(engagement_score, session_start < toDateTime('2026-01-15', 'UTC')) FROM customer_sessions"
    )
    assert 0.96 < row[0] < 1.04


def test_the_best_arm_differs_by_device(publisher: Endpoint) -> None:
    with Client(publisher) as client:
        best = client.rows("SELECT device, argMax(arm, revenue_per_impression) FROM demo_arms GROUP BY device")
    assert len({arm for _, arm in best}) > 1


def test_ads_are_shown_and_clicked_as_the_truth_says(publisher: Endpoint) -> None:
    with Client(publisher) as client:
        rows = client.rows(
            """
            SELECT shown / sum(shown) OVER (PARTITION BY device_type_id) AS share, clicked / shown AS rate, shown,
                propensity, click_rate
            FROM
            (SELECT device_type_id, JSONExtractString(metadata, 'arm') AS arm, count() AS shown,
                sum(ad_clicks) AS clicked
             FROM customer_sessions WHERE metadata != '{}' GROUP BY device_type_id, arm) AS seen
            ANY INNER JOIN demo_arms USING (device_type_id, arm)
            """
        )
    assert len(rows) == 12
    for share, rate, shown, propensity, click_rate in rows:
        assert abs(share - propensity) < 0.03
        assert abs(rate - click_rate) < 4.5 * (click_rate * (1 - click_rate) / shown) ** 0.5


def test_the_demo_can_be_written_into_a_second_database_beside_the_first(empty: Client) -> None:
    build(empty, **SMALL)
    other = replace(empty.endpoint, database=f"{empty.endpoint.database}_b")
    empty.run(f"CREATE DATABASE {other.database}")
    try:
        with Client(other) as second:
            migrate(second)
            build(second, **SMALL)
            assert count(second, "users") == SMALL["users"]
    finally:
        empty.run(f"DROP DATABASE {other.database} SYNC")
