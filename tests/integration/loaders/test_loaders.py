"""Test the loaders on handwritten rows that contain every hazard of the publisher's tables.

Merges are stopped, so a key that was written twice stands twice. The expected values are computed by hand in
the comments; nothing of the demo takes part.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from raypipe.artifact.contract import describe_query
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import identifier, load, load_all
from raypipe.errors import DataError, ServerError, UsageError
from raypipe.features.reading import NEVER, raw
from raypipe.loaders import loaders, save
from raypipe.project import shipped

DAY = date(2026, 1, 31)
PUBLISHER_SCHEMA = Path(__file__).parents[2] / "publisher" / "schema.sql"

# Each text is one insert, and so one part: the engine puts the rows of a key together within an insert.
REFERENCE = [
    "brands (brand_id, brand_name, brand_code, updated_at) VALUES ('b1', 'Old Post', 'P', '2025-01-01 00:00:00')",
    "brands (brand_id, brand_name, brand_code, updated_at) VALUES ('b1', 'Post', 'P', '2025-06-01 00:00:00'), "
    "('b2', 'Kitchen', 'K', '2025-06-01 00:00:00')",
    "categories (category_id, category_name, updated_at) VALUES ('k1', 'News (old)', '2025-01-01 00:00:00')",
    "categories (category_id, category_name, updated_at) VALUES ('k1', 'News', '2025-06-01 00:00:00')",
    "device_types (device_type_id, device_type_name) VALUES ('d1', 'Phone')",
    "operating_systems (os_id, os_name) VALUES ('o1', 'Linux')",
    "browsers (browser_id, browser_name) VALUES ('w1', 'Firefox')",
    "countries (country_code, country_name, updated_at) VALUES ('DE', 'Germany', '2025-06-01 00:00:00')",
    "countries (country_code, country_name, updated_at) VALUES ('DE', 'West Germany', '2025-01-01 00:00:00')",
    "cities (city_id, city_name) VALUES ('t1', 'Berlin')",
]
# u1 reads both brands; the two readers with 7 sessions are ordered by their key.
FEATURES = """customer_user_features
    (company_id, brand_id, user_id, feature_date, total_sessions, preferred_brand_id, preferred_category_id,
     preferred_device_type_id, preferred_os_id, preferred_browser_id, primary_country_code, primary_city_id) VALUES
    ('c1', 'b1', 'u1', '2026-01-31', 10, 'b1', 'k1', 'd1', 'o1', 'w1', 'DE', 't1'),
    ('c1', 'b2', 'u1', '2026-01-31', 3, 'b1', '', 'unknown', '', '', '', ''),
    ('c1', 'b2', 'u3', '2026-01-31', 7, '', '', '', '', '', '', ''),
    ('c1', 'b1', 'u2', '2026-01-31', 7, '', '', '', '', '', '', ''),
    ('c1', 'b1', 'u1', '2026-01-24', 9, '', '', '', '', '', '', ''),
    ('c1', 'b1', 'u1', '2025-12-31', 5, '', '', '', '', '', '', '')"""
# The window of 30 days up to 2026-01-31 opens on 2026-01-02; a3 and a4 are a second outside of it.
EVENTS = """editorial_content_events
    (event_id, brand_id, user_id, article_id, event_type, event_timestamp, author_id, category_id) VALUES
    ('e01', 'b1', 'u1', 'a1', 'view', toDateTime('2026-01-31 23:59:59', 'UTC'), 'w1', 'k1'),
    ('e02', 'b1', 'u1', 'a1', 'click', toDateTime('2026-01-31 10:00:00', 'UTC'), 'w1', 'k1'),
    ('e03', 'b1', 'u1', 'a1', 'view', toDateTime('2026-01-30 10:00:00', 'UTC'), 'w1', 'k1'),
    ('e04', 'b1', 'u1', 'a2', 'view', toDateTime('2026-01-02 00:00:00', 'UTC'), 'w2', 'k1'),
    ('e05', 'b1', 'u1', 'a3', 'view', toDateTime('2026-01-01 23:59:59', 'UTC'), 'w3', 'k3'),
    ('e06', 'b1', 'u1', 'a4', 'view', toDateTime('2026-02-01 00:00:00', 'UTC'), 'w4', 'k4'),
    ('e07', 'b2', 'u1', 'a9', 'view', toDateTime('2026-01-20 08:00:00', 'UTC'), '', 'k2'),
    ('e08', 'b2', 'u3', 'a8', 'view', toDateTime('2026-01-20 08:00:00', 'UTC'), 'w8', ''),
    ('e09', 'b1', '', 'a1', 'view', toDateTime('2026-01-31 12:00:00', 'UTC'), 'w1', 'k1'),
    ('e10', 'b1', '', 'a7', 'view', toDateTime('2026-01-31 12:00:00', 'UTC'), 'w7', 'k7')"""
# (2026-01-30, a1, b1) was counted in two goes; a1 of b2 is another article of the same number.
PERFORMANCE = [
    """editorial_article_performance (performance_date, article_id, brand_id, total_views, engagement_score) VALUES
    ('2026-01-30', 'a1', 'b1', 100, 80), ('2026-01-31', 'a1', 'b1', 100, 50), ('2026-01-30', 'a1', 'b2', 7777, 1),
    ('2026-01-02', 'a2', 'b1', 100, 10), ('2026-01-01', 'a2', 'b1', 999, 99), ('2026-01-15', 'a9', 'b2', 10, 20)""",
    """editorial_article_performance (performance_date, article_id, brand_id, total_views, engagement_score) VALUES
    ('2026-01-30', 'a1', 'b1', 300, 40)""",
]
# One cell of 2026-01-30 stands twice.
SUMMARY = [
    """customer_session_summary_daily
    (date, brand_id, country_code, total_sessions, total_users, avg_session_duration_sec, total_article_views) VALUES
    ('2026-01-30', 'b1', 'DE', 30, 20, 200, 5), ('2026-01-30', 'b1', 'US', 10, 9, 100, 7),
    ('2026-01-31', 'b1', 'DE', 0, 0, 0, 4), ('2026-01-30', 'b2', 'DE', 99, 99, 99, 99),
    ('2026-02-01', 'b1', 'DE', 1, 1, 1, 1)""",
    """customer_session_summary_daily
    (date, brand_id, country_code, total_sessions, total_users, avg_session_duration_sec, total_article_views) VALUES
    ('2026-01-30', 'b1', 'DE', 60, 30, 50, 11)""",
]
# u1 of b1 has three sessions up to the 31st in UTC; one more begins with the next day.
SESSIONS = """customer_sessions
    (session_id, company_id, brand_id, user_id, session_start, session_duration_sec, total_events, pages_visited_count,
     engagement_score, newsletter_signups, device_type_id, country_code, subscription_tier, categories_visited)
    VALUES
    ('s1', 'c1', 'b1', 'u1', '2026-01-01 12:00:00', 10, 2, 4, 20, 0, 'd1', 'DE', 'free', '["k1"]'),
    ('s2', 'c1', 'b1', 'u1', '2026-01-26 08:00:00', 20, 4, 4, 40, 1, 'd2', 'US', 'free', '["k2", "k3"]'),
    ('s3', 'c1', 'b1', 'u1', '2026-01-26 09:00:00', 60, 6, 1, 90, 1, 'd2', 'DE', 'basic', '["k3"]'),
    ('s4', 'c1', 'b1', 'u1', '2026-02-01 00:00:00', 99, 9, 9, 99, 1, 'd3', 'DE', 'premium', '["k9"]'),
    ('s5', 'c1', 'b2', 'u1', '2026-01-31 23:59:59', 30, 1, 1, 50, 0, 'd1', 'DE', 'free', '[]'),
    ('s6', 'c1', 'b1', '', '2026-01-31 12:00:00', 30, 1, 1, 50, 0, 'd1', 'DE', 'free', '[]')"""


TABLES = ("raypipe's tables", "the publisher's tables")


def fill(client: Client, tables: str) -> None:
    if tables == "the publisher's tables":
        for statement in load_all(PUBLISHER_SCHEMA):
            client.run(statement.text)
    migrate(client)
    for table in (
        "brands",
        "categories",
        "countries",
        "editorial_article_performance",
        "customer_session_summary_daily",
    ):
        client.run(f"SYSTEM STOP MERGES {table}")
    for rows in [*REFERENCE, FEATURES, EVENTS, *PERFORMANCE, *SUMMARY, SESSIONS]:
        client.run(f"INSERT INTO {rows}", settings={"session_timezone": "UTC"})


@pytest.fixture(scope="module", params=TABLES)
def reader(endpoint: Endpoint, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client on the hand-made rows, which the tests share and must not change."""
    name = identifier(f"raypipe_test_{uuid.uuid4().hex[:12]}")
    with Client(endpoint) as admin:
        admin.run(f"CREATE DATABASE {name}")
        try:
            with Client(replace(endpoint, database=name.strip("`"))) as client:
                fill(client, request.param)
                yield client
        finally:
            admin.run(f"DROP DATABASE {name} SYNC")


@pytest.fixture(params=TABLES)
def writer(client: Client, request: pytest.FixtureRequest) -> Client:
    """A client on hand-made rows of the test's own."""
    fill(client, request.param)
    return client


def keys(table: pa.Table) -> list[tuple[str, ...]]:
    return [(row["brand_id"], row["user_id"]) for row in table.select(["brand_id", "user_id"]).to_pylist()]


def row(table: pa.Table, brand_id: str, user_id: str) -> dict[str, object]:
    (found,) = [r for r in table.to_pylist() if (r["brand_id"], r["user_id"]) == (brand_id, user_id)]
    return dict(found)


def test_the_doubled_keys_are_there(reader: Client) -> None:
    # Without this, every test of a doubled key would pass for the wrong reason.
    assert reader.value("SELECT count() FROM brands WHERE brand_id = 'b1'") == 2
    assert (
        reader.value("SELECT count() FROM editorial_article_performance WHERE article_id = 'a1' AND brand_id = 'b1'")
        == 3
    )
    assert (
        reader.value("SELECT count() FROM customer_session_summary_daily WHERE brand_id = 'b1' AND date = '2026-01-30'")
        == 3
    )


def test_each_reader_of_the_newest_snapshot_stands_once_the_most_frequent_first(reader: Client) -> None:
    table = loaders.load_user_features(reader)
    assert keys(table) == [("b1", "u1"), ("b1", "u2"), ("b2", "u3"), ("b2", "u1")]
    assert table["feature_date"].to_pylist() == [DAY] * 4


def test_an_earlier_snapshot_can_be_named_as_text(reader: Client) -> None:
    table = loaders.load_user_features(reader, "2026-01-24")
    assert table["total_sessions"].to_pylist() == [9]


def test_a_date_without_a_snapshot_is_refused_with_the_nearest_ones(reader: Client) -> None:
    with pytest.raises(UsageError) as refused:
        loaders.load_user_features(reader, "2026-01-25")
    assert "2026-01-24, 2026-01-31, 2025-12-31" in str(refused.value)


def test_a_database_without_snapshots_is_refused(writer: Client) -> None:
    writer.run("TRUNCATE TABLE customer_user_features")
    with pytest.raises(UsageError, match="no snapshot"):
        loaders.load_user_features(writer)


def test_a_brand_that_the_snapshot_lacks_is_refused_by_name(reader: Client) -> None:
    with pytest.raises(UsageError, match="b7"):
        loaders.load_user_features(reader, brand_id="b7")


def test_a_brand_and_a_limit_keep_the_most_frequent_readers_of_the_brand(reader: Client) -> None:
    assert keys(loaders.load_user_features(reader, brand_id="b2")) == [("b2", "u3"), ("b2", "u1")]
    assert keys(loaders.load_user_features(reader, brand_id="b2", limit=1)) == [("b2", "u3")]


def test_names_come_from_the_newest_version_of_a_doubled_key(reader: Client) -> None:
    found = row(loaders.load_user_features(reader), "b1", "u1")
    expected = {
        "brand_name": "Post",
        "brand_code": "P",
        "preferred_brand_name": "Post",
        "category_name": "News",
        "device_type_name": "Phone",
        "os_name": "Linux",
        "browser_name": "Firefox",
        "country_name": "Germany",
        "city_name": "Berlin",
    }
    assert {name: found[name] for name in expected} == expected


def test_brand_name_is_of_the_row_s_own_brand_and_an_unknown_id_has_no_name(reader: Client) -> None:
    found = row(loaders.load_user_features(reader), "b2", "u1")
    assert (found["brand_name"], found["preferred_brand_name"]) == ("Kitchen", "Post")
    assert (found["device_type_name"], found["city_name"]) == ("", "")


CONTENT = (
    "articles_viewed",
    "avg_article_engagement",
    "total_article_views",
    "unique_authors_followed",
    "categories_engaged",
)


@pytest.mark.parametrize(
    ("brand_id", "user_id", "expected"),
    [
        # a1: (100·80 + 300·40 + 100·50) / 500 = 50 with 500 views; a2: 10 with 100 views.
        ("b1", "u1", (2, 30.0, 600, 2, 1)),
        # The same reader of the other brand: a9 alone, which names no author.
        ("b2", "u1", (1, 20.0, 10, 0, 1)),
        # a8 has no performance on record, and no category.
        ("b2", "u3", (1, None, 0, 1, 0)),
        # Nothing read; the anonymous events of the brand belong to nobody.
        ("b1", "u2", (0, None, 0, 0, 0)),
    ],
)
@pytest.mark.parametrize("limit", [None, 100])
def test_content_is_what_the_reader_of_the_brand_read(
    reader: Client, limit: int | None, brand_id: str, user_id: str, expected: tuple[object, ...]
) -> None:
    found = row(loaders.load_user_features(reader, limit=limit), brand_id, user_id)
    assert tuple(found[name] for name in CONTENT) == expected


def test_a_shorter_window_sees_less(reader: Client) -> None:
    found = row(loaders.load_user_features(reader, content_days=1), "b1", "u1")
    # a1 on the 31st alone: 50 points, 100 views.
    assert tuple(found[name] for name in CONTENT) == (1, 50.0, 100, 1, 1)


def test_days_are_cut_in_the_zone_that_is_asked_for(reader: Client) -> None:
    # In Berlin the window is an hour earlier: a3 of 23:59:59 UTC on the 1st falls into it.
    found = row(loaders.load_user_features(reader, timezone="Europe/Berlin"), "b1", "u1")
    assert found["articles_viewed"] == 3


def test_the_zone_of_the_session_does_not_matter(reader: Client) -> None:
    with Client(reader.endpoint, {"session_timezone": "Asia/Tokyo"}) as elsewhere:
        assert loaders.load_user_features(elsewhere).equals(loaders.load_user_features(reader))
        assert loaders.load_session_features(elsewhere).equals(loaders.load_session_features(reader))
        there = loaders.load_interactions(elsewhere, "2026-01-02", "2026-01-31")
        assert there.equals(loaders.load_interactions(reader, "2026-01-02", "2026-01-31"))


def test_names_and_content_can_be_left_out(reader: Client) -> None:
    bare = loaders.load_user_features(reader, names=False, content=False).column_names
    assert loaders.load_user_features(reader, content=False).column_names[: len(bare)] == bare
    assert not {"brand_name", *CONTENT} & set(bare)
    assert set(loaders.load_user_features(reader, names=False).column_names) == {*bare, *CONTENT}


def test_an_unknown_zone_is_the_server_s_error(reader: Client) -> None:
    with pytest.raises(ServerError, match="Mars"):
        loaders.load_user_features(reader, timezone="Mars/Olympus")


def test_a_value_with_a_quote_is_bound_and_not_read_as_sql(reader: Client) -> None:
    with pytest.raises(UsageError, match="no user of this brand"):
        loaders.load_user_features(reader, brand_id="b1' OR '1' = '1")


def test_day_totals_weight_averages_by_sessions_and_group_a_doubled_cell(reader: Client) -> None:
    table = loaders.load_daily_metrics(reader, "b1", "2026-01-30", DAY).to_pylist()
    assert [line["date"] for line in table] == [date(2026, 1, 30), DAY]
    first, last = table
    # (30·200 + 10·100 + 60·50) / 100
    assert (first["total_sessions"], first["avg_session_duration_sec"]) == (100, 100.0)
    assert (first["total_users"], first["total_article_views"]) == (59, 23)
    assert (last["total_sessions"], last["avg_session_duration_sec"]) == (0, None)


def test_interactions_count_the_events_of_known_readers(reader: Client) -> None:
    table = loaders.load_interactions(reader, "2026-01-30", "2026-01-31").to_pylist()
    assert [tuple(line.values()) for line in table] == [
        ("b1", "u1", "a1", "click", 1, datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("b1", "u1", "a1", "view", 2, datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)),
    ]


def test_interactions_of_one_brand_and_some_types(reader: Client) -> None:
    everything = loaders.load_interactions(reader, "2026-01-01", "2026-02-01")
    assert everything.num_rows == 7
    assert set(loaders.load_interactions(reader, "2026-01-01", DAY, brand_id="b2")["article_id"].to_pylist()) == {
        "a8",
        "a9",
    }
    clicks = loaders.load_interactions(reader, "2026-01-01", DAY, event_types=["click", "share"])
    assert clicks["event_type"].to_pylist() == ["click"]


def test_session_features_are_those_of_the_sessions_up_to_the_end_of_the_day(reader: Client) -> None:
    table = loaders.load_session_features(reader, DAY)
    assert keys(table) == [("b1", "u1"), ("b2", "u1")]
    found = row(table, "b1", "u1")
    expected = {
        "feature_date": DAY,
        "total_sessions": 3,
        "avg_session_duration_sec": 30.0,
        "min_session_duration_sec": 10,
        "max_session_duration_sec": 60,
        "avg_events_per_session": 4.0,
        "avg_pages_per_session": 3.0,
        "avg_engagement_score": 50.0,
        "min_engagement_score": 20.0,
        "max_engagement_score": 90.0,
        "total_newsletter_signups": 2,
        "has_newsletter": 1,
        "preferred_device_type_id": "d2",
        "primary_country_code": "DE",
        "preferred_category_id": "k3",
        "current_subscription_tier": "basic",
        "first_session_date": date(2026, 1, 1),
        "last_session_date": date(2026, 1, 26),
        "days_active": 2,
        "days_since_last_session": 5,
        "active_today": 0,
        "active_last_7_days": 1,
        "active_last_30_days": 1,
        "country_name": "Germany",
        "articles_viewed": 2,
    }
    assert {name: found[name] for name in expected} == expected
    # The durations 10, 20 and 60 around 30: sqrt((400 + 100 + 900) / 3).
    assert found["std_session_duration_sec"] == pytest.approx(21.60247, rel=1e-6)
    assert found["newsletter_signup_rate"] == pytest.approx(2 / 3, rel=1e-6)


def test_session_features_default_to_the_day_of_the_newest_session(reader: Client) -> None:
    table = loaders.load_session_features(reader)
    assert row(table, "b1", "u1")["feature_date"] == date(2026, 2, 1)
    assert row(table, "b1", "u1")["total_sessions"] == 4


def test_session_features_have_the_columns_and_types_of_a_snapshot(reader: Client) -> None:
    snapshot = loaders.load_user_features(reader).schema
    computed = loaders.load_session_features(reader).schema
    assert {field.name for field in snapshot} - {field.name for field in computed} == {
        "churn_risk_score",
        "churn_probability",
        "ml_features",
    }
    assert [(field.name, field.type) for field in computed] == [
        (field.name, field.type) for field in snapshot if field.name in computed.names
    ]


def test_session_features_are_what_the_features_pipeline_would_write(writer: Client) -> None:
    computed = loaders.load_session_features(writer, DAY)
    writer.run("TRUNCATE TABLE customer_user_features")
    statement = load(shipped() / "sql" / "features" / "user_features.sql")
    select = statement.render(totals=raw("session_totals"), words=raw("session_words"))
    run_at = datetime(2026, 2, 1, tzinfo=UTC).strftime("%Y-%m-%d %H:%M:%S")
    values = {"date": DAY, "timezone": "UTC", "run_at": run_at, "first_session": NEVER}
    columns = ", ".join(describe_query(writer, select, values))
    writer.run(f"INSERT INTO customer_user_features ({columns}) {select}", values)
    snapshot = loaders.load_user_features(writer, DAY).select(computed.column_names)
    # The one without an id is nobody, and no row of the fallback.
    assert computed.equals(snapshot.filter(pc.not_equal(snapshot["user_id"], "")))


def test_session_features_before_the_first_session_are_refused(reader: Client) -> None:
    with pytest.raises(UsageError, match="2025-12-31"):
        loaders.load_session_features(reader, "2025-12-31")


PREDICTIONS = pa.table(
    {
        "company_id": ["c1", "c1"],
        "brand_id": ["b1", "b2"],
        "entity_id": ["u1", "u1"],
        "prediction_probability": [0.25, 0.75],
        "prediction_class": ["stays", "it's gone"],
    }
)


def test_saved_predictions_are_there_once_with_everything_that_names_them(writer: Client) -> None:
    at = datetime(2026, 2, 1, 3, 0, tzinfo=UTC)
    with Client(writer.endpoint, {"session_timezone": "Asia/Tokyo"}) as elsewhere:
        batch = save.save_predictions(elsewhere, PREDICTIONS, "m1", "churn", DAY, predicted_at=at)
    found = writer.rows(
        "SELECT brand_id, entity_id, entity_type, model_id, prediction_type, prediction_date, prediction_value, "
        "prediction_probability, prediction_class, toUnixTimestamp(predicted_at), batch_id "
        "FROM ml_model_predictions ORDER BY brand_id"
    )
    common = ("u1", "user", "m1", "churn", DAY)
    assert found == [
        ("b1", *common, 0.25, 0.25, "stays", int(at.timestamp()), batch),
        ("b2", *common, 0.75, 0.75, "it's gone", int(at.timestamp()), batch),
    ]
    assert writer.value("SELECT uniqExact(prediction_id) FROM ml_model_predictions") == 2


def test_the_same_predictions_are_not_written_twice_whatever_their_order(writer: Client) -> None:
    save.save_predictions(writer, PREDICTIONS, "m1", "churn", DAY)
    with pytest.raises(UsageError, match="already"):
        save.save_predictions(writer, PREDICTIONS.sort_by([("brand_id", "descending")]), "m1", "churn", DAY)
    assert writer.value("SELECT count() FROM ml_model_predictions") == 2


def test_a_time_without_its_zone_and_a_number_that_would_be_another_are_not_saved(writer: Client) -> None:
    with pytest.raises(UsageError, match="no zone"):
        save.save_predictions(writer, PREDICTIONS, "m1", "churn", DAY, predicted_at=datetime(2026, 2, 1))
    large = PREDICTIONS.append_column("prediction_value", pa.array([1, 2**53 + 1], pa.int64()))
    with pytest.raises(DataError, match="prediction_value holds values that cannot be saved"):
        save.save_predictions(writer, large, "m1", "churn", DAY)
    assert writer.value("SELECT count() FROM ml_model_predictions") == 0


def test_predictions_that_were_deleted_can_be_saved_again(writer: Client) -> None:
    # A table that remembers its last inserts would drop the second one in silence.
    writer.run("ALTER TABLE ml_model_predictions MODIFY SETTING non_replicated_deduplication_window = 100")
    writer.run("ALTER TABLE ml_model_predictions MODIFY COLUMN created_at DateTime DEFAULT toDateTime('2098-01-01')")
    at = datetime(2026, 2, 1, tzinfo=UTC)
    batch = save.save_predictions(writer, PREDICTIONS, "m1", "churn", DAY, predicted_at=at)
    writer.run("DELETE FROM ml_model_predictions WHERE batch_id = {batch:String}", {"batch": batch})
    assert save.save_predictions(writer, PREDICTIONS, "m1", "churn", DAY, predicted_at=at) == batch
    assert writer.value("SELECT count() FROM ml_model_predictions") == 2
