"""Test recommendations and click scores: complete, with names, calibrated and repeatable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from raypipe import night
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import load
from raypipe.config.load import Loaded, load_pipeline
from raypipe.data.slices import unsliced
from raypipe.fit import fit
from raypipe.fit.fit import FitResult
from raypipe.project import shipped
from raypipe.registry import models
from raypipe.registry.aliases import CHAMPION
from raypipe.score import runs, score
from raypipe.score.score import ScoreResult
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher
from tests.reach import require_within_reach

LAST = PUBLISHER_LAST_DATE
EARLIER = LAST - timedelta(days=15)
KEYS = "company_id, brand_id, user_id"
LISTED = f"SELECT {KEYS}, article_id FROM customer_recommendations WHERE model_version = {{version:String}}"


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


def pipeline(publisher: FittedPublisher, name: str) -> Loaded:
    overrides = [*publisher.overrides, "evaluate.bootstrap=50", "score.slice_rows=5000"]
    return load_pipeline(name, shipped() / "configs", overrides, environ={})


@dataclass(frozen=True)
class Nights:
    """Recommendations of an earlier date and of the last one, which was run twice, and the clicks on those."""

    publisher: FittedPublisher
    first: ScoreResult
    again: ScoreResult
    version: FitResult
    clicks: FitResult
    clicked: ScoreResult

    @property
    def bound(self) -> dict[str, object]:
        return {"version": self.again.manifest.model_version, "date": LAST}


@pytest.fixture(scope="module")
def nights(fitted_publisher: FittedPublisher) -> Nights:
    loaded = pipeline(fitted_publisher, "recommendation")
    found = [night.run_pipeline(fitted_publisher.endpoint, loaded, day, silent) for day in (EARLIER, LAST, LAST)]
    # A date that is run again is not fitted again.
    version = found[1].fit
    assert version is not None
    clicks = pipeline(fitted_publisher, "clicks")
    fitted = fit.fit(fitted_publisher.endpoint, clicks, None, silent)
    scored = score.score(fitted_publisher.endpoint, clicks, LAST, "latest", silent)
    return Nights(fitted_publisher, found[1].score, found[2].score, version, fitted, scored)


@pytest.fixture
def reader(nights: Nights) -> Iterator[Client]:
    with Client(nights.publisher.endpoint) as client:
        yield client


def test_every_reader_has_one_list_with_ranks_from_one_and_falling_scores(nights: Nights, reader: Client) -> None:
    ((missing, extra, joined, distinct, unordered),) = reader.rows(
        f"""
        SELECT countIf(r.n = 0), countIf(u.known = 0), count(), uniqExact({KEYS}), countIf(r.n > 0 AND NOT r.ordered)
        FROM (SELECT {KEYS}, 1 AS known FROM customer_user_features WHERE feature_date = {{date:Date}}) AS u
        FULL JOIN
        (
            SELECT {KEYS}, count() AS n, arraySort(groupArray(rank_position)) = range(1, n + 1)
                AND arrayReverseSort(groupArray(recommendation_score))
                    = arrayMap(x -> x.2, arraySort(groupArray((rank_position, recommendation_score)))) AS ordered
            FROM customer_recommendations WHERE model_version = {{version:String}} GROUP BY {KEYS}
        ) AS r USING ({KEYS})
        """,
        nights.bound,
    )
    assert (missing, extra, unordered) == (0, 0, 0)
    assert joined == distinct == nights.again.outcome.run.rows_published


def test_what_is_recommended_is_published_recent_unread_and_of_the_brand(nights: Nights, reader: Client) -> None:
    ((listed, wrong),) = reader.rows(
        f"""
        WITH toDateTime({{date:Date}} + 1, 'UTC') AS day_end
        SELECT count(), countIf(a.id = '' OR a.brand != brand_id OR a.publish_time >= day_end
            OR a.publish_time < day_end - INTERVAL 14 DAY)
        FROM ({LISTED}) AS l
        ANY LEFT JOIN (SELECT article_id AS id, brand_id AS brand, publish_time FROM editorial_articles FINAL
            WHERE status = 'published') AS a ON a.id = l.article_id
        """,
        nights.bound,
    )
    assert listed > nights.again.outcome.run.rows_published
    assert wrong == 0
    read = "SELECT brand_id, user_id, article_id FROM editorial_content_events WHERE event_timestamp < {date:Date} + 1"
    again = f"SELECT count() FROM ({LISTED}) WHERE (brand_id, user_id, article_id) IN ({read})"
    assert reader.value(again, nights.bound) == 0


def test_who_read_nothing_gets_what_is_popular_and_nobody_else_does(nights: Nights, reader: Client) -> None:
    ((cold, of_these, other),) = reader.rows(
        f"""
        SELECT uniqExactIf(({KEYS}), h.n = 0), uniqExactIf(({KEYS}), h.n = 0 AND recommendation_type = 'popular'),
            countIf(h.n > 0 AND recommendation_type != 'personal')
        FROM (SELECT * FROM customer_recommendations WHERE model_version = {{version:String}}) AS l
        ANY LEFT JOIN (
            SELECT brand_id, user_id, count() AS n FROM editorial_content_events
            WHERE event_timestamp >= {{date:Date}} - 29 AND event_timestamp < {{date:Date}} + 1 AND user_id != ''
                AND event_type IN ('view', 'click', 'share') AND article_id IN
                    (SELECT article_id FROM editorial_articles FINAL WHERE status = 'published')
            GROUP BY brand_id, user_id
        ) AS h ON h.brand_id = l.brand_id AND h.user_id = l.user_id
        """,
        nights.bound,
    )
    assert cold == of_these > 0
    assert other == 0


def test_a_date_that_is_run_again_replaces_its_lists_and_leaves_other_dates(nights: Nights, reader: Client) -> None:
    times = "SELECT DISTINCT toUnixTimestamp(created_at) FROM customer_recommendations"
    found = {seconds for (seconds,) in reader.rows(times)}
    first, again = (int(result.manifest.run_at.timestamp()) for result in (nights.first, nights.again))
    assert first not in found
    assert again in found
    assert len(found) == 2
    # In one second or not, two runs never share the time by which their rows are told apart.
    assert nights.first.manifest.run_at < nights.again.manifest.run_at


def test_recommendations_are_better_than_what_is_popular(nights: Nights) -> None:
    fitted = nights.version.fitted
    popular = fitted.baselines["popularity"]
    for metric in ("precision", "ndcg"):
        assert fitted.test[metric]["low"] > popular[metric]["high"]
        assert fitted.test[metric]["value"] < 0.99
    assert fitted.decision.promote


def test_neither_lists_nor_clicks_are_better_than_what_can_be_reached(nights: Nights, reader: Client) -> None:
    lists, clicks = (pipeline(nights.publisher, name) for name in ("recommendation", "clicks"))
    require_within_reach(reader, lists, nights.version.fitted.test, "precision", "ndcg")
    require_within_reach(reader, clicks, nights.clicks.fitted.test, "auc")


def test_the_lists_report_names_articles_and_people(nights: Nights, reader: Client) -> None:
    loaded = pipeline(nights.publisher, "recommendation")
    names, report = reader.named_rows(
        load(loaded.sql("recommendation/report.sql")).text, {"run_id": nights.again.manifest.run_id, "date": LAST}
    )
    assert len(report) == reader.value(f"SELECT count() FROM ({LISTED})", nights.bound)
    for name in ("brand_name", "title", "category_name", "device_type_name", "country_name"):
        assert all(row[names.index(name)] for row in report), name


def test_the_recommended_pairs_are_scored_once_and_no_other(nights: Nights, reader: Client) -> None:
    scored = (
        "SELECT company_id, brand_id, ids[1] AS user_id, ids[2] AS article_id"
        " FROM (SELECT *, splitByChar('/', entity_id) AS ids FROM ml_model_predictions"
        " WHERE batch_id = {run:String} AND prediction_date = {date:Date})"
    )
    ((missing, extra, joined, distinct),) = reader.rows(
        f"""
        SELECT countIf(isNull(p.article_id)), countIf(isNull(l.article_id)), count(),
            uniqExact(l.user_id, l.brand_id, l.article_id)
        FROM ({LISTED}) AS l FULL JOIN ({scored}) AS p USING ({KEYS}, article_id)
        """,
        {**nights.bound, "run": nights.clicked.manifest.run_id},
        {"join_use_nulls": 1},
    )
    assert (missing, extra) == (0, 0)
    assert joined == distinct == nights.clicked.outcome.run.rows_published
    assert nights.clicked.outcome.run.status == runs.PUBLISHED


def test_clicks_are_judged_honestly(nights: Nights, reader: Client) -> None:
    fitted, decision = nights.clicks.fitted, nights.clicks.fitted.decision
    strongest = max(rule["auc"]["value"] for rule in fitted.baselines.values() if "auc" in rule)
    assert 0.5 < fitted.test["auc"]["value"] < 0.99
    assert decision.difference == pytest.approx(fitted.test["auc"]["value"] - strongest)
    # Only a version that is worse by more than noise is kept back.
    assert decision.high is not None
    assert decision.promote == (decision.high >= 0)
    assert (models.find_alias(reader, "clicks", CHAMPION) is not None) == decision.promote
    assert not [text for text in fitted.warnings if "alone" in text]


def test_the_days_of_the_label_say_nothing_to_the_features(nights: Nights, reader: Client) -> None:
    features = unsliced(load(pipeline(nights.publisher, "clicks").sql("clicks/features.sql")).text)
    order = f"ORDER BY {KEYS}, article_id"
    values = {"date": EARLIER, "timezone": "UTC", "days": 30}
    asked = reader.table(f"SELECT * FROM ({features}) {order}", {**values, "until": EARLIER})
    pairs = "SELECT company_id, brand_id, user_id, article_id FROM customer_recommendations"
    learned = reader.table(
        f"SELECT * FROM ({features}) WHERE ({KEYS}, article_id) IN ({pairs}) {order}",
        {**values, "until": EARLIER + timedelta(days=7)},
    )
    seen = reader.value(f"SELECT count() FROM ({features})", {**values, "until": EARLIER + timedelta(days=7)})
    assert asked.num_rows > 1_000
    assert seen > asked.num_rows
    assert learned.equals(asked)


def test_the_clicks_report_names_articles_and_people(nights: Nights, reader: Client) -> None:
    loaded = pipeline(nights.publisher, "clicks")
    names, report = reader.named_rows(
        load(loaded.sql("clicks/report.sql")).text, {"run_id": nights.clicked.manifest.run_id, "date": LAST}
    )
    assert len(report) == nights.clicked.outcome.run.rows_published
    for name in ("brand_name", "title", "category_name", "device_type_name", "country_name"):
        assert all(row[names.index(name)] for row in report), name
