"""Test the features from ml_features in pipelines: parsed once per row, and optional."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from raypipe.artifact.contract import MATRIX, Contract, matrix
from raypipe.artifact.freeze import freeze
from raypipe.cli import app
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import load
from raypipe.config.load import load_pipeline
from raypipe.data.slices import cut, place, unsliced
from raypipe.demo import build
from raypipe.features import snapshots
from raypipe.fit import labelled, training_table
from raypipe.fit.fitted import Fitted
from raypipe.fit.recipe import recipe_of
from raypipe.models.protocol import FitSpec
from raypipe.models.xgboost import XGBoost
from raypipe.project import shipped
from tests.conftest import _fresh_database
from tests.performance import fill_performance

LAST = date(2026, 1, 31)
OF_LAST = {"date": LAST, "timezone": "UTC"}
RUN_AT = datetime(2026, 2, 2, 3, tzinfo=UTC)
PIPELINES = ("churn", "conversion", "engagement")
# The names that differ from those in the JSON, as the way to the value.
WAYS = {
    "content_views": ("content_by_type", "view"),
    "content_clicks": ("content_by_type", "click"),
    "content_shares": ("content_by_type", "share"),
    "session_engagement_trend": ("engagement_trend",),
}
CONTENT = re.findall(r"AS (\w+)", load(shipped() / "sql" / "shared" / "content_features.sql").text)

# Of customer_events; only engagement reads them.
EVENTS = {"events_weighted", "events_trend"}


def features_sql(pipeline: str = "churn") -> str:
    return load(shipped() / "sql" / pipeline / "features.sql").text


def demo(client: Client, *, filled: bool) -> Client:
    """400 readers with snapshots a month apart, whose ml_features are filled or not."""
    migrate(client)
    ddl = client.value("SHOW CREATE TABLE customer_user_features")
    client.run("DROP TABLE customer_user_features SYNC")
    client.run(ddl.replace("index_granularity = 8192", "index_granularity = 8"))
    build(client, users=400, days=120, last_date=LAST, snapshot_every=30)
    fill_performance(client)
    client.run("ALTER TABLE customer_user_features UPDATE ml_features = '{}' WHERE 1", settings={"mutations_sync": 2})
    for months in range(4 if filled else 0):
        fill(client, LAST - timedelta(days=30 * months))
    return client


def fill(client: Client, day: date) -> snapshots.BuiltSnapshots:
    return snapshots.compute(client, day, run_at=RUN_AT, timezone="UTC", progress=lambda stage, done, total: None)


@pytest.fixture(scope="module")
def filled(endpoint: Any) -> Iterator[Client]:
    """Read only."""
    with _fresh_database(endpoint) as place_of_it, Client(place_of_it) as client:
        yield demo(client, filled=True)


def frozen(client: Client, pipeline: str = "churn") -> Contract:
    config = load_pipeline(pipeline, shipped() / "configs", environ={}).config
    sql = unsliced(features_sql(pipeline))
    return freeze(client, config.features, config.entity.keys, config.carry, sql, [OF_LAST], "features.sql")


def fit(client: Client, monkeypatch: pytest.MonkeyPatch) -> Fitted:
    def fit_here(client: Client, recipe: Any, contract: Any, table: Any, rows: Any, progress: Any) -> tuple[Any, Any]:
        parts = {name: training_table.read_part(client, table, name) for name in table.rows}
        params = {"objective": "binary:logistic", "max_depth": 3, "base_score": 0.5}
        spec = FitSpec(contract.columns, contract.monotone, params, rounds=20, kind="binary")
        model, history = XGBoost().fit(parts["train"], parts["validation"], spec)
        return model.files(), history

    # The fit itself takes no Ray here; everything around it is the pipeline's own.
    monkeypatch.setattr(labelled, "_train", fit_here)
    loaded = load_pipeline("churn", shipped() / "configs", ["evaluate.bootstrap=5"], {})
    recipe = recipe_of(client, loaded, LAST)
    return labelled.fit_version(client, recipe, "raypipe_training_content", None, lambda *_: None)


def doubts(fitted: Fitted) -> list[str]:
    """Return a fit's warnings; so few readers do not show that the version is any good."""
    return [warning for warning in fitted.warnings if not warning.startswith("provisional: ")]


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_feature_is_the_value_that_the_json_holds(filled: Client, pipeline: str) -> None:
    sql = unsliced(features_sql(pipeline))
    names = ", ".join(f"f.{name}" for name in CONTENT)
    rows = filled.rows(
        f"SELECT u.ml_features, {names} FROM ({sql}) AS f ANY INNER JOIN customer_user_features AS u"
        " ON u.feature_date = {date:Date} AND u.company_id = f.company_id AND u.brand_id = f.brand_id"
        " AND u.user_id = f.user_id",
        OF_LAST,
    )
    assert len(rows) > 50
    seen = set[str]()
    for text, *values in rows:
        for name, value in zip(CONTENT, values, strict=True):
            expected: Any = json.loads(text)
            for key in WAYS.get(name, (name,)):
                expected = expected[key]
            assert (value is None) == (expected is None), name
            if value is not None:
                assert value == pytest.approx(expected, rel=1e-6), name
                seen |= {name} if value else set()
    assert seen == set(CONTENT)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_pipelines_use_what_is_theirs(pipeline: str) -> None:
    config = load_pipeline(pipeline, shipped() / "configs", environ={}).config
    wanted = set(CONTENT) - (EVENTS if pipeline != "engagement" else set())
    assert set(CONTENT) & {feature.name for feature in config.features} == wanted


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_json_is_parsed_once_a_row_whatever_the_number_of_features(filled: Client, pipeline: str) -> None:
    select = frozen(filled, pipeline).select(unsliced(features_sql(pipeline)))
    plan = filled.rows(f"EXPLAIN actions = 1, pretty = 0, compact = 0 {select}", OF_LAST)
    assert "\n".join(row[0] for row in plan).count("FUNCTION JSONExtract(") == 1


def test_counting_the_population_parses_nothing(filled: Client) -> None:
    select = frozen(filled).select(unsliced(features_sql()))
    plan = filled.rows(f"EXPLAIN actions = 1 SELECT count(), sum(key_hash) FROM ({select})", OF_LAST)
    assert "ml_features" not in "\n".join(row[0] for row in plan)


def granules(client: Client, select: str, parameters: dict[str, Any]) -> int:
    """Return the number of granules that a query reads."""
    plan = "\n".join(row[0] for row in client.rows(f"EXPLAIN indexes = 1 {select}", parameters))
    return int(re.findall(r"Granules: (\d+)/", plan)[-1])


def test_slices_read_each_granule_once(filled: Client) -> None:
    select = frozen(filled).select(features_sql())
    slicing = cut(filled, "customer_user_features", slice_rows=80, pinned={"feature_date": LAST})
    pieces = [(place(select, slicing, one), {**OF_LAST, **slicing.parameters(one)}) for one in slicing.slices]
    whole = granules(filled, unsliced(select), OF_LAST)
    read = [granules(filled, *piece) for piece in pieces]
    assert len(pieces) > 2
    assert max(read) < whole / 2
    assert sum(read) <= whole + 2 * len(pieces)
    users = [filled.table(*piece).num_rows for piece in pieces]
    assert sum(users) == filled.table(unsliced(select), OF_LAST).num_rows


@pytest.mark.parametrize(
    "text", ['{"articles_viewed": 3', "no JSON", "[3, 4.5, 1]", " [3, 4.5, 1]", "3", '"a"', "null", "", "{}", "\\\x01"]
)
def test_what_is_no_json_object_gives_missing_values(filled: Client, text: str) -> None:
    ml = load(shipped() / "sql" / "shared" / "ml_features.sql").text
    columns = load(shipped() / "sql" / "shared" / "content_features.sql").text
    (row,) = filled.rows(f"WITH {ml} SELECT {columns} FROM (SELECT {{text:String}} AS ml_features)", {"text": text})
    assert row == (None,) * len(CONTENT)


def test_a_value_of_another_kind_is_missing_and_the_others_are_read(filled: Client) -> None:
    ml = load(shipped() / "sql" / "shared" / "ml_features.sql").text
    columns = load(shipped() / "sql" / "shared" / "content_features.sql").text
    text = ' {"articles_viewed": "many", "sessions_trend": -0.5, "content_by_type": [1], "new": {"a": 1}}'
    (row,) = filled.rows(f"WITH {ml} SELECT {columns} FROM (SELECT {{text:String}} AS ml_features)", {"text": text})
    known = dict(zip(CONTENT, row, strict=True))
    assert known.pop("sessions_trend") == -0.5
    assert {value for name, value in known.items() if name != "content_views"} == {None}


def test_broken_json_is_counted_and_skipped(client: Client) -> None:
    fill(demo(client, filled=False), LAST)
    broken = "SELECT user_id FROM customer_user_features WHERE feature_date = {date:Date} ORDER BY user_id LIMIT 3"
    users = [row[0] for row in client.rows(broken, OF_LAST)]
    client.run(
        "ALTER TABLE customer_user_features UPDATE ml_features = '{\"articles_viewed\": 1' WHERE user_id IN"
        " {users:Array(String)} AND feature_date = {date:Date}",
        {"users": users, "date": LAST},
        {"mutations_sync": 2},
    )
    rows = client.value(
        "SELECT count() FROM customer_user_features WHERE feature_date = {date:Date} AND user_id IN"
        " {users:Array(String)}",
        {"date": LAST, "users": users},
    )
    assert [day.unreadable for day in fill(client, LAST).days] == [{"customer_user_features.ml_features": rows}]
    contract = frozen(client)
    table = client.table(contract.select(unsliced(features_sql())), OF_LAST)
    x = matrix(table.column(MATRIX), len(contract.columns))[:, contract.columns.index("sessions_weighted")]
    of_broken = np.isin(table.column("user_id").to_numpy(zero_copy_only=False), users)
    assert of_broken.any()
    assert np.isnan(x[of_broken]).all()
    assert not np.isnan(x[~of_broken]).any()


def test_a_fit_without_any_of_them_works_and_says_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = fit(demo(client, filled=False), monkeypatch)
    (warning,) = doubts(fitted)
    assert re.match(r"features without any value in (\d+) of \1 training rows, of .*, are left out: ", warning)
    assert set(CONTENT) - EVENTS <= set(re.findall(r"\w+", warning))
    days = sorted(map(date.fromisoformat, re.findall(r"\d{4}-\d\d-\d\d", warning)))
    count = (days[-1] - days[0]).days + 1
    assert f"raypipe features --date {days[-1]} --backfill {count}`" in warning
    assert "held back" not in fitted.decision.reason
    assert math.isfinite(fitted.test["auc"]["value"])
    check = doctors_check(client)
    assert check["status"] == "warning"
    assert all(name in check["detail"] for name in ("articles_viewed", "churn, conversion, engagement", str(days[0])))
    first, last, backfill = days[0], *re.findall(r"--date (\S+) --backfill (\d+)", check["next_step"])[0]
    assert date.fromisoformat(last) - timedelta(days=int(backfill) - 1) <= first
    for day in snapshots_of(client):
        fill(client, day)
    assert doctors_check(client)["status"] == "ok"


def snapshots_of(client: Client) -> list[date]:
    return [day for (day,) in client.rows("SELECT DISTINCT feature_date FROM customer_user_features ORDER BY 1")]


def doctors_check(client: Client) -> dict[str, Any]:
    environment = {"RAYPIPE_URL": str(client.endpoint)}
    if client.endpoint.password_file:
        environment["RAYPIPE_PASSWORD_FILE"] = client.endpoint.password_file
    result = CliRunner().invoke(app, ["doctor", "--json"], env=environment)
    (check,) = [check for check in json.loads(result.stdout)["checks"] if check["name"] == "features"]
    return dict(check)


def test_a_fit_with_them_uses_them_and_warns_of_nothing(filled: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = fit(filled, monkeypatch)
    assert doubts(fitted) == []
    columns = fitted.package.contract.columns
    importance = dict(zip(columns, fitted.package.model.importance(), strict=True))
    assert sum(importance[name] for name in set(CONTENT) - EVENTS) > 0
