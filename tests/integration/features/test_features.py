"""Test the features pipeline on a small synthetic publisher against an independent computation in Python."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from math import log1p
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from typer.testing import CliRunner

from raypipe.artifact.contract import MATRIX, matrix
from raypipe.artifact.freeze import freeze
from raypipe.cli import app
from raypipe.clickhouse import lock, mutations, swaps, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.lock import Owner
from raypipe.clickhouse.schema import leftovers
from raypipe.clickhouse.schema.leftovers import clean
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import identifier, load, load_all
from raypipe.clickhouse.tables import describe
from raypipe.config.features import Feature
from raypipe.demo import build
from raypipe.errors import Busy, DataError, ServerError, UsageError
from raypipe.features import catalogue, documentation, passes, snapshots, swap
from raypipe.features import day as days
from raypipe.loaders.loaders import load_user_features
from raypipe.project import shipped
from tests.performance import fill_performance

PUBLISHER_SCHEMA = Path(__file__).parents[2] / "publisher" / "schema.sql"
LAST = date(2026, 1, 31)
DAY = date(2026, 1, 24)
RUN_AT = datetime(2026, 2, 2, 3, tzinfo=UTC)
WINDOW = timedelta(days=28)
LONG_WINDOW = timedelta(days=84)
MAPS = (catalogue.EVENTS_BY_TYPE, catalogue.CONTENT_BY_TYPE)

Row = Mapping[str, Any]
Key = tuple[str, str, str]
Computed = tuple[Client, snapshots.BuiltSnapshots]


# Their engines put rows of a key together when they merge; here they do not.
UNMERGED = (
    "editorial_articles",
    "editorial_article_performance",
    "editorial_category_performance",
    "categories",
)
COPIED = (
    "customer_sessions",
    "customer_events",
    "editorial_content_events",
    *UNMERGED,
    "customer_user_features",
    "ml_model_features",
)


def without_ml_features(client: Client) -> None:
    """Leave the demo's snapshots as a publisher may have them: from the sessions alone."""
    client.run("ALTER TABLE customer_user_features UPDATE ml_features = '{}' WHERE 1", settings={"mutations_sync": 2})
    client.run("TRUNCATE TABLE ml_model_features")


@contextmanager
def database_on(endpoint: Endpoint) -> Iterator[Client]:
    name = f"raypipe_test_{uuid.uuid4().hex[:12]}"
    with Client(endpoint) as admin:
        admin.run(f"CREATE DATABASE {identifier(name)}")
        try:
            with Client(replace(endpoint, database=name)) as client:
                yield client
        finally:
            admin.run(f"DROP DATABASE {identifier(name)} SYNC")


@pytest.fixture(scope="module")
def source(endpoint: Endpoint) -> Iterator[str]:
    """The name of a database with 200 readers and snapshots of 2026-01-16 and 2026-01-31; only copied from."""
    with database_on(endpoint) as client:
        migrate(client)
        build(client, users=200, days=60, last_date=LAST, snapshot_every=15)
        without_ml_features(client)
        fill_performance(client)
        yield client.endpoint.database


def copied(client: Client, source: str, tables: str = "raypipe") -> Client:
    own = {re.match(r"CREATE TABLE (\w+)", one.text)[1]: one.text for one in load_all(PUBLISHER_SCHEMA)}  # type: ignore[index]
    for table in COPIED:
        client.run(own[table] if tables == "publisher" else f"CREATE TABLE {table} AS {identifier(source)}.{table}")
        if table in UNMERGED:
            client.run(f"SYSTEM STOP MERGES {table}")
        client.run(f"INSERT INTO {table} SELECT * FROM {identifier(source)}.{table}")
    return client


@pytest.fixture
def demo(client: Client, source: str) -> Client:
    """The publisher in raypipe's own tables, a partition a day."""
    return copied(client, source)


@pytest.fixture(params=["raypipe", "publisher"])
def anywhere(client: Client, source: str, request: pytest.FixtureRequest) -> Client:
    """The publisher in raypipe's own tables, and in those with monthly partitions that a publisher came with."""
    return copied(client, source, request.param)


@pytest.fixture(scope="module")
def computed(endpoint: Endpoint, source: str) -> Iterator[tuple[Client, snapshots.BuiltSnapshots]]:
    """A copy in which 2026-01-24 was computed, and what was said of it; tests may only read."""
    with database_on(endpoint) as client:
        copied(client, source)
        yield client, compute(client)


def compute(client: Client, day: date | None = DAY, **options: Any) -> snapshots.BuiltSnapshots:
    options.setdefault("run_at", RUN_AT)
    options.setdefault("timezone", "UTC")
    return snapshots.compute(client, day, progress=lambda stage, done, total: None, **options)


def rows_of(client: Client, table: str, condition: str = "1") -> list[Row]:
    rows: list[Row] = client.table(f"SELECT * FROM {table} WHERE {condition}").to_pylist()
    return rows


def key_of(row: Row) -> Key:
    return row["company_id"], row["brand_id"], row["user_id"]


def features_of(client: Client, day: date = DAY) -> dict[Key, dict[str, Any]]:
    """Return ml_features by user."""
    rows = client.rows(
        "SELECT company_id, brand_id, user_id, ml_features FROM customer_user_features WHERE feature_date = {day:Date}",
        {"day": day},
    )
    found = {(company, brand, user): json.loads(text) for company, brand, user, text in rows}
    assert len(found) == len(rows)
    return found


def content(client: Client, condition: str = "1") -> int:
    """An order-free checksum of everything in customer_user_features."""
    return int(client.value(f"SELECT sum(cityHash64(*)) FROM customer_user_features WHERE {condition}"))


def moment(value: Any) -> datetime:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int) else value.replace(tzinfo=UTC)


def age(value: Any, day: date = DAY) -> int:
    """Days from a moment's day in UTC to the snapshot."""
    return (day - moment(value).date()).days


def weighted(ages: Sequence[int], values: Sequence[float] | None = None) -> float:
    numbers = [1.0] * len(ages) if values is None else values
    return sum(value * 2 ** (-days / 7) for days, value in zip(ages, numbers, strict=True))


def trend(ages: Sequence[int]) -> float | None:
    return 4 * sum(days < 7 for days in ages) / len(ages) - 1 if ages else None


def newest(rows: Sequence[Row], key: str, version: str) -> dict[str, Row]:
    """The newest version of each key, as FINAL reads a replacing table."""
    found: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: moment(row[version])):
        found[row[key]] = row
    return found


class Slow:
    """Every feature of a day, computed reader by reader from Arrow rows."""

    def __init__(self, client: Client, day: date) -> None:
        self.day = day
        self.all_sessions = self._recent(client, "customer_sessions", "session_start", 84)
        self.sessions = [row for row in self.all_sessions if age(row["session_start"], day) < 28]
        self.first_sessions: dict[Key, int] = {}
        for row in rows_of(client, "customer_sessions"):
            if (days_ago := age(row["session_start"], day)) >= 0:
                self.first_sessions[key_of(row)] = max(days_ago, self.first_sessions.get(key_of(row), 0))
        self.usual_engagement = fmean(
            row["engagement_score"]
            for row in rows_of(client, "customer_sessions")
            if 0 <= age(row["session_start"], day) < 28
        )
        self.events = self._recent(client, "customer_events", "event_timestamp", 28)
        self.all_reads = [
            e for e in self._recent(client, "editorial_content_events", "event_timestamp", 84) if e["article_id"]
        ]
        self.reads = [e for e in self.all_reads if age(e["event_timestamp"], day) < 28]
        self.articles = newest(rows_of(client, "editorial_articles"), "article_id", "updated_at")
        self.parents = {
            key: row["parent_category_id"]
            for key, row in newest(rows_of(client, "categories"), "category_id", "updated_at").items()
        }
        self.event_types = sorted({e["event_type"] for e in self.events})
        self.content_types = sorted({e["event_type"] for e in self.reads})
        self.views: Counter[tuple[str, str]] = Counter()
        self.points: dict[tuple[str, str], float] = defaultdict(float)
        for row in rows_of(client, "editorial_article_performance"):
            if day - WINDOW < row["performance_date"] <= day:
                article = (row["brand_id"], row["article_id"])
                self.views[article] += row["total_views"]
                self.points[article] += row["engagement_score"] * row["total_views"]

        self.category_rows = rows_of(client, "editorial_category_performance")

    def _recent(self, client: Client, table: str, column: str, days: int) -> list[Row]:
        return [row for row in rows_of(client, table) if row["user_id"] and 0 <= age(row[column], self.day) < days]

    def _means(self, rows: Sequence[Row], keys: Sequence[str], column: str, days: int) -> dict[tuple[str, ...], float]:
        """The means of a performance table's scores by key, weighted by views."""
        views: Counter[tuple[str, ...]] = Counter()
        points: dict[tuple[str, ...], float] = defaultdict(float)
        for row in rows:
            if self.day - timedelta(days=days) < row["performance_date"] <= self.day:
                key = tuple(row[name] for name in keys)
                views[key] += row["total_views"]
                points[key] += row[column] * row["total_views"]
        return {key: points[key] / views[key] for key in views if views[key]}

    def features(self, key: Key) -> dict[str, Any]:
        return {
            **self._content(key),
            **self._reads(key),
            **self._sessions(key),
            **self._events(key),
        }

    def _reads(self, key: Key) -> dict[str, Any]:
        """The features of the events of 84 days by category."""
        events = [e for e in self.all_reads if (e["brand_id"], e["user_id"]) == key[1:] and e["category_id"]]
        ages = [age(e["event_timestamp"], self.day) for e in events]
        count, lately = len(events), sum(days < 21 for days in ages)
        categories = Counter(event["category_id"] for event in events)
        found: dict[str, Any] = {**dict.fromkeys(READS), "category_events_84d": count}
        if not count:
            return found
        found["category_events_trend_84d"] = 3 * sum(days < 28 for days in ages) / count - 1
        if count > 1:
            pairs = sum(n * (n - 1) for n in categories.values())
            found["category_concentration"] = pairs / (count * (count - 1))
        most = max(categories.values())
        found["favourite_share"] = (most + 1) / (count + 4)
        favourites = [category for category, n in categories.items() if n == most]
        if len(favourites) > 1:
            # Among equals a hash decides.
            return {name: value for name, value in found.items() if name not in BY_FAVOURITE}
        favourite = favourites[0]
        ages_of_it = [days for days, e in zip(ages, events, strict=True) if e["category_id"] == favourite]
        found["favourite_idle_days"] = min(ages_of_it)
        of_it = sum(days < 21 for days in ages_of_it)
        if lately and count > lately:
            before = (most - of_it) / (count - lately)
            found["favourite_change"] = (of_it - lately * before) / (lately + 2)
            found["favourite_z"] = (of_it - lately * before) / (lately * before * (1 - before) + 1) ** 0.5
        return found | self._favourite(favourite)

    def _favourite(self, category: str) -> dict[str, Any]:
        rows = [row for row in self.category_rows if row["category_id"] == category]
        recent = self._means(rows, (), "avg_engagement_score", 28).get(())
        usual = self._means(rows, (), "avg_engagement_score", 84).get(())
        earlier = [row for row in rows if (self.day - row["performance_date"]).days >= 28]
        before = self._means(earlier, (), "avg_engagement_score", 56).get(())
        week, fortnight, all_views = (
            sum(row["total_views"] for row in rows if 0 <= (self.day - row["performance_date"]).days < days)
            for days in (7, 14, 84)
        )
        return {
            "favourite_quality": recent,
            "favourite_quality_trend": None if recent is None or usual is None else recent - usual,
            "favourite_quality_trend_before": None if before is None or usual is None else before - usual,
            "favourite_demand": 6 * fortnight / all_views - 1 if all_views else None,
            "favourite_demand_7d": 12 * week / all_views - 1 if all_views else None,
        }

    def _quality_trend(self, reads: Sequence[Row]) -> float | None:
        rated = [
            (age(e["event_timestamp"], self.day), self.points[article] / self.views[article])
            for e in reads
            if self.views[article := (e["brand_id"], e["article_id"])]
        ]
        lately = [points for days, points in rated if days < 7]
        return fmean(lately) - fmean(points for _, points in rated) if lately else None

    def _content(self, key: Key) -> dict[str, Any]:
        reads = [e for e in self.reads if (e["brand_id"], e["user_id"]) == key[1:]]
        ages = [age(e["event_timestamp"], self.day) for e in reads]
        articles = {(e["brand_id"], e["article_id"]) for e in reads}
        known = [self.points[article] / self.views[article] for article in articles if self.views[article]]
        known_articles = [(e, self.articles.get(e["article_id"])) for e in reads]
        categories = {e["category_id"] or (a["primary_category_id"] if a else "") for e, a in known_articles} - {""}
        authors = {e["author_id"] or (a["primary_author_id"] if a else "") for e, a in known_articles} - {""}
        since = [
            (moment(e["event_timestamp"]) - moment(a["publish_time"])).total_seconds()
            for e, a in known_articles
            if a and moment(a["publish_time"]) <= moment(e["event_timestamp"])
        ]
        return {
            "articles_viewed": len(articles),
            "avg_article_engagement": fmean(known) if known else None,
            "total_article_views": sum(self.views[article] for article in articles),
            "unique_authors_followed": len(authors),
            "categories_engaged": len(categories),
            "sections_engaged": len({self.parents.get(category) or category for category in categories}),
            "avg_article_age_days": fmean(since) / 86400 if since else None,
            "content_events_7d": sum(days < 7 for days in ages),
            "content_events_28d": len(ages),
            "content_events_weighted": weighted(ages),
            "content_events_trend": trend(ages),
            "read_quality_trend": self._quality_trend(reads),
            "content_by_type": {t: sum(e["event_type"] == t for e in reads) for t in self.content_types},
        }

    def _sessions(self, key: Key) -> dict[str, Any]:
        sessions = [s for s in self.sessions if key_of(s) == key]
        ages = [age(s["session_start"], self.day) for s in sessions]
        scores = [s["engagement_score"] for s in sessions]
        lately = [s["engagement_score"] for s in sessions if age(s["session_start"], self.day) < 7]
        return {
            "sessions_7d": len(lately),
            "sessions_28d": len(ages),
            "sessions_weighted": weighted(ages),
            "sessions_trend": trend(ages),
            "active_days_28d": len(set(ages)),
            **self._long(key),
            "sessions_weighted_2": sum(2 ** (-days / 2) for days in ages),
            "engagement_7d": sum(lately),
            "engagement_28d": sum(scores),
            "engagement_weighted": weighted(ages, scores),
            "engagement_trend": fmean(lately) - fmean(scores) if lately else None,
        }

    def _long(self, key: Key) -> dict[str, Any]:
        """The features of the sessions of 84 days."""
        sessions = [s for s in self.all_sessions if key_of(s) == key]
        ages = [age(s["session_start"], self.day) for s in sessions]
        slow = [2 ** (-days / 28) for days in ages]
        days = set(ages)
        weekends = sum((self.day - timedelta(days=n)).weekday() > 4 for n in days)
        found: dict[str, Any] = {
            "sessions_84d": len(ages),
            "sessions_weighted_28": sum(slow),
            "active_days_84d": len(days),
            "engagement_level": (
                sum(w * s["engagement_score"] for w, s in zip(slow, sessions, strict=True)) + 2 * self.usual_engagement
            )
            / (sum(slow) + 2),
            **dict.fromkeys(
                (
                    "sessions_trend_84d",
                    "weekend_share",
                    "visits_missed",
                    "longest_pause_days",
                    "pause_ended_days",
                    "first_active_days",
                    "log_session_sec",
                    "search_share",
                    "newsletter_share",
                )
            ),
        }
        if not ages:
            return found
        since = [self.day - timedelta(days=n) for n in range(min(days))]
        idle_weekends = sum(day.weekday() > 4 for day in since)
        exposure = min(84, self.first_sessions[key] + 1)
        # Each pause with its end; of equal ones, the last is the longest.
        pauses = [(before - after, -after) for after, before in pairwise(sorted(days))]
        longest, end = max(pauses, default=(None, None))
        return found | {
            "longest_pause_days": longest,
            "pause_ended_days": None if end is None else -end,
            "first_active_days": max(days),
            "sessions_trend_84d": 3 * sum(n < 28 for n in ages) / len(ages) - 1,
            "weekend_share": (weekends + 2) / (len(days) + 7),
            "visits_missed": (len(since) - idle_weekends) * (len(days) - weekends + 0.5) / (exposure * 5 / 7 + 7)
            + idle_weekends * (weekends + 0.5) / (exposure * 2 / 7 + 7),
            "log_session_sec": fmean(log1p(s["session_duration_sec"]) for s in sessions),
            "search_share": (sum(s["referrer"] == "search" for s in sessions) + 0.5) / (len(ages) + 2),
            "newsletter_share": (sum(s["referrer"] == "newsletter" for s in sessions) + 0.5) / (len(ages) + 2),
        }

    def _events(self, key: Key) -> dict[str, Any]:
        events = [e for e in self.events if key_of(e) == key]
        ages = [age(e["event_timestamp"], self.day) for e in events]
        measured, unreadable = [], 0
        for event in events:
            try:
                measured.append(json.loads(event["engagement_metrics"] or "{}"))
            except json.JSONDecodeError:
                unreadable += 1
        means = {
            name: [m[name] for m in measured if m.get(name) is not None] for name in ("time_on_page", "scroll_depth")
        }
        return {
            "events_7d": sum(days < 7 for days in ages),
            "events_28d": len(ages),
            "events_weighted": weighted(ages),
            "events_trend": trend(ages),
            "events_by_type": {t: sum(e["event_type"] == t for e in events) for t in self.event_types},
            "avg_time_on_page_sec": fmean(means["time_on_page"]) if means["time_on_page"] else None,
            "avg_scroll_depth": fmean(means["scroll_depth"]) if means["scroll_depth"] else None,
            "unreadable_events": unreadable,
        }


BY_FAVOURITE = (
    "favourite_change",
    "favourite_z",
    "favourite_quality",
    "favourite_quality_trend",
    "favourite_quality_trend_before",
    "favourite_demand",
    "favourite_demand_7d",
    "favourite_idle_days",
)
READS = ("category_events_trend_84d", "category_concentration", "favourite_share", *BY_FAVOURITE)


def require_equal(client: Client, day: date) -> dict[Key, dict[str, Any]]:
    """Compares every feature of every reader with the slow computation, and returns what was found."""
    slow, found = Slow(client, day), features_of(client, day)
    assert found
    for key, features in found.items():
        wanted = slow.features(key)
        assert features.keys() >= wanted.keys()
        # A tie between favourites is left out.
        assert features.keys() - wanted.keys() <= set(BY_FAVOURITE)
        for name, value in wanted.items():
            close = value if value is None or name in MAPS else pytest.approx(value, rel=1e-5, abs=1e-4)
            assert features[name] == close, (key, name)
    return found


def test_every_feature_of_every_reader_equals_a_slow_computation_in_python(computed: Computed) -> None:
    demo, _ = computed
    found = require_equal(demo, DAY)
    # Otherwise the comparison would be one of zeros.
    for definition in catalogue.DEFINITIONS:
        values = [features[definition.name] for features in found.values()]
        assert any(values) or definition.name == "unreadable_events", definition.name


def test_the_json_holds_what_the_catalogue_says_in_its_order(computed: Computed) -> None:
    demo, _ = computed
    for features in features_of(demo).values():
        assert list(features) == [definition.name for definition in catalogue.DEFINITIONS]


def test_content_features_are_those_of_the_loader(computed: Computed) -> None:
    demo, _ = computed
    found = features_of(demo)
    loaded = load_user_features(demo, DAY, names=False, content_days=28).to_pylist()
    assert len(loaded) == len(found)
    for row in loaded:
        for name in (
            "articles_viewed",
            "avg_article_engagement",
            "total_article_views",
            "unique_authors_followed",
            "categories_engaged",
        ):
            close = None if row[name] is None else pytest.approx(row[name], rel=1e-5)
            assert found[key_of(row)][name] == close, name


def test_a_snapshot_computed_anew_equals_the_old_one_column_by_column(anywhere: Client) -> None:
    before = {key_of(row): row for row in rows_of(anywhere, "customer_user_features", f"feature_date = '{LAST}'")}
    (built,) = compute(anywhere, LAST, replace=True).days
    after = {key_of(row): row for row in rows_of(anywhere, "customer_user_features", f"feature_date = '{LAST}'")}
    assert (built.status, built.rows) == ("replaced", len(before))
    assert after.keys() == before.keys()
    changed = {name for key, row in after.items() for name in row if row[name] != before[key][name]}
    assert changed == {"ml_features", "created_at", "updated_at"}


@pytest.mark.versions
def test_a_missing_day_is_computed_and_no_other_day_is_touched(anywhere: Client) -> None:
    before = content(anywhere)
    (built,) = compute(anywhere).days
    assert built.status == "computed"
    assert built.method == ("move" if "toYYYYMM" in partition_key(anywhere) else "replace")
    assert content(anywhere, f"feature_date != '{DAY}'") == before
    known = anywhere.value(
        "SELECT uniqExact(company_id, brand_id, user_id) FROM customer_sessions"
        " WHERE user_id != '' AND toDate(session_start, 'UTC') <= {day:Date}",
        {"day": DAY},
    )
    assert built.rows == known == len(features_of(anywhere))


def partition_key(client: Client) -> str:
    described = describe(client, "customer_user_features")
    assert described is not None
    return described.partition_key


def test_a_day_whose_ml_features_are_empty_gets_them_and_keeps_everything_else(anywhere: Client) -> None:
    anywhere.run(
        "ALTER TABLE customer_user_features UPDATE churn_probability = 0.5, total_sessions = 77 WHERE 1",
        settings={"mutations_sync": 2},
    )
    others, before = content(anywhere, f"feature_date != '{LAST}'"), stored(anywhere)
    (built,) = compute(anywhere, LAST).days
    assert built.status == "filled"
    assert built.method == ("exchange" if "toYYYYMM" in partition_key(anywhere) else "replace")
    assert content(anywhere, f"feature_date != '{LAST}'") == others
    assert stored(anywhere) == before
    require_equal(anywhere, LAST)


def stored(client: Client) -> list[Row]:
    """The newest day without what filling it may change."""
    sql = (
        "SELECT * EXCEPT (ml_features, updated_at) FROM customer_user_features WHERE feature_date = {day:Date}"
        " ORDER BY company_id, brand_id, user_id"
    )
    rows: list[Row] = client.table(sql, {"day": LAST}).to_pylist()
    return rows


def test_ml_features_that_somebody_else_wrote_are_kept(demo: Client) -> None:
    user = demo.value("SELECT min(user_id) FROM customer_user_features WHERE feature_date = '2026-01-31'")
    demo.run(
        f"ALTER TABLE customer_user_features UPDATE ml_features = '{{\"own\":1}}' WHERE user_id = '{user}'",
        settings={"mutations_sync": 2},
    )
    compute(demo, LAST)
    found = features_of(demo, LAST)
    assert {tuple(features) for key, features in found.items() if key[2] == user} == {("own",)}
    assert all("sessions_28d" in features for key, features in found.items() if key[2] != user)


def test_a_day_that_is_there_is_left_alone(anywhere: Client) -> None:
    compute(anywhere)
    before = content(anywhere)
    (built,) = compute(anywhere, run_at=RUN_AT + timedelta(hours=1)).days
    assert (built.status, content(anywhere)) == ("present", before)


@pytest.mark.versions
def test_replacing_a_day_writes_the_same_rows_again(anywhere: Client) -> None:
    first = compute(anywhere)
    before = content(anywhere)
    second = compute(anywhere, replace=True)
    assert (first.days[0].rows, content(anywhere)) == (second.days[0].rows, before)
    assert second.days[0].status == "replaced"


def test_every_day_from_the_first_to_the_last_is_made(demo: Client) -> None:
    outcome = compute(demo, date(2026, 1, 17), first=date(2026, 1, 15))
    assert [(built.date.day, built.status) for built in outcome.days] == [
        (15, "computed"),
        (16, "filled"),
        (17, "computed"),
    ]


def test_nothing_that_happens_after_the_day_changes_it(demo: Client) -> None:
    compute(demo)
    before = content(demo, f"feature_date = '{DAY}'")
    for table, moved in (("customer_sessions", "session_start"), ("customer_events", "event_timestamp")):
        demo.run(
            f"INSERT INTO {table} SELECT * REPLACE(toDateTime('{DAY + timedelta(days=1)}', 'UTC') AS {moved},"
            f" concat('late-', user_id) AS session_id) FROM {table} AS t WHERE t.{moved} < '{DAY}' LIMIT 500"
        )
    demo.run(
        "INSERT INTO editorial_content_events SELECT * REPLACE(toDateTime('2026-01-25', 'UTC') AS event_timestamp,"
        " 'a new author' AS author_id, 'a new type' AS event_type) FROM editorial_content_events AS e"
        " WHERE e.event_timestamp < '2026-01-25' LIMIT 500"
    )
    demo.run(
        "INSERT INTO editorial_article_performance SELECT * REPLACE(toDate('2026-01-25') AS performance_date,"
        " toFloat32(99) AS engagement_score, toUInt32(5000) AS total_views) FROM editorial_article_performance AS p"
        " WHERE p.performance_date <= '2026-01-24'"
    )
    demo.run(
        "INSERT INTO editorial_articles SELECT * REPLACE(concat('late-', article_id) AS article_id,"
        " toDate('2026-01-25') AS publish_date, toDateTime('2026-01-25', 'UTC') AS publish_time)"
        " FROM editorial_articles"
    )
    assert demo.value("SELECT count() FROM editorial_content_events WHERE event_type = 'a new type'") > 0
    assert demo.value("SELECT count() FROM customer_sessions WHERE startsWith(session_id, 'late-')") > 0
    compute(demo, replace=True)
    assert content(demo, f"feature_date = '{DAY}'") == before


def test_a_second_before_midnight_counts_and_midnight_does_not_whatever_the_zone_of_the_client(demo: Client) -> None:
    compute(demo)
    key, before = next((key, features) for key, features in features_of(demo).items() if features["content_events_28d"])
    for end in (f"{DAY} 23:59:59", f"{DAY + timedelta(days=1)} 00:00:00"):
        demo.run(
            "INSERT INTO editorial_content_events"
            " (event_id, brand_id, user_id, article_id, event_type, event_timestamp)"
            f" VALUES ('{end}', '{key[1]}', '{key[2]}', '{end}', 'view', toDateTime('{end}', 'UTC'))"
        )
    with Client(demo.endpoint, {"session_timezone": "Asia/Tokyo"}) as elsewhere:
        compute(elsewhere, replace=True)
    found = features_of(demo)[key]
    assert found["articles_viewed"] == before["articles_viewed"] + 1
    assert found["content_events_7d"] == before["content_events_7d"] + 1


def test_rows_that_are_not_merged_yet_change_nothing(demo: Client) -> None:
    compute(demo)
    before = content(demo, f"feature_date = '{DAY}'")
    # Older versions of every replaced key, and each day's counts in two halves of which one was engaged more.
    demo.run(
        "INSERT INTO editorial_articles SELECT * REPLACE('old author' AS primary_author_id,"
        " 'old' AS primary_category_id, toDateTime(0) AS publish_time, updated_at - 90000 AS updated_at)"
        " FROM editorial_articles FINAL"
    )
    demo.run(
        "INSERT INTO categories SELECT * REPLACE('old parent' AS parent_category_id, updated_at - 90000 AS updated_at)"
        " FROM categories FINAL"
    )
    demo.run("CREATE TABLE halves AS editorial_article_performance ENGINE = Memory")
    demo.run("INSERT INTO halves SELECT * FROM editorial_article_performance")
    demo.run("TRUNCATE TABLE editorial_article_performance")
    for half in ("intDiv(total_views, 2)", "total_views - intDiv(total_views, 2)"):
        demo.run(
            f"INSERT INTO editorial_article_performance SELECT * REPLACE(toUInt32({half}) AS total_views) FROM halves"
        )
    assert demo.value("SELECT count() - uniqExact(article_id) FROM editorial_articles") > 0
    assert demo.value(
        "SELECT count() > uniqExact(performance_date, article_id, brand_id) FROM editorial_article_performance"
    )
    compute(demo, replace=True)
    changed = features_of(demo)
    assert changed
    require_equal(demo, DAY)
    assert content(demo, f"feature_date = '{DAY}'") == before


def test_an_anonymous_reader_is_nobody(demo: Client) -> None:
    for table in ("customer_sessions", "customer_events", "editorial_content_events"):
        demo.run(f"INSERT INTO {table} SELECT * REPLACE('' AS user_id) FROM {table} LIMIT 100")
    compute(demo)
    found = require_equal(demo, DAY)
    assert not [key for key in found if not key[2]]


def test_json_that_cannot_be_read_is_counted_and_skipped(demo: Client) -> None:
    user = demo.value(
        "SELECT user_id FROM customer_events WHERE event_timestamp BETWEEN '2026-01-10' AND '2026-01-24'"
        " GROUP BY user_id ORDER BY count() DESC LIMIT 1"
    )
    for text in ('{"time_on_page": 12', "not JSON", "[1, 2]", '{"scroll_depth":"far"}', "{}", "", '{"other":1}'):
        demo.run(
            "INSERT INTO customer_events SELECT * REPLACE({text:String} AS engagement_metrics) FROM customer_events"
            " WHERE user_id = {user:String} AND event_timestamp BETWEEN '2026-01-10' AND '2026-01-24' LIMIT 1",
            {"text": text, "user": user},
        )
    demo.run(
        "INSERT INTO customer_sessions SELECT * REPLACE('[\"a' AS categories_visited) FROM customer_sessions"
        " WHERE session_start < '2026-01-24' LIMIT 2"
    )
    (built,) = compute(demo).days
    assert built.unreadable == {"customer_events.engagement_metrics": 3, "customer_sessions.categories_visited": 2}
    assert sum(f["unreadable_events"] for key, f in features_of(demo).items() if key[2] == user) == 3


def test_a_source_without_rows_in_the_window_gives_null_and_a_warning(demo: Client) -> None:
    demo.run("ALTER TABLE editorial_content_events UPDATE user_id = '' WHERE 1", settings={"mutations_sync": 2})
    (built,) = compute(demo).days
    (found, *_) = features_of(demo).values()
    assert (found["articles_viewed"], found["content_events_28d"], found["content_by_type"]) == (None, None, {})
    assert found["events_28d"] is not None
    assert [text for text in built.warnings if "editorial_content_events has no row" in text]


def test_a_source_that_begins_inside_the_window_is_told(demo: Client) -> None:
    demo.run("ALTER TABLE customer_events DELETE WHERE event_timestamp < '2026-01-02'", settings={"mutations_sync": 2})
    (built,) = compute(demo).days
    # 23 of the 28 days.
    assert "customer_events begins on 2026-01-02: features over 28 days cover only 23" in built.warnings


@pytest.mark.versions
def test_days_of_one_pass_are_the_days_built_one_by_one(anywhere: Client) -> None:
    wanted = [date(2026, 1, 20), date(2026, 1, 22), LAST]
    for day in wanted:
        compute(anywhere, day, replace=True)
    alone = {day: content(anywhere, f"feature_date = '{day}'") for day in wanted}
    anywhere.run(f"DELETE FROM customer_user_features WHERE feature_date IN ('2026-01-20', '{LAST}')")
    outcome = snapshots.compute_days(
        anywhere, wanted, run_at=RUN_AT, timezone="UTC", progress=lambda *_: None, replace=True
    )
    assert [built.status for built in outcome.days] == ["computed", "replaced", "computed"]
    assert {day: content(anywhere, f"feature_date = '{day}'") for day in wanted} == alone
    assert left_behind(anywhere) == set()


def test_without_the_sessions_since_the_last_day_a_pass_writes_other_days(
    demo: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [date(2026, 1, 20), date(2026, 1, 23)]
    for day in wanted:
        compute(demo, day, replace=True)
    alone = {day: content(demo, f"feature_date = '{day}'") for day in wanted}
    merged = passes.statement("merged_totals")
    without = replace(merged, text=merged.text.replace("UNION ALL SELECT * FROM ({added})", ""))
    load_statement = passes.statement
    monkeypatch.setattr(passes, "statement", lambda name: without if name == "merged_totals" else load_statement(name))
    snapshots.compute_days(demo, wanted, run_at=RUN_AT, timezone="UTC", progress=lambda *_: None, replace=True)
    assert content(demo, f"feature_date = '{wanted[0]}'") == alone[wanted[0]]
    assert content(demo, f"feature_date = '{wanted[1]}'") != alone[wanted[1]]


def test_a_pass_reads_the_raw_events_as_often_as_one_day_does(demo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    run = Client.run

    def noted(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        sent.append(sql)
        run(self, sql, *arguments, **options)

    monkeypatch.setattr(Client, "run", noted)
    wanted = [DAY + timedelta(days=n) for n in range(3)]
    snapshots.compute_days(demo, wanted, run_at=RUN_AT, timezone="UTC", progress=lambda *_: None)
    for table, times in {"customer_events": 1, "editorial_content_events": 2}.items():
        assert sum(sql.count(f"FROM {table}") for sql in sent) == times, table


@pytest.mark.parametrize("limit", [20_000, 200_000])
def test_what_goes_to_disk_gives_the_same(demo: Client, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    compute(demo)
    before = content(demo, f"feature_date = '{DAY}'")
    small = dict.fromkeys(("max_bytes_in_join", "max_bytes_before_external_group_by", "max_bytes_before_external_sort"))
    monkeypatch.setattr(days, "SETTINGS", {**days.SETTINGS, **dict.fromkeys(small, limit)})
    compute(demo, replace=True)
    assert content(demo, f"feature_date = '{DAY}'") == before


KILLED = """
import os, signal, sys
from datetime import UTC, date, datetime
from raypipe.clickhouse import lock, mutations, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.features import snapshots

lock.require = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with Client(Endpoint.parse(sys.argv[1], sys.argv[2] or None)) as client:
    snapshots.compute(
        client, date.fromisoformat(sys.argv[3]), run_at=datetime.now(UTC), timezone="UTC",
        progress=lambda *_: None, replace=True,
    )
"""


def kill_a_build(client: Client, day: date) -> None:
    """A process that is killed when the day is built and about to be swapped in."""
    where = client.endpoint
    command = [sys.executable, "-c", KILLED, str(where), where.password_file or "", day.isoformat()]
    assert subprocess.run(command, env=dict(os.environ)).returncode == -signal.SIGKILL


STOPPED = """
import os, signal, sys
from datetime import UTC, date, datetime
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.features import snapshots

def progress(stage, done, total):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)

with Client(Endpoint.parse(sys.argv[1], sys.argv[2] or None)) as client:
    snapshots.compute(
        client, date(2026, 1, 31), date(2026, 1, 26), run_at=datetime.now(UTC), timezone="UTC", progress=progress
    )
"""


def test_a_backfill_that_is_killed_goes_on_where_it_stopped(demo: Client) -> None:
    wanted = [date(2026, 1, 26) + timedelta(days=n) for n in range(6)]
    where = demo.endpoint
    command = [sys.executable, "-c", STOPPED, str(where), where.password_file or ""]
    assert subprocess.run(command, env=dict(os.environ)).returncode == -signal.SIGKILL
    days_of = "SELECT DISTINCT feature_date FROM customer_user_features WHERE feature_date > '2026-01-25' ORDER BY 1"
    assert [day for (day,) in demo.rows(days_of)] == [*wanted[:3], LAST]
    first = content(demo, "feature_date BETWEEN '2026-01-26' AND '2026-01-28'")
    outcome = compute(demo, LAST, first=wanted[0])
    assert [built.status for built in outcome.days] == [*["present"] * 3, *["computed"] * 2, "filled"]
    assert content(demo, "feature_date BETWEEN '2026-01-26' AND '2026-01-28'") == first
    assert left_behind(demo) == set()
    for day in (wanted[3], wanted[4]):
        before = demo.value(WITHOUT_TIMES, {"day": day})
        compute(demo, day, replace=True)
        assert demo.value(WITHOUT_TIMES, {"day": day}) == before


WITHOUT_TIMES = (
    "SELECT sum(cityHash64(* EXCEPT (created_at, updated_at))) FROM customer_user_features"
    " WHERE feature_date = {day:Date}"
)


def left_behind(client: Client) -> set[str]:
    return {name for (name,) in client.rows("SHOW TABLES") if name.startswith(("raypipe_twin", "raypipe_lock"))}


def test_a_killed_build_leaves_the_old_day_and_the_doctor_removes_the_rest(
    anywhere: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(anywhere)
    kill_a_build(anywhere, LAST)
    assert content(anywhere) == before
    left = left_behind(anywhere)
    assert "raypipe_lock_features_e1" in left
    assert len([name for name in left if name.startswith("raypipe_twin_")]) >= 1
    monkeypatch.setattr(leftovers, "PATIENCE", timedelta(0))
    assert set(clean(anywhere)) == left
    assert content(anywhere) == before


def test_the_next_command_takes_a_killed_one_s_lock_and_removes_its_twins(anywhere: Client) -> None:
    kill_a_build(anywhere, LAST)
    (built,) = compute(anywhere, LAST).days
    assert built.status == "filled"
    assert left_behind(anywhere) == set()


def before_swap(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Does something right before a day is swapped in, when the lock is checked."""
    require = lock.require

    def acted(*arguments: Any) -> None:
        act()
        require(*arguments)

    patch.setattr(lock, "require", acted)


def test_a_build_that_fails_leaves_nothing_behind(anywhere: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(anywhere)

    def fail() -> None:
        raise RuntimeError("the machine is on fire")

    before_swap(monkeypatch, fail)
    with pytest.raises(RuntimeError, match="on fire"):
        compute(anywhere, LAST, replace=True)
    assert (content(anywhere), left_behind(anywhere)) == (before, set())


def test_a_second_process_is_told_who_works(demo: Client) -> None:
    owner = Owner.here("features_20260131_0badcafe")
    lock.acquire(demo, "features", owner)
    with pytest.raises(Busy, match="features_20260131_0badcafe"):
        compute(demo)
    assert lock.holder(demo, "features") == owner


def test_who_lost_the_lock_may_not_swap(demo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(demo)
    thief = Owner.here("features_20260131_0badcafe")
    before_swap(monkeypatch, lambda: lock.acquire(demo, "features", thief, take_over=True))
    with pytest.raises(Busy):
        compute(demo, LAST)
    assert content(demo) == before


def taken_over_behind_its_last_look(client: Client, patch: pytest.MonkeyPatch) -> None:
    """Let another process take the lock when the swap of a build is about to be sent."""
    send = Client.run

    def run(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        if "REPLACE PARTITION" in sql:
            lock.acquire(client, "features", Owner.here("features_20260131_0badcafe"), take_over=True)
        send(self, sql, *arguments, **options)

    patch.setattr(Client, "run", run)


def test_a_paused_build_that_wakes_up_swaps_nothing_in(demo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(demo)
    taken_over_behind_its_last_look(demo, monkeypatch)
    with pytest.raises(ServerError, match="raypipe_twin_features") as refused:
        compute(demo, LAST, replace=True)
    assert refused.value.code == 60
    assert content(demo) == before


def test_a_paused_build_whose_lock_was_cleaned_swaps_nothing_in(demo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds have no rows in the ledger, so that the next owner gets the epoch again."""
    before, send = content(demo), Client.run

    def run(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        if "REPLACE PARTITION" in sql:
            send(demo, "DROP TABLE raypipe_lock_features_e1 SYNC")
            assert lock.acquire(demo, "features", Owner.here("features")).epoch == 1
        send(self, sql, *arguments, **options)

    monkeypatch.setattr(Client, "run", run)
    with pytest.raises(ServerError, match="raypipe_twin_features") as refused:
        compute(demo, LAST, replace=True)
    assert refused.value.code == 60
    assert content(demo) == before


def test_without_dropping_the_twins_of_former_owners_a_paused_build_swaps_its_day_in(
    demo: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(demo)
    monkeypatch.setattr(twins, "drop_former", lambda *_: None)
    taken_over_behind_its_last_look(demo, monkeypatch)
    compute(demo, LAST, replace=True)
    assert content(demo) != before


def test_rows_that_somebody_writes_meanwhile_are_never_lost(anywhere: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    neighbour = DAY if "toYYYYMM" in partition_key(anywhere) else LAST

    def write() -> None:
        anywhere.run(
            "INSERT INTO customer_user_features (company_id, brand_id, user_id, feature_date) VALUES"
            f" ('c', 'b', 'a new one', '{neighbour}')"
        )

    before_swap(monkeypatch, write)
    with pytest.raises(Busy, match="written to"):
        compute(anywhere, LAST)
    assert anywhere.value("SELECT count() FROM customer_user_features WHERE user_id = 'a new one'") == 1


def test_merging_meanwhile_is_no_writing(anywhere: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    anywhere.run("SYSTEM START MERGES customer_user_features")
    anywhere.run(
        "INSERT INTO customer_user_features SELECT * REPLACE('doubled' AS user_id) FROM customer_user_features"
        f" WHERE feature_date = '{LAST}' LIMIT 1"
    )
    before_swap(monkeypatch, lambda: anywhere.run("OPTIMIZE TABLE customer_user_features FINAL"))
    (built,) = compute(anywhere, LAST).days
    assert built.status == "filled"


def test_a_day_that_no_partition_holds_whole_is_refused(demo: Client) -> None:
    ddl = demo.value("SHOW CREATE TABLE customer_user_features")
    demo.run("DROP TABLE customer_user_features SYNC")
    demo.run(ddl.replace("PARTITION BY feature_date", "PARTITION BY (toYYYYMM(feature_date), brand_id)"))
    with pytest.raises(DataError, match="several of its partitions"):
        compute(demo)
    assert demo.value("SELECT count() FROM customer_user_features") == 0


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("DROP TABLE customer_events SYNC", "customer_events is missing"),
        ("DROP TABLE ml_model_features SYNC", "ml_model_features is missing"),
        ("TRUNCATE TABLE editorial_articles", "editorial_articles is empty"),
        ("TRUNCATE TABLE customer_sessions", "customer_sessions is empty"),
    ],
)
def test_a_table_that_is_missing_or_empty_is_named_before_anything_is_done(
    demo: Client, damage: str, named: str
) -> None:
    before = content(demo)
    demo.run(damage)
    with pytest.raises(DataError, match=named):
        compute(demo, LAST)
    assert (content(demo), left_behind(demo)) == (before, set())


def test_every_table_that_is_missing_is_named_at_once(client: Client) -> None:
    with pytest.raises(DataError) as refused:
        compute(client)
    for table in ("customer_sessions", "customer_events", "editorial_content_events", "customer_user_features"):
        assert f"{table} is missing" in str(refused.value)
    assert "raypipe migrate" in str(refused.value)


def test_a_day_that_did_not_come_out_whole_is_refused_and_nothing_is_changed(
    demo: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, fill = content(demo), days._fill
    damages = {
        "INSERT INTO {} SELECT * FROM {} LIMIT 1": DAY,
        "INSERT INTO {} SELECT * REPLACE (feature_date - 1 AS feature_date, 'x' AS user_id) FROM {} LIMIT 1": DAY,
        "TRUNCATE TABLE {}": DAY,
        "ALTER TABLE {} UPDATE ml_features = '{{}}' WHERE cityHash64(user_id) % 50 = 0": DAY,
        # This day is there, and gets its ml_features alone: each of its rows has to come back.
        "ALTER TABLE {} DELETE WHERE cityHash64(user_id) % 50 = 0": LAST,
    }
    for damage, day in damages.items():

        def damaged(client: Client, twin: str, *arguments: Any, damage: str = damage) -> None:
            fill(client, twin, *arguments)
            client.run(damage.format(twin, twin), settings={"mutations_sync": 2})

        monkeypatch.setattr(days, "_fill", damaged)
        with pytest.raises(DataError, match="not those of a whole day"):
            compute(demo, day)
        assert (content(demo), left_behind(demo)) == (before, set()), damage


def test_an_exchange_that_would_cost_another_day_a_row_is_refused(client: Client, source: str) -> None:
    table = twins.require_swappable(copied(client, source, "publisher"), "customer_user_features")
    with swap.scratch(client, "raypipe_twin_whole_of_a_test", table) as whole:
        swaps.link(client, whole, table.name, "202601")
        swap._require_the_same_neighbours(client, table.name, whole, "202601", LAST)
        for day in (LAST, date(2026, 1, 16)):
            user = client.value(f"SELECT min(user_id) FROM {whole} WHERE feature_date = '{day}'")
            gone = f"ALTER TABLE {whole} DELETE WHERE feature_date = '{day}' AND user_id = '{user}'"
            client.run(gone, settings={"mutations_sync": 2})
            if day == LAST:
                # The day that is exchanged may lose what it will.
                swap._require_the_same_neighbours(client, table.name, whole, "202601", LAST)
                continue
            with pytest.raises(DataError, match="other days in the partition of 2026-01-31 would change"):
                swap._require_the_same_neighbours(client, table.name, whole, "202601", LAST)


def test_an_exchange_looks_at_the_other_days_before_its_swap(
    client: Client, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monthly, delete = copied(client, source, "publisher"), mutations.delete
    before = content(monthly)
    monkeypatch.setattr(mutations, "delete", lambda client, table, *_: delete(client, table, "1"))
    with pytest.raises(DataError, match="other days in the partition of 2026-01-31 would change"):
        compute(monthly, LAST, replace=True)
    assert content(monthly) == before


@pytest.mark.parametrize("day", [date(2025, 12, 2), date(2026, 2, 1)])
def test_a_day_that_the_sessions_do_not_reach_is_refused_with_those_they_do(demo: Client, day: date) -> None:
    with pytest.raises(UsageError, match="2025-12-03 to 2026-01-31"):
        compute(demo, day)
    assert left_behind(demo) == set()


def test_a_range_with_a_day_without_sessions_builds_none_of_its_days(demo: Client) -> None:
    days = "SELECT count() FROM customer_user_features WHERE feature_date = '2026-01-30'"
    assert demo.value(days) == 0
    with pytest.raises(UsageError, match="of 2026-02-01 cannot be computed"):
        compute(demo, date(2026, 2, 1), first=date(2026, 1, 30))
    assert demo.value(days) == 0


def test_a_day_that_is_not_over_is_refused(demo: Client) -> None:
    with pytest.raises(UsageError, match="has not ended"):
        compute(demo, LAST, run_at=datetime(2026, 1, 31, 23, 59, tzinfo=UTC))
    with pytest.raises(UsageError, match="after the last"):
        compute(demo, DAY, first=LAST)


def test_the_latest_day_is_the_newest_with_sessions_that_is_over(demo: Client) -> None:
    def latest(at: datetime) -> date:
        return compute(demo, None, run_at=at).days[0].date

    assert latest(RUN_AT) == LAST
    assert latest(datetime(2026, 1, 31, 12, tzinfo=UTC)) == date(2026, 1, 30)


def documented_rows(client: Client) -> list[Row]:
    return rows_of(client, f"{documentation.DOCUMENTED} FINAL", f"model_id = '{documentation.MODEL_ID}'")


def names_in(features: Mapping[str, Any]) -> set[str]:
    return {*features, *(f"{family}.{name}" for family in MAPS for name in features[family])}


def test_every_feature_is_documented_once_with_its_range(computed: Computed) -> None:
    demo, outcome = computed
    rows = documented_rows(demo)
    found = list(features_of(demo).values())
    assert Counter(row["feature_name"] for row in rows) == Counter(names_in(found[0]))
    assert outcome.features == len(rows)
    assert all(row["description"] and row["feature_data_type"] for row in rows)
    (row,) = [row for row in rows if row["feature_name"] == "engagement_trend"]
    values = [features["engagement_trend"] for features in found if features["engagement_trend"] is not None]
    assert (row["min_value"], row["max_value"]) == (pytest.approx(min(values)), pytest.approx(max(values)))
    assert row["mean_value"] == pytest.approx(fmean(values), rel=1e-5)


def test_documentation_keeps_an_event_type_of_other_days_and_its_rank(demo: Client) -> None:
    compute(demo)
    before = {row["feature_name"]: row["feature_rank"] for row in documented_rows(demo)}
    demo.run(
        "INSERT INTO customer_events SELECT * REPLACE('a_new_type' AS event_type) FROM customer_events AS e"
        " WHERE e.event_type = 'search'"
    )
    demo.run("DELETE FROM customer_events WHERE event_type = 'search'")
    compute(demo, LAST, run_at=RUN_AT + timedelta(seconds=5))
    rows = documented_rows(demo)
    assert {row["feature_name"]: row["feature_rank"] for row in rows} == {
        **before,
        "events_by_type.a_new_type": max(before.values()) + 1,
    }
    assert len(rows) == len({row["feature_name"] for row in rows})


def test_a_features_query_may_read_them_through_the_contract(demo: Client) -> None:
    compute(demo, LAST)
    sql = load(shipped() / "sql" / "features" / "reading.sql").render(slice="1")
    names = [
        "total_sessions",
        "articles_viewed",
        "avg_article_engagement",
        "unique_authors_followed",
        "categories_engaged",
        "content_events_trend",
        "sessions_weighted",
        "sessions_trend",
        "engagement_trend",
        "searches",
        "newsletter_signups",
    ]
    keys = ("company_id", "brand_id", "user_id")
    declared = [Feature(name=name) for name in names]
    contract = freeze(demo, declared, keys, (), sql, [{"date": LAST}], "reading.sql")
    read = demo.table(contract.select(sql), {"date": LAST})
    x = matrix(read.column(MATRIX), len(contract.columns))
    found = features_of(demo, LAST)
    assert x.shape == (len(found), len(names))
    for row, key in zip(x, zip(*(read.column(name).to_pylist() for name in keys), strict=True), strict=True):
        features = found[key]
        assert row[1] == features["articles_viewed"]
        assert row[9] == features["events_by_type"]["search"]
        engagement = features["avg_article_engagement"]
        assert row[2] == pytest.approx(engagement) if engagement is not None else row[2] != row[2]


def test_a_snapshot_without_ml_features_reads_as_missing_values(demo: Client) -> None:
    sql = load(shipped() / "sql" / "features" / "reading.sql").render(slice="1")
    assert demo.rows(f"SELECT DISTINCT articles_viewed, searches FROM ({sql})", {"date": LAST}) == [(None, None)]


def said(client: Client, *arguments: str) -> Any:
    environment = {"RAYPIPE_URL": str(client.endpoint)}
    if client.endpoint.password_file:
        environment["RAYPIPE_PASSWORD_FILE"] = client.endpoint.password_file
    return CliRunner().invoke(app, ["features", *arguments], env=environment)


def test_the_command_says_as_json_what_its_page_shows(demo: Client) -> None:
    result = said(demo, "--date", "latest", "--from", "2026-01-30", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    page = (Path(__file__).parents[3] / "docs" / "commands.md").read_text()
    documented = json.loads(page.partition("### `raypipe features`")[2].partition("```json\n")[2].partition("```")[0])
    assert found.keys() == documented.keys()
    assert all(day.keys() == documented["days"][0].keys() for day in found["days"])
    assert [(day["date"], day["status"]) for day in found["days"]] == [
        ("2026-01-30", "computed"),
        ("2026-01-31", "filled"),
    ]


def test_a_backfill_computes_days_as_far_back_as_the_sessions_go(demo: Client) -> None:
    result = said(demo, "--date", "2025-12-06", "--backfill", "30", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["days"]
    assert [day["date"] for day in found] == ["2025-12-03", "2025-12-04", "2025-12-05", "2025-12-06"]
    assert said(demo, "--backfill", "3", "--from", "2026-01-01").exit_code == 2


def test_the_command_shows_a_table_and_refuses_with_a_code(demo: Client) -> None:
    result = said(demo)
    assert (result.exit_code, "filled" in result.stdout) == (0, True), result.stderr
    assert said(demo, "--date", "2026-02-01").exit_code == 2
    assert said(demo, "--date", "2026-01-31", "--from", "2026-02-01").exit_code == 2
