"""Test the SQL of recommendation: interactions, catalogue and histories as of a day, and a model on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import load
from raypipe.project import shipped
from raypipe.recommend import catalogue as catalogues
from raypipe.recommend import interactions
from raypipe.recommend.catalogue import Catalogue
from raypipe.recommend.evaluation import Holdout, evaluate, gain, next_reads
from raypipe.recommend.histories import INPUTS, Users
from raypipe.recommend.interactions import DAY_SECONDS, numbers
from raypipe.recommend.parameters import CONTENT_FIELDS, EVENT_WEIGHTS, HybridParameters
from raypipe.recommend.ranker import Ranker
from raypipe.recommend.recommender import Recommender, fit_recommender
from tests.recommending import leave_last_out, popularity, weigh

LAST = date(2026, 1, 31)
KEYS = ("company_id", "brand_id", "user_id")
PARAMS = HybridParameters()
POPULAR = HybridParameters(als=0, content=0, popularity=1, freshness=0)
NEWEST = HybridParameters(als=0, content=0, popularity=0, freshness=1)
VALUES = {
    "date": LAST,
    "days": 30,
    "event_types": list(EVENT_WEIGHTS),
    "event_weights": list(EVENT_WEIGHTS.values()),
    "half_life_days": PARAMS.half_life_days,
    "popularity_half_life_days": 0.0,
    "read_seconds": 0.0,
    "timezone": "UTC",
    "longest": 200,
}


def end_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def query(client: Client, name: str, *, slice_predicate: str = "1", **changes: Any) -> pa.Table:
    statement = load(shipped() / "sql" / "recommendation" / f"{name}.sql")
    values = {**VALUES, **changes}
    bound = {parameter: values[parameter] for parameter in statement.parameters}
    return client.table(statement.render(slice=slice_predicate), bound)


@pytest.fixture(scope="module")
def audience(publisher: Endpoint) -> Iterator[Client]:
    with Client(publisher) as client:
        yield client


@pytest.fixture
def tables(client: Client) -> Client:
    """Empty tables in which rows that replace one another are not merged away."""
    migrate(client)
    for table in ("brands", "editorial_articles", "editorial_article_performance"):
        client.run(f"SYSTEM STOP MERGES {table}")
    return client


def pairs(table: pa.Table) -> dict[tuple[str, str, str], float]:
    columns = [table.column(name).to_pylist() for name in ("brand_id", "user_id", "article_id", "weight")]
    return {(brand, user, article): weight for brand, user, article, weight in zip(*columns, strict=True)}


def test_a_weight_is_the_sum_of_its_decayed_events(audience: Client) -> None:
    some = "cityHash64(user_id) % 20 = 0 AND user_id != ''"
    events = audience.table(
        "SELECT brand_id, user_id, article_id, event_type, toUnixTimestamp(event_timestamp) AS at"
        f" FROM editorial_content_events WHERE {some}"
        f" AND event_timestamp >= toDateTime('{LAST}', 'UTC') - INTERVAL {VALUES['days'] - 1} DAY"
    )
    types, times = events.column("event_type"), events.column("at")
    counted = weigh(types, times, EVENT_WEIGHTS, PARAMS.half_life_days, end_of(LAST))
    expected = (
        events.append_column("weight", pa.array(counted))
        .group_by(["brand_id", "user_id", "article_id"])
        .aggregate([("weight", "sum")])
        .rename_columns(["brand_id", "user_id", "article_id", "weight"])
    )
    users = set(expected.column("user_id").to_pylist())
    found = {key: weight for key, weight in pairs(query(audience, "interactions")).items() if key[1] in users}
    assert len(found) > 1_000
    assert found == pytest.approx(pairs(expected), rel=1e-5)


def test_an_entity_and_its_article_stand_once_and_nobody_is_anonymous(audience: Client) -> None:
    found = query(audience, "interactions")
    assert audience.value("SELECT count() FROM editorial_content_events WHERE user_id = ''") > 0
    assert found.group_by([*KEYS, "article_id"]).aggregate([]).num_rows == found.num_rows
    assert not pc.any(pc.equal(found.column("user_id"), "")).as_py()
    by_user = found.group_by(["user_id"]).aggregate([("brand_id", "count_distinct")])
    assert pc.max(by_user.column("brand_id_count_distinct")).as_py() == 2


def test_nothing_after_the_date_is_read(audience: Client) -> None:
    day = LAST - timedelta(days=5)
    end = end_of(day).timestamp()
    found = query(audience, "interactions", date=day)
    assert end - DAY_SECONDS <= interactions.seconds_of(found.column("last_interaction_at")).max() < end
    articles = query(audience, "articles", date=day)
    assert end - DAY_SECONDS <= interactions.seconds_of(articles.column("published_at")).max() < end
    later = query(audience, "articles")
    assert pc.sum(articles.column("popularity")).as_py() < pc.sum(later.column("popularity")).as_py()


def test_a_day_ends_in_the_zone_that_is_asked_for(tables: Client) -> None:
    tables.run("INSERT INTO brands (brand_id, company_id) VALUES ('b', 'c')")
    tables.run(
        "INSERT INTO editorial_content_events (event_id, article_id, brand_id, user_id, event_type, event_timestamp)"
        " VALUES ('e', 'a', 'b', 'u', 'view', toDateTime('2026-01-31 23:30:00', 'UTC'))"
    )
    assert query(tables, "interactions").num_rows == 1
    assert query(tables, "interactions", timezone="Europe/Paris").num_rows == 0
    assert query(tables, "interactions", timezone="Europe/Paris", date=LAST + timedelta(days=1)).num_rows == 1


def article(client: Client, name: str, status: str = "published", *, author: str = "ann", version: int = 1) -> None:
    client.run(
        "INSERT INTO editorial_articles (article_id, company_id, brand_id, primary_author_id, primary_category_id,"
        " publish_time, publish_date, status, updated_at) VALUES ({name:String}, 'c', 'b', {author:String}, 'news',"
        " toDateTime('2026-01-30 12:00:00', 'UTC'), '2026-01-30', {status:String}, now() + {version:UInt8})",
        {"name": name, "author": author, "status": status, "version": version},
    )


def test_an_article_counts_by_its_newest_version(tables: Client) -> None:
    article(tables, "revised", "draft", version=1)
    article(tables, "revised", version=2)
    article(tables, "withdrawn", version=1)
    article(tables, "withdrawn", "archived", version=2)
    article(tables, "anonymous", author="")
    assert tables.value("SELECT count() FROM editorial_articles") == 5
    found = query(tables, "articles")
    assert found.column("article_id").to_pylist() == ["anonymous", "revised"]
    assert found.column("author_id").to_pylist() == ["", "ann"]
    assert len(catalogues.read(found, content=CONTENT_FIELDS, width=8)) == 2


def test_the_performance_of_a_key_is_put_together_before_it_is_weighed(tables: Client) -> None:
    article(tables, "read")
    article(tables, "unread")
    for views, score in ((300, 80), (100, 20)):
        tables.run(
            "INSERT INTO editorial_article_performance (article_id, brand_id, performance_date, total_views,"
            " engagement_score) VALUES ('read', 'b', '2026-01-31', {views:UInt32}, {score:Float32})",
            {"views": views, "score": score},
        )
    assert tables.value("SELECT count() FROM editorial_article_performance") == 2
    found = {row["article_id"]: row for row in query(tables, "articles").to_pylist()}
    assert (found["read"]["popularity"], found["read"]["engagement_band"]) == (400, "2")
    assert (found["unread"]["popularity"], found["unread"]["engagement_band"]) == (0, "")


def test_a_title_that_is_clicked_and_left_is_less_popular_than_an_article_that_is_read(tables: Client) -> None:
    for name, views, clicks, seconds in (("bait", 100, 90, 6), ("read", 60, 5, 90), ("unmeasured", 50, 0, 0)):
        article(tables, name)
        tables.run(
            "INSERT INTO editorial_article_performance (article_id, brand_id, performance_date, total_views,"
            " total_clicks, avg_time_on_page_sec) VALUES ({name:String}, 'b', '2026-01-31', {views:UInt32},"
            " {clicks:UInt32}, {seconds:UInt32})",
            {"name": name, "views": views, "clicks": clicks, "seconds": seconds},
        )
    found = {row["article_id"]: row["popularity"] for row in query(tables, "articles", read_seconds=30.0).to_pylist()}
    assert found == {"bait": 20, "read": 60, "unmeasured": 50}
    assert {row["popularity"] for row in query(tables, "articles").to_pylist()} == {100, 60, 50}


def test_every_user_of_the_snapshot_has_one_history_and_some_have_none(audience: Client) -> None:
    found = query(audience, "features")
    snapshot = audience.table(f"SELECT {', '.join(KEYS)} FROM customer_user_features WHERE feature_date = '{LAST}'")
    order = [(name, "ascending") for name in KEYS]
    assert found.select(KEYS).sort_by(order).equals(snapshot.sort_by(order).cast(found.select(KEYS).schema))
    lengths = pc.list_value_length(found.column("read_articles"))
    assert pc.min(lengths).as_py() == 0
    assert pc.max(lengths).as_py() > 20


def unnested(histories: pa.Table) -> dict[tuple[str, str, str], float]:
    rows = histories.select(["brand_id", "user_id", "read_articles", "read_weights"]).to_pylist()
    return {
        (row["brand_id"], row["user_id"], article): weight
        for row in rows
        for article, weight in zip(row["read_articles"], row["read_weights"], strict=True)
    }


def test_histories_hold_what_the_model_was_fitted_on(audience: Client) -> None:
    read = pairs(query(audience, "interactions"))
    assert unnested(query(audience, "features")) == pytest.approx(read, rel=1e-6)


def test_slices_hold_each_history_once(audience: Client) -> None:
    whole = query(audience, "features")
    halves = [query(audience, "features", slice_predicate=f"{no} (user_id < '8')") for no in ("", "NOT")]
    assert all(half.num_rows for half in halves)
    assert unnested(pa.concat_tables(halves)) == unnested(whole)


def test_a_long_history_keeps_its_latest(audience: Client) -> None:
    longest = query(audience, "features", longest=3)
    lengths = pc.list_value_length(longest.column("read_articles"))
    assert pc.max(lengths).as_py() == 3
    read = query(audience, "interactions")
    latest = read.group_by(["brand_id", "user_id"]).aggregate([("last_interaction_at", "max")])
    times = {(row["brand_id"], row["user_id"]): row["last_interaction_at_max"] for row in latest.to_pylist()}
    seen = {
        (row["brand_id"], row["user_id"], row["article_id"]): row["last_interaction_at"] for row in read.to_pylist()
    }
    for row in longest.to_pylist():
        if row["read_articles"]:
            assert (
                seen[row["brand_id"], row["user_id"], row["read_articles"][0]] == times[row["brand_id"], row["user_id"]]
            )


def parts(client: Client, day: date) -> tuple[Holdout, Catalogue, Users]:
    """What was known at the end of a day, what its readers read in the three days after it, and those readers."""
    since = end_of(day)
    articles = query(client, "articles", date=day, popularity_half_life_days=PARAMS.popularity_half_life_days)
    catalogue = catalogues.read(articles, content=CONTENT_FIELDS, width=PARAMS.content_width)
    tables = [query(client, "interactions", date=until) for until in (day, day + timedelta(days=3))]
    before, after = interactions.read_together(tables, catalogue.ids, keys=KEYS)
    held = next_reads(before, after, since=int(since.timestamp()))
    return held, catalogue, users_of(held, catalogue)


def users_of(held: Holdout, catalogue: Catalogue) -> Users:
    """The users of an evaluation, known by their training histories alone."""
    brands = np.zeros(held.train.user_count, np.int64)
    brands[held.train.users] = catalogue.brands[held.train.items]
    matrix = held.train.matrix()[held.users]
    ends = pa.array(matrix.indptr, pa.int32())
    return Users(
        catalogue.brand_ids.take(pa.array(brands[held.users])),
        pa.array([""] * len(held.users)),
        pa.ListArray.from_arrays(ends, pa.array(matrix.indices, pa.int32())),
        pa.ListArray.from_arrays(ends, pa.array(matrix.data, pa.float32())),
    )


def lists(model: Recommender, params: HybridParameters, at: datetime, users: Users) -> Any:
    found = Ranker(replace(model, params=params), at=at).rank(users)
    return found.lists(len(users.brand_ids), 10)


def quality(lists: Any, held: Holdout) -> Mapping[str, Any]:
    return evaluate(lists, held, held.train.item_count)


def gained(lists: Any, baseline: Any, held: Holdout, metric: str) -> float:
    """The lower bound of the gain."""
    low = gain(lists, baseline, held, metric=metric)[1]
    assert low is not None
    return low


def weights() -> list[HybridParameters]:
    return [
        replace(PARAMS, als=als, content=content, freshness=freshness)
        for als, content in ((0.0, 1.0), (0.5, 1.0), (1.0, 0.5))
        for freshness in (0.0, 3.0)
    ]


def test_what_is_read_next_is_found_better_than_by_popularity(audience: Client) -> None:
    # The weights are chosen on three days, and judged on the three after those.
    day, earlier = LAST - timedelta(days=3), LAST - timedelta(days=6)
    held, catalogue, readers = parts(audience, earlier)
    model = fit_recommender(held.train, catalogue, PARAMS, threads=1)
    tried = [
        (quality(lists(model, params, end_of(earlier), readers), held)["ndcg"]["value"], params) for params in weights()
    ]
    chosen = max(tried, key=lambda result: result[0])[1]
    held, catalogue, readers = parts(audience, day)
    model = fit_recommender(held.train, catalogue, PARAMS, threads=1)
    hybrid, popular, newest = (lists(model, params, end_of(day), readers) for params in (chosen, POPULAR, NEWEST))
    assert gained(hybrid, popular, held, "precision") > 0
    assert gained(hybrid, popular, held, "ndcg") > 0
    assert quality(hybrid, held)["ndcg"]["value"] < 0.99
    assert gained(hybrid, newest, held, "ndcg") > 0


def test_a_last_article_that_was_left_out_is_found_better_than_by_popularity(audience: Client) -> None:
    at = end_of(LAST)
    articles = query(audience, "articles")
    pairs = interactions.read(
        query(audience, "interactions"), articles.column("article_id").combine_chunks(), keys=KEYS
    )
    # Those of the last day: what is recommended as of its end would have come too late for earlier ones.
    held = leave_last_out(pairs, since=int(at.timestamp()) - DAY_SECONDS)
    # What the tables count holds the articles that were left out as well.
    fields = {name: weight for name, weight in CONTENT_FIELDS.items() if name != "engagement_band"}
    used = popularity(held.train, at, PARAMS.popularity_half_life_days)
    articles = articles.set_column(articles.column_names.index("popularity"), "popularity", used)
    catalogue = catalogues.read(articles, content=fields, width=PARAMS.content_width)
    model, readers = fit_recommender(held.train, catalogue, PARAMS, threads=1), users_of(held, catalogue)
    hybrid, popular = (lists(model, params, at, readers) for params in (PARAMS, POPULAR))
    assert gained(hybrid, popular, held, "precision") > 0
    assert gained(hybrid, popular, held, "ndcg") > 0


def test_every_user_of_the_snapshot_gets_a_full_list_of_unread_articles(audience: Client) -> None:
    catalogue = catalogues.read(query(audience, "articles"), content=CONTENT_FIELDS, width=PARAMS.content_width)
    pairs = interactions.read(query(audience, "interactions"), catalogue.ids, keys=KEYS)
    histories = query(audience, "features")
    users = Users(*(histories.column(name).combine_chunks() for name in INPUTS))
    found = Ranker(fit_recommender(pairs, catalogue, PARAMS, threads=1), at=end_of(LAST)).rank(users)
    assert np.bincount(found.users, minlength=histories.num_rows).tolist() == [10] * histories.num_rows
    empty = numbers(pc.equal(pc.list_value_length(histories.column("read_articles")), 0), np.bool_)
    assert np.array_equal(np.unique(found.users[found.popular]), np.flatnonzero(empty))
    read = histories.column("read_articles").to_pylist()
    ids = catalogue.ids.to_pylist()
    assert not any(ids[item] in read[user] for user, item in zip(found.users, found.items, strict=True))
