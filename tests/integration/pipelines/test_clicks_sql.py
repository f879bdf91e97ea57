"""Test the SQL of the clicks pipeline: lists with their positions, what was seen, and what was clicked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import load
from raypipe.data.slices import unsliced
from raypipe.project import shipped

# Recommendations expire half a year after they were written.
DAY = datetime.now(UTC).date() - timedelta(days=30)
UNTIL = DAY + timedelta(days=7)
LEARN = {"date": DAY, "until": UNTIL, "timezone": "UTC", "days": 30}
SCORE = {**LEARN, "until": DAY}
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
STARTED = datetime(DAY.year, DAY.month, DAY.day, 3, tzinfo=UTC) + timedelta(days=1)
# Of another run of the day, which was not published.
REPLACED = STARTED + timedelta(hours=1)
READER = {"company_id": "c", "brand_id": "b", "user_id": "u"}


def at(days: int) -> datetime:
    return datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC) + timedelta(days=days)


@pytest.fixture
def publisher(client: Client) -> Client:
    migrate(client)
    client.run(
        "INSERT INTO customer_user_features (company_id, brand_id, user_id, feature_date)"
        " VALUES ('c', 'b', 'u', {day:Date})",
        {"day": DAY},
    )
    client.run(
        "INSERT INTO editorial_articles (article_id, status, publish_date, publish_time)"
        " SELECT arrayJoin(['first', 'second', 'third', 'fourth', 'found']), 'published', {day:Date},"
        " toDateTime({day:Date}, 'UTC')",
        {"day": DAY},
    )
    for started, status in ((STARTED, "PUBLISHED"), (REPLACED, "SUPERSEDED")):
        client.run(
            "INSERT INTO raypipe_runs (run_id, pipeline, date, status, started_at, model_version)"
            " VALUES ({status:String}, 'recommendation', {day:Date}, {status:String},"
            " {started:DateTime64(6, 'UTC')}, 'v')",
            {"status": status, "day": DAY, "started": started},
        )
    listed(client, "first", 1)
    listed(client, "second", 2)
    listed(client, "third", 3, shown=1)
    listed(client, "fourth", 4, shown=1, clicked=at(3))
    listed(client, "found", 1, created=REPLACED, shown=1)
    return client


def listed(
    client: Client,
    article: str,
    position: int,
    *,
    created: datetime = STARTED,
    shown: int = 0,
    clicked: datetime = NEVER,
) -> None:
    row = {"article_id": article, "rank_position": position, "model_version": "v", "created_at": created}
    known = {"was_shown": shown, "was_clicked": int(clicked != NEVER), "clicked_at": clicked}
    rest = {"viewed_at": NEVER, "expires_at": at(8)}
    client.insert_rows("customer_recommendations", [{**READER, **row, **known, **rest}])


def event(client: Client, kind: str, article: str, when: datetime) -> None:
    client.run(
        "INSERT INTO customer_events (event_id, company_id, brand_id, user_id, event_type, article_id, event_timestamp)"
        " VALUES (generateUUIDv4(), 'c', 'b', 'u', {kind:String}, {article:String}, {at:DateTime})",
        {"kind": kind, "article": article, "at": when},
    )


def sql(name: str) -> str:
    return unsliced(load(shipped() / "sql" / "clicks" / f"{name}.sql").text)


def positions(client: Client, values: dict[str, object]) -> dict[str, int | None]:
    rows = client.rows(f"SELECT article_id, list_position FROM ({sql('features')})", values)
    assert len(rows) == len({article for article, _ in rows})
    return dict(rows)


def labels(client: Client) -> dict[str, int]:
    return dict(client.rows(f"SELECT article_id, label FROM ({sql('labels')})", LEARN))


LISTED = {"first": 1, "second": 2, "third": 3, "fourth": 4}


def test_a_list_is_scored_with_its_positions(publisher: Client) -> None:
    event(publisher, "article_view", "found", at(2))
    assert positions(publisher, SCORE) == LISTED


def test_a_fit_reads_positions_where_the_article_was_in_the_list(publisher: Client) -> None:
    for article in ("second", "found"):
        event(publisher, "article_view", article, at(2))
    assert positions(publisher, LEARN) == {**LISTED, "found": None}


def test_what_was_seen_or_shown_has_a_label(publisher: Client) -> None:
    event(publisher, "article_view", "second", at(2))
    event(publisher, "article_click", "second", at(2))
    event(publisher, "article_view", "found", at(2))
    event(publisher, "article_click", "first", at(2))
    # The click without a view is of no article that was seen, and the list that was replaced was not shown.
    assert labels(publisher) == {"second": 1, "found": 0, "third": 0, "fourth": 1}


def test_a_click_after_the_days_of_the_label_does_not_count(publisher: Client) -> None:
    listed(publisher, "first", 1, shown=1, clicked=at(8))
    listed(publisher, "second", 2, shown=1, clicked=at(7))
    assert {name: labels(publisher)[name] for name in ("first", "second")} == {"first": 0, "second": 1}
