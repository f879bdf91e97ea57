"""Test the SQL of the churn pipeline: label, population, published rows and report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import load
from raypipe.demo import build
from raypipe.demo.reachable import best_reachable
from raypipe.project import shipped

LAST = date(2026, 1, 31)
DAY = LAST - timedelta(days=30)
RUN_AT = datetime(2026, 2, 1, 3)
RUN = {
    "run_id": "churn_20260131_00000000",
    "pipeline": "churn",
    "model_id": "model",
    "model_version": "20260131.030000.abcdef",
    "entity_type": "user",
    "date": LAST,
    "run_at": RUN_AT,
}
FRAGMENTS = {
    "staging": "(SELECT * FROM staging)",
    "explanations": "`explanations`",
    "keys": "`company_id`, `brand_id`, `user_id`",
    "entity_id": "toString(`user_id`)",
    "company_id": "company_id",
    "brand_id": "brand_id",
    "level": "multiIf(score < 0.5, 'low', 'high')",
}


@pytest.fixture(scope="module")
def publisher_client(publisher: Endpoint) -> Iterator[Client]:
    with Client(publisher) as client:
        yield client


@pytest.fixture
def demo(client: Client) -> Client:
    """A small demo whose newest snapshot is staged with a score for everybody in the population."""
    migrate(client)
    for table in ("brands", "countries", "cities", "categories", "device_types", "operating_systems", "browsers"):
        client.run(f"SYSTEM STOP MERGES {table}")
    build(client, users=300, days=60, last_date=LAST)
    population = sql("churn/features.sql", slice="1")
    client.run(
        "CREATE TABLE staging ENGINE = MergeTree ORDER BY (company_id, brand_id, user_id) AS"
        " SELECT company_id, brand_id, user_id,"
        " days_since_last_session, total_sessions, avg_engagement_score, current_subscription_tier,"
        " toFloat32(cityHash64(user_id) % 1000 / 1000) AS score, toUInt32(0) AS slice, toUInt32(0) AS chunk"
        f" FROM ({population})",
        {"date": LAST},
    )
    client.run(
        "CREATE TABLE explanations ENGINE = MergeTree ORDER BY (company_id, brand_id, user_id) AS"
        " SELECT company_id, brand_id, user_id, concat('{\"of\":\"', user_id, '\"}') AS contributions"
        " FROM staging ORDER BY score DESC LIMIT 10"
    )
    return client


def sql(path: str, **fragments: str) -> str:
    return load(shipped() / "sql" / path).render(**fragments)


def publish(client: Client, target: str, path: str) -> None:
    query = sql(path, **FRAGMENTS)
    columns = ", ".join(row[0] for row in client.rows(f"DESCRIBE ({query})", RUN))
    client.run(f"INSERT INTO {target} ({columns}) {query}", RUN)


def until(day: date, days: int) -> dict[str, Any]:
    """Return the values that a pipeline's SQL binds for a snapshot and the days of its label."""
    return {"date": day, "until": day + timedelta(days=days), "timezone": "UTC"}


def labels(client: Client, day: date, slice_predicate: str = "1") -> dict[tuple[str, str, str], int]:
    rows = client.rows(sql("churn/labels.sql", slice=slice_predicate), until(day, 30))
    return {(company, brand, user): int(label) for company, brand, user, label in rows}


def session_days(client: Client) -> dict[tuple[str, str, str], set[date]]:
    days: dict[tuple[str, str, str], set[date]] = {}
    rows = client.rows("SELECT company_id, brand_id, user_id, toUnixTimestamp(session_start) FROM customer_sessions")
    for company, brand, user, start in rows:
        days.setdefault((company, brand, user), set()).add(datetime.fromtimestamp(start, UTC).date())
    return days


def area_under_curve(scored: list[tuple[float, int]]) -> float:
    """The probability that a random positive stands above a random negative (Mann and Whitney), ties halved."""
    by_score = sorted(scored)
    below = wins = 0.0
    position = 0
    while position < len(by_score):
        end = position
        while end < len(by_score) and by_score[end][0] == by_score[position][0]:
            end += 1
        positives = sum(label for _, label in by_score[position:end])
        negatives = end - position - positives
        wins += positives * (below + negatives / 2)
        below += negatives
        position = end
    return wins / (below * (len(scored) - below))


def test_a_label_is_no_session_in_the_thirty_days_after(publisher_client: Client) -> None:
    days = session_days(publisher_client)
    window = {DAY - timedelta(days=n) for n in range(30)}
    horizon = {DAY + timedelta(days=n) for n in range(1, 31)}
    wanted = {key: int(not seen & horizon) for key, seen in days.items() if seen & window}
    assert labels(publisher_client, DAY) == wanted


def test_labels_and_features_have_the_same_population(publisher_client: Client) -> None:
    features = publisher_client.rows(sql("churn/features.sql", slice="1"), {"date": DAY})
    assert {row[:3] for row in features} == labels(publisher_client, DAY).keys()
    assert len(features) == len(labels(publisher_client, DAY))


def test_a_slice_cuts_the_labels(publisher_client: Client) -> None:
    cut = "user_id < '8'"
    below = labels(publisher_client, DAY, cut)
    above = labels(publisher_client, DAY, f"NOT ({cut})")
    assert below
    assert above
    assert {**below, **above} == labels(publisher_client, DAY)


def test_labels_read_only_the_horizon_of_the_sessions(publisher_client: Client) -> None:
    query = sql("churn/labels.sql", slice="1")
    plan = publisher_client.rows(f"EXPLAIN indexes = 1 {query}", until(LAST - timedelta(days=1), 1))
    _, _, sessions = "\n".join(row[0] for row in plan).partition("customer_sessions)")
    read = re.findall(r"Granules: (\d+)/(\d+)", sessions)
    selected, of_all = int(read[-1][0]), int(read[0][1])
    assert selected <= 2 < of_all


@pytest.mark.parametrize("forbidden", ["active_today", "active_last_30_days", "churn_risk_score", "churn_probability"])
def test_nothing_that_answers_the_question_is_a_feature(publisher_client: Client, forbidden: str) -> None:
    columns = [
        row[0] for row in publisher_client.rows(f"DESCRIBE ({sql('churn/features.sql', slice='1')})", {"date": DAY})
    ]
    assert forbidden not in columns


def truth(client: Client) -> list[tuple[float, int]]:
    known = labels(client, DAY)
    statement = best_reachable("churn")
    assert statement is not None
    reachable = client.rows(statement.text, {"date": DAY, "until": LAST})
    return [(probability, known[key]) for *parts, probability in reachable if (key := tuple(parts)) in known]  # type: ignore[index]


def test_the_best_reachable_ranking_is_good_and_not_perfect(publisher_client: Client) -> None:
    assert 0.80 < area_under_curve(truth(publisher_client)) < 0.95


def test_the_true_probabilities_are_calibrated(publisher_client: Client) -> None:
    pairs = truth(publisher_client)
    for low in (0.0, 0.2, 0.4, 0.6):
        inside = [(p, label) for p, label in pairs if low <= p < low + 0.2]
        expected = sum(p for p, _ in inside)
        deviation = sum(p * (1 - p) for p, _ in inside) ** 0.5
        assert abs(sum(label for _, label in inside) - expected) < 4 * deviation


def test_no_feature_alone_gives_the_label_away(publisher_client: Client) -> None:
    known = labels(publisher_client, DAY)
    table = publisher_client.table(sql("churn/features.sql", slice="1"), {"date": DAY})
    rows = table.to_pylist()
    numbers = [name for name in table.column_names if isinstance(rows[0][name], int | float)]
    assert len(numbers) > 25
    for name in numbers:
        area = area_under_curve(
            [(float(row[name] or 0), known[row["company_id"], row["brand_id"], row["user_id"]]) for row in rows]
        )
        assert max(area, 1 - area) < 0.9, name


def test_every_staged_row_becomes_one_prediction(demo: Client) -> None:
    publish(demo, "ml_model_predictions", "shared/predictions.sql")
    staged = demo.rows("SELECT company_id, brand_id, user_id, score FROM staging ORDER BY ALL")
    published = demo.rows(
        "SELECT company_id, brand_id, entity_id, prediction_value FROM ml_model_predictions ORDER BY ALL"
    )
    assert published == staged
    assert len(staged) > 100


def test_prediction_ids_depend_on_the_run_and_the_entity(demo: Client) -> None:
    query = f"SELECT prediction_id FROM ({sql('shared/predictions.sql', **FRAGMENTS)})"
    first = {row[0] for row in demo.rows(query, RUN)}
    again = {row[0] for row in demo.rows(query, RUN)}
    other = {row[0] for row in demo.rows(query, {**RUN, "run_id": "churn_20260131_11111111"})}
    assert first == again
    assert not first & other
    assert len(first) == demo.value("SELECT count() FROM staging")


def test_a_prediction_says_which_run_made_it_and_when(demo: Client) -> None:
    publish(demo, "ml_model_predictions", "shared/predictions.sql")
    assert demo.rows(
        "SELECT DISTINCT model_id, prediction_type, entity_type, toUnixTimestamp(predicted_at), prediction_date,"
        " batch_id, JSONExtractString(metadata, 'model_version') FROM ml_model_predictions"
    ) == [
        (
            "model",
            "churn",
            "user",
            int(RUN_AT.replace(tzinfo=UTC).timestamp()),
            LAST,
            RUN["run_id"],
            RUN["model_version"],
        )
    ]


def test_levels_follow_the_cuts(demo: Client) -> None:
    publish(demo, "ml_model_predictions", "shared/predictions.sql")
    wrong = "prediction_class != if(prediction_value < 0.5, 'low', 'high')"
    assert demo.value(f"SELECT countIf({wrong}) FROM ml_model_predictions") == 0
    assert demo.value("SELECT uniqExact(prediction_class) FROM ml_model_predictions") == 2


def test_a_quantity_is_published_as_a_probability_is_but_without_one(demo: Client) -> None:
    publish(demo, "ml_model_predictions", "shared/predictions.sql")
    columns = "prediction_id, entity_id, prediction_value, prediction_class, predicted_at, batch_id, metadata"
    quantities = f"SELECT {columns} FROM ({sql('shared/values.sql', **FRAGMENTS)}) ORDER BY prediction_id"
    assert demo.rows(quantities, RUN) == demo.rows(f"SELECT {columns} FROM ml_model_predictions ORDER BY prediction_id")
    doubt = (
        f"SELECT DISTINCT prediction_probability, prediction_confidence FROM ({sql('shared/values.sql', **FRAGMENTS)})"
    )
    assert demo.rows(doubt, RUN) == [(0, 0)]


def test_confidence_is_the_probability_of_the_likelier_class(demo: Client) -> None:
    publish(demo, "customer_churn_predictions", "churn/publish.sql")
    rows = demo.rows("SELECT churn_probability, model_confidence FROM customer_churn_predictions")
    assert all(confidence == pytest.approx(max(p, 1 - p)) for p, confidence in rows)


def test_only_the_explained_rows_carry_an_explanation_and_each_its_own(demo: Client) -> None:
    publish(demo, "customer_churn_predictions", "churn/publish.sql")
    rows = demo.rows(
        "SELECT user_id, feature_importance FROM customer_churn_predictions WHERE feature_importance != ''"
    )
    assert len(rows) == 10
    assert all(text == f'{{"of":"{user}"}}' for user, text in rows)
    assert demo.value("SELECT count() FROM customer_churn_predictions") == demo.value("SELECT count() FROM staging")


def test_churn_rows_and_predictions_share_their_ids(demo: Client) -> None:
    publish(demo, "customer_churn_predictions", "churn/publish.sql")
    publish(demo, "ml_model_predictions", "shared/predictions.sql")
    query = "SELECT prediction_id, user_id FROM {} ORDER BY ALL"
    assert demo.rows(query.format("customer_churn_predictions")) == demo.rows(
        query.format("ml_model_predictions").replace("user_id", "entity_id")
    )


def report(client: Client) -> list[dict[str, Any]]:
    """Commit the run, and return its rows by name."""
    committed = {"run_id": RUN["run_id"], "pipeline": "churn", "date": LAST, "status": "PUBLISHED", "sequence": 1}
    client.insert_rows("raypipe_runs", [{**committed, "started_at": RUN_AT.replace(tzinfo=UTC)}])
    rows: list[dict[str, Any]] = client.table(
        sql("churn/report.sql"), {"run_id": RUN["run_id"], "date": LAST}
    ).to_pylist()
    return rows


def test_the_report_names_everything_and_doubles_nobody(demo: Client) -> None:
    publish(demo, "ml_model_predictions", "shared/predictions.sql")
    doubled = demo.value("SELECT count() FROM ml_model_predictions AS p JOIN brands AS b ON b.brand_id = p.brand_id")
    rows = report(demo)
    assert doubled > len(rows), "the hazard that this test is about is not there"
    assert Counter((r["company_id"], r["brand_id"], r["user_id"]) for r in rows) == Counter(
        demo.rows("SELECT company_id, brand_id, user_id FROM staging")
    )
    for row in rows:
        for name in (
            "brand_name", "device_type_name", "os_name", "browser_name", "country_name", "city_name", "category_name"
        ):  # fmt: skip
            assert row[name], name
            assert "(old name)" not in row[name]
    levels = demo.rows(sql("shared/published_levels.sql"), {"run_id": RUN["run_id"], "run_at": RUN_AT})
    assert {(level, brand) for level, brand, _, _ in levels} == {
        (level, brand) for level in ("low", "high") for brand in {row["brand_name"] for row in rows}
    }
    assert sum(users for _, _, users, _ in levels) == len(rows)
    assert [level for level, *_ in levels] == sorted((level for level, *_ in levels), reverse=True)
