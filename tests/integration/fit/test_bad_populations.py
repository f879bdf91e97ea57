"""Test fits on bad input, per pipeline: an error that names the table, or still a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from raypipe.artifact.contract import MATRIX, matrix
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import Statement, identifier, load
from raypipe.config.load import load_pipeline
from raypipe.data.days import end_of_day
from raypipe.data.slices import unsliced
from raypipe.demo import build
from raypipe.errors import ConfigError, DataError, RaypipeError
from raypipe.evaluation.decision import decide
from raypipe.evaluation.evaluate import evaluate
from raypipe.fit import empty_tables, labelled, rivals, training_table
from raypipe.fit import recipe as recipes
from raypipe.fit.fitted import Fitted, fitter_of
from raypipe.fit.labelled import fit_spec
from raypipe.fit.recipe import Recipe, frozen
from raypipe.models.model import Rows, answer
from raypipe.models.protocol import load_matrix_family
from raypipe.project import shipped
from raypipe.recommend import fit as recommending
from raypipe.recommend.histories import INPUTS
from raypipe.segment import fit as clustering
from tests.conftest import _fresh_database

LAST = date(2026, 1, 31)
SILENT = "evaluate.bootstrap=0"


@pytest.fixture(scope="module")
def small(endpoint: Endpoint) -> Iterator[Client]:
    """600 readers with snapshots half a month apart; a test leaves it as it was."""
    with _fresh_database(endpoint) as place, Client(place) as client:
        migrate(client)
        build(client, users=600, days=120, last_date=LAST)
        yield client


@contextmanager
def away(client: Client, table: str, *, empty: bool) -> Iterator[None]:
    """Inside, a table is missing, or there and empty."""
    name, kept = identifier(table), identifier(f"{table}_kept")
    client.run(f"RENAME TABLE {name} TO {kept}")
    try:
        if empty:
            client.run(f"CREATE TABLE {name} AS {kept}")
        yield
    finally:
        client.run(f"DROP TABLE IF EXISTS {name} SYNC")
        client.run(f"RENAME TABLE {kept} TO {name}")


def recipe_of(client: Client, pipeline: str, *overrides: str) -> Recipe:
    loaded = load_pipeline(pipeline, shipped() / "configs", [SILENT, *overrides], {})
    return recipes.recipe_of(client, loaded, None)


def fitted(client: Client, recipe: Recipe) -> Fitted:
    """As `raypipe fit` does it."""
    with empty_tables.named(client, recipe):
        return fitter_of(recipe.family)(client, recipe, "raypipe_training_bad", None, lambda *_: None)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Assert that the fit ends before training."""

    def train(*_: Any) -> Any:
        raise AssertionError("a model was trained")

    monkeypatch.setattr(labelled, "_train", train)
    monkeypatch.setattr(recommending, "fit_recommender", train)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Families are fitted in this process instead of on Ray; everything around that is the pipeline's own."""

    def train(
        client: Client, recipe: Recipe, contract: Any, table: Any, rows: Any, progress: Any
    ) -> tuple[dict[str, bytes], Any]:
        parts = {name: training_table.read_part(client, table, name) for name in table.rows}
        spec = fit_spec(recipe, contract)
        model, history = load_matrix_family(recipe.family).fit(parts["train"], parts["validation"], spec)
        return model.files(), history

    monkeypatch.setattr(labelled, "_train", train)


# By pipeline, the tables without whose rows it has nothing to learn from.
NEEDED = [
    ("churn", "customer_user_features"),
    ("churn", "customer_sessions"),
    ("conversion", "customer_user_features"),
    ("conversion", "user_accounts"),
    ("engagement", "customer_user_features"),
    ("engagement", "customer_sessions"),
    ("clicks", "customer_user_features"),
    ("clicks", "customer_events"),
    ("clicks", "editorial_articles"),
    ("segmentation", "customer_user_features"),
    ("recommendation", "customer_user_features"),
    ("recommendation", "editorial_articles"),
    ("recommendation", "editorial_content_events"),
    ("recommendation", "brands"),
]


@pytest.mark.parametrize("empty", [True, False], ids=["empty", "missing"])
@pytest.mark.parametrize(("pipeline", "table"), NEEDED)
def test_a_table_that_is_missing_or_empty_is_named_before_anything_is_trained(
    small: Client, refused: None, pipeline: str, table: str, empty: bool
) -> None:
    with away(small, table, empty=empty), pytest.raises(RaypipeError) as error:
        fitted(small, recipe_of(small, pipeline))
    assert table in str(error.value)
    assert error.value.next_step
    if empty:
        assert isinstance(error.value, DataError)


def test_intervals_of_clicks_are_over_readers_not_over_their_rows(small: Client, here: None) -> None:
    recipe = recipe_of(small, "clicks", "evaluate.bootstrap=50")
    found = fitted(small, recipe)
    contract = frozen(small, recipe)
    with training_table.written(small, recipe, contract, "raypipe_training_clicks_again") as table:
        # Nothing was recommended: the place in the list has no value, and the fit leaves it out.
        table = training_table.telling(small, table)
        test = training_table.read_part(small, table, "test")
        entities = training_table.read_entities(small, table, "test")
        ids = small.rows(f"SELECT user_id FROM {table.name} WHERE part = 'test' ORDER BY row_hash")
    assert entities is not None
    assert len(set(entities)) == len({*ids}) < len(ids)
    assert all((entities[0] == one) == (ids[0] == id_) for one, id_ in zip(entities, ids, strict=True))
    scores = found.package.model.predict(test.x)
    settings = {"threshold": found.package.threshold, "resamples": recipe.resamples}
    assert found.test["auc"] == evaluate("binary", test.y, scores, entities=entities, **settings)["auc"]
    assert found.test["auc"] != evaluate("binary", test.y, scores, **settings)["auc"]
    prior = np.full(len(test), 0.5)
    gained = decide(test.y, scores, None, {"prior": prior}, recipe.shares.seed, resamples=recipe.resamples)
    assert (found.decision.low, found.decision.high) != (gained.low, gained.high)


def test_a_table_that_is_rightly_empty_stops_nothing(small: Client, here: None) -> None:
    for table in ("customer_recommendations", "raypipe_runs"):
        assert small.value(f"SELECT count() FROM {table}") == 0
    assert fitted(small, recipe_of(small, "clicks")).rows["test"] > 0


@pytest.mark.parametrize("pipeline", ["churn", "conversion", "clicks"])
@pytest.mark.parametrize("label", [0, 1])
def test_labels_of_one_class_are_refused_before_anything_is_trained(
    small: Client, refused: None, pipeline: str, label: int
) -> None:
    recipe = recipe_of(small, pipeline)
    assert recipe.labels_sql is not None
    keys = ", ".join(recipe.keys)
    same = f"SELECT {keys}, {label} AS label FROM (\n{recipe.labels_sql.text}\n)"
    with pytest.raises(DataError, match="The train part of the split: the rows hold a single class") as error:
        fitted(small, replace(recipe, labels_sql=Statement(same)))
    assert error.value.next_step
    assert "check labels.sql" in error.value.next_step


@pytest.mark.parametrize("pipeline", ["churn", "engagement", "clicks", "segmentation"])
def test_a_constant_feature_and_one_that_is_all_missing_do_no_harm(small: Client, here: None, pipeline: str) -> None:
    recipe = recipe_of(small, pipeline)
    spoiled = (
        "SELECT * REPLACE (toFloat32(3) AS avg_engagement_score,"
        " CAST(NULL AS Nullable(Float32)) AS avg_pages_per_session)"
        f" FROM (\n{unsliced(recipe.features_sql.text)}\n) WHERE {{slice}}"
    )
    recipe = replace(recipe, features_sql=Statement(spoiled, source="features.sql"))
    found = fitted(small, recipe)
    columns = found.package.contract.columns
    scores = found.package.model.predict(found.x)
    assert np.isfinite(scores).all()
    assert np.unique(scores).size > 1
    spoiled_columns = {"avg_pages_per_session", "avg_engagement_score"}
    if pipeline == "segmentation":
        importance = dict(zip(columns, found.package.model.importance(), strict=True))
        assert [importance[name] for name in spoiled_columns] == pytest.approx([0, 0], abs=1e-6)
        return
    # Scoring need not read what the model cannot use.
    assert spoiled_columns.isdisjoint(columns)
    assert "avg_pages_per_session" not in found.package.contract.select("SELECT 1")
    (said,) = [text for text in found.warnings if text.startswith("features without any value")]
    assert "avg_pages_per_session" in said
    (said,) = [text for text in found.warnings if text.startswith("features with a single value")]
    assert "avg_engagement_score" in said
    assert "avg_pages_per_session" not in said


def test_a_champion_that_sees_other_test_rows_is_not_compared(small: Client, here: None) -> None:
    recipe = recipe_of(small, "engagement")
    package = fitted(small, recipe).package
    with training_table.written(small, recipe, package.contract, "raypipe_training_rows") as table:
        assert len(rivals.scores_of(small, recipe, table, package)) == table.rows["test"]
        grown = replace(table, rows={**table.rows, "test": table.rows["test"] + 1})
        with pytest.raises(DataError, match="do not see the same test rows"):
            rivals.scores_of(small, recipe, grown, package)


def audience(client: Client, recipe: Recipe, found: Fitted) -> tuple[list[tuple[str, ...]], Rows]:
    """Everybody of the snapshot, as scoring reads them."""
    contract, snapshot = found.package.contract, recipe.snapshots[-1]
    table = client.table(
        contract.select(unsliced(recipe.features_sql.text)), {**snapshot.parameters, **contract.parameters}
    ).combine_chunks()
    keys = list(zip(*(table.column(key).to_pylist() for key in recipe.keys), strict=True))
    inputs = {name: table.column(name).combine_chunks() for name in INPUTS}
    return keys, Rows(matrix(table.column(MATRIX), len(contract.columns)), inputs, end_of_day(snapshot.date, "UTC"))


def test_articles_without_an_author_and_a_brand_with_three_users_get_their_lists(small: Client) -> None:
    brand = small.value("SELECT brand_id FROM brands ORDER BY brand_id LIMIT 1")
    three = (
        "SELECT * FROM (\n{}\n) WHERE (brand_id != '{}' OR user_id IN (SELECT DISTINCT user_id FROM"
        " customer_user_features WHERE brand_id = '{}' AND feature_date = {{date:Date}} ORDER BY user_id LIMIT 3))"
    )
    articles = "editorial_articles"
    with away(small, articles, empty=True):
        small.run(f"INSERT INTO {articles} SELECT * REPLACE ('' AS primary_author_id) FROM {articles}_kept")
        recipe = recipe_of(small, "recommendation")
        text = three.format(unsliced(recipe.features_sql.text), brand, brand)
        recipe = replace(recipe, features_sql=Statement(f"{text} AND {{slice}}", source="features.sql"))
        found = fitted(small, recipe)
        keys, rows = audience(small, recipe, found)
    lists = answer(found.package.model, rows).columns["articles"].to_pylist()
    assert sum(key[1] == brand for key in keys) == 3
    assert len(keys) > 100
    assert {len(one) for one in lists} == {10}
    owner = dict(small.rows("SELECT article_id, brand_id FROM editorial_articles FINAL"))
    assert all(owner[article] == key[1] for key, one in zip(keys, lists, strict=True) for article in one)


@pytest.mark.parametrize("pipeline", ["churn", "conversion", "engagement", "clicks", "segmentation"])
def test_three_users_in_all_are_too_few_and_that_is_said(small: Client, refused: None, pipeline: str) -> None:
    recipe = recipe_of(small, pipeline)
    few = (
        f"SELECT * FROM (\n{unsliced(recipe.features_sql.text)}\n) WHERE {{slice}} AND user_id IN"
        " (SELECT DISTINCT user_id FROM customer_user_features ORDER BY user_id LIMIT 3)"
    )
    with pytest.raises(
        DataError, match=r"There are no rows for|single class|too few rows|fewer training rows than clusters"
    ) as error:
        fitted(small, replace(recipe, features_sql=Statement(few, source="features.sql")))
    assert error.value.next_step


def test_clusters_of_nobody_are_refused(small: Client) -> None:
    recipe = recipe_of(small, "segmentation")
    nobody = f"{recipe.features_sql.text} AND user_id = 'nobody'"
    with pytest.raises(DataError, match="too few rows to find clusters in"):
        fitted(small, replace(recipe, features_sql=Statement(nobody, source="features.sql")))


def test_a_number_of_clusters_that_cannot_be_fitted_fails_alone_and_its_row_says_why(small: Client) -> None:
    few = recipe_of(small, "segmentation")
    few = replace(few, features_sql=Statement(f"{few.features_sql.text} AND user_id < '4'", source="features.sql"))

    def tried(ks: list[int], **params: Any) -> Fitted:
        changed = replace(few, params={**few.params, "clusters": ks, **params})
        return clustering.fit_version(small, changed, "raypipe_training_few", None, lambda *_: None)

    found = tried([2, 256])
    assert found.test["clusters"] == 2
    assert found.warnings == (
        "not every number of clusters could be tried: There are fewer training rows than clusters",
    )
    with pytest.raises(ConfigError, match="names that KMeans does not take"):
        tried([3], tols=1)
    rows = small.rows(
        "SELECT run_id, run_status, error_message FROM ml_model_training_runs FINAL WHERE run_type = 'TUNING'"
        " AND startsWith(run_id, 'few_') ORDER BY length(run_id), run_id"
    )
    assert [row[:2] for row in rows] == [("few_k2", "COMPLETED"), ("few_k3", "CANCELLED"), ("few_k256", "FAILED")]
    assert "tols" in rows[1][2]
    assert "for 256 clusters" in rows[2][2]


def test_clicks_are_learned_of_articles_that_could_be_recommended_on_the_day(small: Client) -> None:
    day = LAST - timedelta(days=15)
    values = {"date": day, "until": day + timedelta(days=7), "timezone": "UTC", "days": 30}
    seen = small.value(
        "SELECT countIf(publish_date > {date:Date}) FROM customer_events AS e ANY INNER JOIN editorial_articles AS a"
        " USING (article_id) WHERE toDate(event_timestamp, 'UTC') > {date:Date}",
        values,
    )
    features = unsliced(load(shipped() / "sql/clicks/features.sql").text)
    ((pairs, youngest),) = small.rows(f"SELECT count(), min(article_age_days) FROM ({features})", values)
    assert min(seen, pairs) > 0
    assert youngest >= 0


def test_who_subscribed_before_or_after_the_days_of_the_label_has_not_converted_in_them(small: Client) -> None:
    day = LAST - timedelta(days=30)
    started = (
        "SELECT user_id, brand_id, subscription_start_date FROM user_accounts FINAL WHERE subscription_tier != 'free'"
        " AND (user_id, brand_id) IN (SELECT user_id, brand_id FROM customer_user_features"
        " WHERE feature_date = {day:Date} AND active_last_30_days = 1)"
    )
    rows = small.rows(started, {"day": day})
    wanted = {(user, brand) for user, brand, start in rows if day < start <= LAST - timedelta(days=3)}
    labels = unsliced(load(shipped() / "sql/conversion/labels.sql").text)
    found = small.rows(
        f"SELECT user_id, brand_id FROM ({labels}) WHERE label = 1",
        {"date": day, "until": LAST - timedelta(days=3), "timezone": "UTC"},
    )
    assert len(found) == len(set(found)) > 0
    assert set(found) == wanted


def test_who_leaves_moves_nobody_else_between_the_parts_of_clusters(small: Client) -> None:
    recipe = recipe_of(small, "segmentation")
    contract = frozen(small, recipe)
    half = f"{recipe.features_sql.text} AND user_id < '8'"
    whole = clustering._read(small, recipe, contract)
    fewer = clustering._read(small, replace(recipe, features_sql=Statement(half)), contract)
    rows = {part: {row.tobytes() for row in x} for part, x in whole.items()}
    for part, x in fewer.items():
        assert 0 < len(x) < len(whole[part])
        assert {row.tobytes() for row in x} <= rows[part]


def test_of_two_sessions_that_began_together_the_last_engagement_is_always_of_the_same(client: Client) -> None:
    migrate(client)
    client.run(
        "INSERT INTO customer_user_features (company_id, brand_id, user_id, feature_date, active_last_30_days)"
        " VALUES ('c', 'b', 'u', {date:Date}, 1)",
        {"date": LAST},
    )
    found = set()
    for order in ((("s1", 90.0), ("s2", 10.0)), (("s2", 10.0), ("s1", 90.0))):
        client.run("TRUNCATE TABLE customer_sessions")
        for session, score in order:
            client.run(
                "INSERT INTO customer_sessions (session_id, company_id, brand_id, user_id, session_start,"
                " engagement_score) VALUES ({id:String}, 'c', 'b', 'u', toDateTime({date:Date}, 'UTC'),"
                " {score:Float32})",
                {"id": session, "score": score, "date": LAST},
            )
        features = unsliced(load(shipped() / "sql/engagement/features.sql").text)
        found |= set(client.rows(f"SELECT last_engagement FROM ({features})", {"date": LAST, "timezone": "UTC"}))
    assert found == {(10.0,)}


def test_of_two_tiers_that_were_sold_as_often_the_same_is_said(client: Client) -> None:
    migrate(client)
    client.run(
        "CREATE TABLE staging ENGINE = Memory AS"
        " SELECT 'c' AS company_id, 'b' AS brand_id, 'u' AS user_id, toFloat32(0.5) AS score"
    )
    client.run(
        "CREATE TABLE explanations ENGINE = Memory AS"
        " SELECT company_id, brand_id, user_id, '' AS contributions FROM staging"
    )
    publish = load(shipped() / "sql/conversion/publish.sql").render(staging="staging", explanations="explanations")
    values = {"run_id": "r", "model_version": "v", "date": LAST, "run_at": LAST}
    tiers = set()
    for order in (("basic", "premium"), ("premium", "basic")):
        client.run("TRUNCATE TABLE user_accounts")
        for at, tier in enumerate(order):
            client.run(
                "INSERT INTO user_accounts (account_id, company_id, brand_id, user_id, subscription_tier,"
                " subscription_start_date) VALUES ({id:String}, 'c', 'b', {id:String}, {tier:String}, {day:Date})",
                {"id": f"a{at}", "tier": tier, "day": LAST - timedelta(days=1)},
            )
        tiers |= set(client.rows(f"SELECT conversion_tier FROM ({publish})", values))
    assert tiers == {("premium",)}
