"""Test validation of earlier predictions: published runs, other tools' rows, and rows it cannot judge."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from raypipe.cli import app
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import load
from raypipe.config.load import Loaded, load_pipeline
from raypipe.data.slices import unsliced
from raypipe.demo import build
from raypipe.evaluation.evaluate import evaluate
from raypipe.project import shipped
from raypipe.registry import models
from raypipe.registry.record import ModelRecord
from raypipe.validate import queries, records
from raypipe.validate import validate as validation
from tests.conftest import _fresh_database

LAST = date(2026, 1, 31)
DAY = LAST - timedelta(days=30)
OLDER = DAY - timedelta(days=15)
RUN_AT = datetime(2026, 1, 2, 3, tzinfo=UTC)
VERSION = "20260101.000000.abcdef"
# What a model might say: a hash that leans on the days since the last session.
SCORE = "toFloat32((cityHash64(user_id) % 1000 / 1000 + least(days_since_last_session, 29) / 29) / 2)"
LEVEL = "multiIf(score < 0.3, 'low', score < 0.6, 'medium', 'high')"


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


def pipeline(name: str = "churn", *overrides: str) -> Loaded:
    return load_pipeline(name, shipped() / "configs", ["evaluate.bootstrap=200", *overrides], environ={})


def validate(
    client: Client, loaded: Loaded | None = None, day: date | None = None, **options: Any
) -> validation.ValidationResult:
    return validation.validate(client, loaded or pipeline(), day, silent, **options)


def until(day: date, days: int) -> dict[str, Any]:
    """Return the values that a pipeline's SQL binds for a snapshot and the days of its label."""
    return {"date": day, "until": day + timedelta(days=days), "timezone": "UTC"}


def population(name: str = "churn") -> str:
    return unsliced(load(shipped() / "sql" / name / "features.sql").text)


def publish(
    client: Client, day: date, run_id: str, score: str = SCORE, name: str = "churn", status: str = "PUBLISHED"
) -> None:
    """The rows that a published run leaves."""
    client.run(
        "INSERT INTO ml_model_predictions (prediction_id, model_id, prediction_type, entity_id, entity_type,"
        " prediction_value, prediction_class, prediction_date, company_id, brand_id, batch_id)"
        f" SELECT toString(generateUUIDv4()), 'model', '{name}', user_id, 'user', {score} AS score, {LEVEL},"
        f" {{date:Date}}, company_id, brand_id, {{run:String}} FROM ({population(name)})",
        {"date": day, "run": run_id, "timezone": "UTC"},
    )
    client.run(
        "INSERT INTO raypipe_runs (run_id, pipeline, date, model_id, model_version, status, published_at) VALUES"
        " ({run:String}, {pipeline:String}, {date:Date}, 'model', {version:String}, {status:String},"
        " toDateTime64({at:String}, 6, 'UTC'))",
        {
            "run": run_id,
            "pipeline": name,
            "date": day,
            "version": VERSION,
            "status": status,
            "at": f"2026-02-01 00:00:0{run_id[-1]}",
        },
    )


def earlier(client: Client, day: date, version: str = "their own", score: str = SCORE, where: str = "1") -> None:
    """The rows of another tool in customer_churn_predictions."""
    client.run(
        "INSERT INTO customer_churn_predictions (prediction_id, user_id, company_id, brand_id, prediction_date,"
        " churn_probability, churn_risk_level, model_version)"
        f" SELECT toString(generateUUIDv4()), user_id, company_id, brand_id, {{date:Date}}, {score} AS score, {LEVEL},"
        f" {{version:String}} FROM ({population()}) WHERE {where}",
        {"date": day, "version": version},
    )


def scored(client: Client, score: str = SCORE, day: date = DAY) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels of the population, joined here."""
    rows = client.rows(f"SELECT company_id, brand_id, user_id, {score} FROM ({population()})", {"date": day})
    labels = unsliced(load(shipped() / "sql" / "churn" / "labels.sql").text)
    known = {row[:3]: row[3] for row in client.rows(labels, until(day, 30))}
    return np.array([known[row[:3]] for row in rows], np.float32), np.array([row[3] for row in rows], np.float32)


def performed(client: Client, kind: str = "measured", where: str = "1") -> list[tuple[Any, ...]]:
    """Return run, slice, metric and value of the rows of performance."""
    return client.rows(
        "SELECT run_id, slice_column, slice_value, metric, value, low, high, rows, positives, reason"
        f" FROM raypipe_performance WHERE kind = {{kind:String}} AND {where} ORDER BY ALL",
        {"kind": kind},
    )


WRITTEN = (
    "raypipe_performance",
    "customer_conversion_predictions",
    "ml_model_predictions",
    "ml_model_monitoring",
    "ml_model_registry",
    "raypipe_runs",
    "customer_churn_predictions",
)


@pytest.fixture(scope="module")
def source(endpoint: Endpoint) -> Iterator[Endpoint]:
    """A demo of 1,500 readers."""
    with _fresh_database(endpoint) as place, Client(place) as client:
        migrate(client)
        build(client, users=1500, days=90, last_date=LAST)
        yield place


@pytest.fixture
def demo(source: Endpoint) -> Iterator[Client]:
    """The demo without any predictions; its snapshots and sessions are only read."""
    with Client(source) as client:
        for table in WRITTEN:
            client.run(f"TRUNCATE TABLE {table}")
        yield client


@pytest.fixture
def alone(client: Client, source: Endpoint) -> Client:
    """The demo in a database of the test's own, which it may change."""
    migrate(client)
    for table in ("customer_user_features", "customer_sessions"):
        settings = {"max_partitions_per_insert_block": 0}
        client.run(f"INSERT INTO {table} SELECT * FROM {source.database}.{table}", settings=settings)
    return client


def monitored(client: Client) -> list[dict[str, Any]]:
    rows = client.table("SELECT * FROM ml_model_monitoring ORDER BY monitoring_date").to_pylist()
    return [{**row, "metadata": json.loads(row["metadata"])} for row in rows]


def test_a_published_run_is_judged_as_its_rows_would_be(demo: Client) -> None:
    publish(demo, DAY, "churn_run_1")
    (found,) = validate(demo).validations
    y, p = scored(demo)
    expected = evaluate("binary", y, p, threshold=0.5, resamples=200)
    measured = found.evaluation
    assert (measured["rows"], measured["positives"]) == (expected["rows"], expected["positives"])
    assert (found.left_out, found.reason, found.rows) == (0, "", len(y))
    for metric in ("auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1"):
        assert measured[metric]["value"] == pytest.approx(expected[metric]["value"], abs=2e-4), metric
        width = expected[metric]["high"] - expected[metric]["low"]
        assert measured[metric]["low"] == pytest.approx(expected[metric]["low"], abs=width / 3), metric
        assert measured[metric]["high"] == pytest.approx(expected[metric]["high"], abs=width / 3), metric
    assert measured["ece"]["value"] == pytest.approx(expected["ece"]["value"], abs=1e-6)
    for row, wanted in zip(measured["reliability"], expected["reliability"], strict=True):
        assert row == pytest.approx(wanted, abs=1e-6)


def test_levels_have_their_share_and_what_came_of_them(demo: Client) -> None:
    publish(demo, DAY, "churn_run_1")
    (found,) = validate(demo).validations
    y, p = scored(demo)
    inside = {"low": p < 0.3, "medium": (p >= 0.3) & (p < 0.6), "high": p >= 0.6}
    assert [row["level"] for row in found.evaluation["levels"]] == list(inside)
    for row in found.evaluation["levels"]:
        of = inside[row["level"]]
        assert row["rows"] == of.sum()
        assert row["share"] == pytest.approx(of.mean())
        assert row["observed"] == pytest.approx(y[of].mean())
        assert row["predicted"] == pytest.approx(p[of].mean(), rel=1e-5)


def test_only_cells_leave_the_server_however_many_were_predicted(demo: Client) -> None:
    publish(demo, DAY, "churn_run_1", "toFloat32(0.25)")
    batch = records.Batch("churn", DAY, "churn_run_1", "model", VERSION)
    cells = queries.with_outcomes(pipeline(), batch, LAST).cells(demo, "binary", threshold=0.5)
    assert len(cells["rows"]) == 2


def test_a_judged_run_is_in_the_monitoring_and_is_not_judged_again(demo: Client) -> None:
    publish(demo, DAY, "churn_run_1")
    first = validate(demo)
    (row,) = monitored(demo)
    (found,) = first.validations
    assert (row["monitoring_date"], row["model_id"]) == (DAY, "model")
    assert row["auc_roc"] == pytest.approx(found.evaluation["auc"]["value"])
    assert json.loads(row["prediction_distribution"]).keys() == {"low", "medium", "high"}
    assert (row["metadata"]["kind"], row["metadata"]["validates"]) == ("validation", "churn_run_1")
    assert "run_id" not in row["metadata"]
    # Nothing is asked of the predictions any more.
    demo.run("TRUNCATE TABLE ml_model_predictions")
    again = validate(demo)
    assert (first.new, again.new) == (1, 0)
    assert again.validations == first.validations
    assert len(monitored(demo)) == 1


def test_a_run_that_replaces_a_judged_one_is_judged_itself(demo: Client) -> None:
    publish(demo, DAY, "churn_run_1")
    validate(demo)
    demo.run("TRUNCATE TABLE ml_model_predictions")
    publish(demo, DAY, "churn_run_2", "toFloat32(1) - " + SCORE)
    outcome = validate(demo)
    (found,) = outcome.validations
    assert (outcome.new, found.batch.run_id) == (1, "churn_run_2")
    assert found.evaluation["auc"]["value"] < 0.5
    # A chart of the date has one point.
    (row,) = monitored(demo)
    assert row["metadata"]["validates"] == "churn_run_2"
    assert {run for run, *_ in performed(demo)} == {"churn_run_2"}


def test_runs_that_were_not_published_do_not_count(demo: Client) -> None:
    publish(demo, DAY, "churn_run_1", status="FAILED")
    outcome = validate(demo)
    assert outcome.validations == ()
    assert outcome.reason == "there are no predictions of churn"


def test_an_outcome_is_known_with_the_snapshot_of_the_horizons_last_day(alone: Client) -> None:
    publish(alone, DAY, "churn_run_1")
    publish(alone, LAST, "churn_run_2")
    assert validate(alone).waiting == ((LAST, LAST + timedelta(days=30)),)
    alone.run(
        "ALTER TABLE customer_user_features DELETE WHERE feature_date = {date:Date}",
        {"date": LAST},
        {"mutations_sync": 2},
    )
    alone.run("TRUNCATE TABLE ml_model_monitoring")
    outcome = validate(alone)
    assert outcome.validations == ()
    assert outcome.reason.startswith(f"outcomes for {DAY} are not known yet: they need the snapshot of {LAST}")
    assert monitored(alone) == []


def test_a_night_judges_the_newest_and_leaves_the_rest(demo: Client) -> None:
    publish(demo, OLDER, "churn_run_1")
    publish(demo, DAY, "churn_run_2")
    outcome = validate(demo, most=1)
    assert ([one.batch.date for one in outcome.validations], outcome.remaining) == ([DAY], 1)
    rest = validate(demo)
    assert ([one.batch.date for one in rest.validations], rest.new) == ([DAY, OLDER], 1)
    assert [one.batch.date for one in validate(demo, day=OLDER).validations] == [OLDER]


def test_another_tools_rows_are_judged_by_date_and_version_each(demo: Client) -> None:
    earlier(demo, DAY)
    earlier(demo, DAY, "second", "toFloat32(1) - " + SCORE)
    publish(demo, DAY, "churn_run_1")
    # raypipe's own rows in that table are the run's, and not judged twice.
    earlier(demo, DAY, VERSION)
    first, second, third = validate(demo).validations
    assert [one.batch.model_version for one in (first, second, third)] == [VERSION, "their own", "second"]
    assert first.evaluation["auc"]["value"] == second.evaluation["auc"]["value"]
    assert third.evaluation["auc"]["value"] == pytest.approx(1 - first.evaluation["auc"]["value"], abs=1e-3)
    assert validate(demo).new == 0


def test_of_a_key_that_another_tool_wrote_twice_the_last_row_counts(demo: Client) -> None:
    earlier(demo, DAY, score="toFloat32(0.9)")
    demo.run(
        "ALTER TABLE customer_churn_predictions UPDATE created_at = created_at - 60 WHERE 1",
        settings={"mutations_sync": 2},
    )
    earlier(demo, DAY)
    (found,) = validate(demo).validations
    y, _ = scored(demo)
    assert found.rows == len(y)
    assert len(found.evaluation["levels"]) == 3


def test_percent_instead_of_probabilities_is_said_and_not_judged(demo: Client) -> None:
    earlier(demo, DAY, score=f"100 * {SCORE}")
    (found,) = validate(demo).validations
    assert found.reason.startswith("not judged: the scores are no probabilities (found")
    assert found.evaluation == {}
    assert validate(demo).new == 0


def test_predictions_without_an_outcome_or_a_number_are_counted_and_left_out(demo: Client) -> None:
    publish(demo, DAY, "churn_run_1", f"if(cityHash64(user_id) % 10 = 0, nan, {SCORE})")
    demo.run(
        "INSERT INTO ml_model_predictions (prediction_type, entity_id, prediction_value, prediction_date, batch_id)"
        " SELECT 'churn', concat('nobody', toString(number)), 0.5, {date:Date}, 'churn_run_1' FROM numbers(7)",
        {"date": DAY},
    )
    (found,) = validate(demo).validations
    _, p = scored(demo, f"if(cityHash64(user_id) % 10 = 0, nan, {SCORE})")
    assert found.left_out == np.isnan(p).sum() + 7
    assert found.rows == (~np.isnan(p)).sum()


def test_a_single_outcome_is_said_and_has_no_auc(alone: Client) -> None:
    publish(alone, DAY, "churn_run_1")
    alone.run("TRUNCATE TABLE customer_sessions")
    (found,) = validate(alone).validations
    assert found.reason == f"every outcome is the same ({found.rows} of {found.rows} are positive), so there is no AUC"
    assert found.evaluation["auc"]["value"] is None
    assert found.evaluation["brier"]["value"] > 0
    (row,) = monitored(alone)
    assert (row["auc_roc"], row["metadata"]["reason"]) == (0, found.reason)


def test_predictions_of_nobody_with_an_outcome_are_said(demo: Client) -> None:
    publish(demo, DAY, "churn_run_1")
    demo.run("ALTER TABLE ml_model_predictions UPDATE brand_id = 'gone' WHERE 1", settings={"mutations_sync": 2})
    (found,) = validate(demo).validations
    assert (found.reason, found.rows) == ("not judged: no prediction has an outcome", 0)
    assert found.left_out == demo.value("SELECT count() FROM ml_model_predictions")


def test_a_model_that_has_become_worse_than_at_its_fit_is_an_alert(demo: Client) -> None:
    def fitted(low: float, value: float, high: float, threshold: float) -> ModelRecord:
        test = {"test": {"auc": {"value": value, "low": low, "high": high}}}
        return ModelRecord(
            "churn", VERSION, "CANDIDATE", "classification", "f", "a", "json", RUN_AT,
            evaluation=test, metadata={"threshold": threshold},
        )  # fmt: skip

    publish(demo, DAY, "churn_run_1")
    models.register(demo, fitted(0.97, 0.98, 0.99, 0.3), RUN_AT)
    (found,) = validate(demo).validations
    assert found.worse
    assert found.lost == pytest.approx(0.98 - found.evaluation["auc"]["value"], abs=1e-6)
    assert found.evaluation["threshold"] == 0.3
    (row,) = monitored(demo)
    assert (row["performance_drift_detected"], row["alerts_triggered"]) == (1, 1)
    assert json.loads(row["alert_types"]) == ["performance"]
    demo.run("TRUNCATE TABLE ml_model_monitoring")
    now = found.evaluation["auc"]
    models.register(demo, fitted(now["low"], now["value"] + 0.001, now["high"], 0.0), RUN_AT)
    (again,) = validate(demo).validations
    assert again.evaluation["threshold"] == 0.0
    assert (again.worse, again.lost) == (False, pytest.approx(0.001, abs=1e-6))


def test_a_quantity_is_judged_by_its_errors(demo: Client) -> None:
    day = LAST - timedelta(days=15)
    score = "toFloat32(20 + cityHash64(user_id) % 50)"
    publish(demo, day, "engagement_run_1", score, "engagement")
    (found,) = validate(demo, pipeline("engagement")).validations
    rows = demo.rows(f"SELECT company_id, brand_id, user_id, {score} FROM ({population('engagement')})", until(day, 7))
    labels = unsliced(load(shipped() / "sql" / "engagement" / "labels.sql").text)
    known = {row[:3]: row[3] for row in demo.rows(labels, until(day, 7))}
    pairs = np.array([(known[row[:3]], row[3]) for row in rows if row[:3] in known])
    expected = evaluate("number", pairs[:, 0], pairs[:, 1], resamples=200)
    assert (found.rows, found.left_out) == (len(pairs), len(rows) - len(pairs))
    assert found.left_out == 0
    for metric in ("rmse", "mae", "r2"):
        assert found.evaluation[metric]["value"] == pytest.approx(expected[metric]["value"], rel=1e-4), metric
        width = expected[metric]["high"] - expected[metric]["low"]
        assert found.evaluation[metric]["low"] == pytest.approx(expected[metric]["low"], abs=width / 2), metric
    assert sum(row["share"] for row in found.evaluation["levels"]) == pytest.approx(1)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(shipped() / "configs", tmp_path / "configs")
    for name in ("churn", "engagement"):
        shutil.copytree(shipped() / "sql" / name, tmp_path / "sql" / name)
    return tmp_path


def test_a_pipeline_without_labels_has_nothing_to_validate(demo: Client, project: Path) -> None:
    (project / "sql" / "churn" / "labels.sql").unlink()
    outcome = validate(demo, load_pipeline("churn", project / "configs", environ={}))
    assert outcome.reason == "churn has no labels.sql, and so no outcomes"


def test_predictions_that_do_not_hold_the_entity_key_are_said(demo: Client) -> None:
    loaded = pipeline("churn", "entity.keys=[brand_id, article_id, user_id]")
    assert "article_id of brand_id, article_id, user_id is no column" in validate(demo, loaded).reason


def test_an_error_is_a_warning_of_a_night(demo: Client, project: Path, caplog: pytest.LogCaptureFixture) -> None:
    publish(demo, DAY, "churn_run_1")
    (project / "sql" / "churn" / "labels.sql").write_text("SELECT nothing FROM nowhere")
    outcome = validation.validate_newest(demo, load_pipeline("churn", project / "configs", environ={}), silent)
    assert outcome.reason.startswith("earlier predictions were not validated: ")
    assert "nowhere" in caplog.text


@pytest.mark.parametrize("unreadable", ['"of": "churn_run_1"', '"validates": "churn_run_1", "date": "soon"'])
def test_a_validation_of_another_version_is_a_warning_of_a_night(demo: Client, unreadable: str) -> None:
    publish(demo, DAY, "churn_run_1")
    validate(demo)
    metadata = f'{{"kind": "validation", "pipeline": "churn", {unreadable}}}'
    demo.run(
        "INSERT INTO ml_model_monitoring SELECT * REPLACE ({metadata:String} AS metadata) FROM ml_model_monitoring",
        {"metadata": metadata},
    )
    result = validation.validate_newest(demo, pipeline(), silent)
    assert result.reason == "earlier predictions were not validated: A stored validation of churn cannot be read"


def command(client: Client, *arguments: str) -> tuple[int, str]:
    environment = {"RAYPIPE_URL": str(client.endpoint)}
    if client.endpoint.password_file:
        environment["RAYPIPE_PASSWORD_FILE"] = client.endpoint.password_file
    config = str(shipped() / "configs")
    result = CliRunner().invoke(app, ["validate", *arguments, "--config", config], prog_name="raypipe", env=environment)
    return result.exit_code, result.stdout


def test_the_command_says_that_there_is_nothing_yet_and_ends_well(demo: Client) -> None:
    assert command(demo, "churn") == (0, "nothing to validate: there are no predictions of churn\n")
    publish(demo, LAST, "churn_run_1")
    code, said = command(demo, "churn", "--json")
    assert (code, json.loads(said)["waiting"]) == (0, [{"date": "2026-01-31", "until": "2026-03-02"}])
    assert json.loads(said)["reason"].startswith("outcomes for 2026-01-31 are not known yet")
    assert command(demo, "churn", "--date", "2026-01-01")[1].endswith("no predictions of churn for 2026-01-01\n")
    assert command(demo, "ads") == (
        0,
        "nothing to validate: ads has no labels.sql, and so no outcomes\n",
    )


def test_the_command_shows_what_came_of_the_predictions(demo: Client) -> None:
    publish(demo, DAY, "churn_run_1")
    earlier(demo, DAY)
    code, said = command(demo, "churn", "--date", str(DAY))
    assert code == 0
    for text in ("churn_run_1", "another tool, version their own", "calibration", "by level", "medium", "0.9 to 1.0"):
        assert text in said
    code, said = command(demo, "churn", "--json")
    document = json.loads(said)
    assert (code, document["new"], document["reason"], document["remaining"]) == (0, 0, "", 0)
    first = document["validations"][0]
    assert (first["date"], first["run_id"], first["until"]) == (str(DAY), "churn_run_1", str(LAST))
    assert first["evaluation"]["auc"]["low"] < first["evaluation"]["auc"]["value"] < first["evaluation"]["auc"]["high"]


@pytest.mark.parametrize("day", ["latest", "soon", "2026-13-01"])
def test_the_command_wants_a_date_or_none(demo: Client, day: str) -> None:
    assert command(demo, "churn", "--date", day)[0] == 2


def test_a_run_validates_what_was_published_before_it(registered_model: Any) -> None:
    environment = {"RAYPIPE_URL": str(registered_model.endpoint), "RAYPIPE_ARTIFACTS": str(registered_model.artifacts)}
    if registered_model.endpoint.password_file:
        environment["RAYPIPE_PASSWORD_FILE"] = registered_model.endpoint.password_file
    before = registered_model.day - timedelta(days=1)
    with Client(registered_model.endpoint) as client:
        # Every second user comes back on the day after.
        client.run(
            "INSERT INTO customer_sessions (session_id, company_id, brand_id, user_id, session_start)"
            " SELECT user_id, company_id, brand_id, user_id, toDateTime({day:Date}, 'UTC') FROM customer_user_features"
            " WHERE feature_date = {day:Date} AND cityHash64(user_id) % 2",
            {"day": registered_model.day},
        )

    def run(day: date) -> dict[str, Any]:
        arguments = ["run", "churn", "--date", str(day), "--config", str(registered_model.project / "configs")]
        options = ["--set", "label.horizon_days=1", "--set", "evaluate.bootstrap=20", "--json"]
        result = CliRunner().invoke(app, [*arguments, *options], prog_name="raypipe", env=environment)
        assert result.exit_code == 0, result.stderr
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    first = run(before)
    (found,) = first["validated"]["validations"]
    assert (found["date"], found["run_id"]) == (str(before), first["run_id"])
    assert (found["rows"], found["left_out"], found["reason"]) == (first["rows_published"], 0, "")
    assert 0 < found["evaluation"]["positives"] < found["rows"]
    second = run(registered_model.day)
    assert second["validated"]["validations"] == [found]
    assert (second["validated"]["new"], len(second["validated"]["waiting"])) == (0, 1)


SLICES = ["monitor.slices=[brand_id, primary_country_code, current_subscription_tier, nowhere]"]


def sliced(name: str = "churn") -> Loaded:
    return pipeline(name, *SLICES)


def test_each_slice_has_the_metrics_of_its_rows(demo: Client) -> None:
    publish(demo, DAY, "churn_run_1")
    validate(demo, sliced())
    rows = performed(demo)
    assert {row[1] for row in rows} == {"", "brand_id", "primary_country_code", "current_subscription_tier"}
    assert {row[3] for row in rows if not row[1]} == {
        "auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1", "ece",
    }  # fmt: skip
    tiers = demo.rows(
        f"SELECT company_id, brand_id, user_id, current_subscription_tier FROM ({population()})", until(DAY, 30)
    )
    y, p = scored(demo)
    of = np.array([row[3] for row in tiers])
    found = {row[2:4]: row[4:] for row in rows if row[1] == "current_subscription_tier"}
    assert {value for value, _ in found} == set(of)
    for tier in set(of):
        expected = evaluate("binary", y[of == tier], p[of == tier], threshold=0.5, resamples=0)
        pairs = expected["positives"] * (expected["rows"] - expected["positives"])
        for metric in ("auc", "log_loss", "precision", "recall", "f1"):
            value, low, high, count, positives, reason = found[tier, metric]
            # Two scores of one bin count as equal: half a pair of the AUC.
            assert value == pytest.approx(expected[metric]["value"], abs=3e-3 + 0.5 / pairs), (tier, metric)
            assert low <= value <= high
            assert (count, positives, reason) == (expected["rows"], expected["positives"], "")


def test_the_whole_has_the_numbers_of_the_validation(demo: Client) -> None:
    publish(demo, DAY, "churn_run_1")
    (found,) = validate(demo).validations
    whole = performed(demo, where="slice_column = ''")
    assert whole
    for _, _, _, metric, value, low, high, rows, positives, _ in whole:
        assert {"value": value, "low": low, "high": high} == found.evaluation[metric]
        assert (rows, positives) == (found.rows, found.evaluation["positives"])


def test_slices_of_a_quantity_have_its_errors(demo: Client) -> None:
    day = LAST - timedelta(days=15)
    publish(demo, day, "engagement_run_1", "toFloat32(20 + cityHash64(user_id) % 50)", "engagement")
    (found,) = validate(demo, sliced("engagement")).validations
    brands = [row for row in performed(demo, where="slice_column = 'brand_id'") if row[3] == "rmse"]
    assert sum(row[7] for row in brands) == found.rows
    mean = sum(row[4] ** 2 * row[7] for row in brands) / found.rows
    assert mean**0.5 == pytest.approx(found.evaluation["rmse"]["value"])


def registered(client: Client, ece: float) -> None:
    evaluation = {"test": {"auc": {"value": 0.8, "low": 0.7, "high": 0.9}, "ece": {"value": ece}}}
    record = ModelRecord(
        "churn", VERSION, "CANDIDATE", "classification", "f", "a", "json", RUN_AT,
        evaluation=evaluation, metadata={"threshold": 0.5},
    )  # fmt: skip
    models.register(client, record, RUN_AT)


def test_predictions_without_outcomes_yet_have_an_estimate_in_all_and_by_slice(demo: Client) -> None:
    registered(demo, 0.01)
    publish(demo, LAST, "churn_run_1")
    (estimate,) = validate(demo, sliced()).estimates
    rows = performed(demo, "estimated")
    assert {row[1] for row in rows} == {"", "brand_id", "primary_country_code", "current_subscription_tier"}
    assert "ece" not in {row[3] for row in rows}
    p = np.array([row[0] for row in demo.rows(f"SELECT {SCORE} FROM ({population()})", {"date": LAST})])
    (precision,) = [row for row in rows if not row[1] and row[3] == "precision"]
    assert precision[4] == pytest.approx(p[p >= 0.5].mean(), rel=1e-5)
    assert precision[5] < precision[4] < precision[6]
    assert {row.metric: row.value for row in estimate.metrics} == {row[3]: row[4] for row in rows if not row[1]}
    # The second time, it is read and not computed.
    demo.run("TRUNCATE TABLE ml_model_predictions")
    assert validate(demo, sliced()).estimates == (estimate,)


def test_a_run_that_replaces_another_has_its_own_estimate_alone(demo: Client) -> None:
    registered(demo, 0.01)
    publish(demo, LAST, "churn_run_1")
    validate(demo)
    publish(demo, LAST, "churn_run_2")
    validate(demo)
    assert {row[0] for row in performed(demo, "estimated")} == {"churn_run_2"}


@pytest.mark.parametrize("ece", [0.2, None])
def test_scores_that_were_not_calibrated_at_the_fit_have_no_estimate_in_words(demo: Client, ece: float | None) -> None:
    if ece is not None:
        registered(demo, ece)
    publish(demo, LAST, "churn_run_1")
    (estimate,) = validate(demo).estimates
    ((*_, metric, value, _, _, rows, _, reason),) = performed(demo, "estimated")
    assert (metric, value, rows) == ("auc", None, 0)
    found = "was 0.200" if ece else "is unknown"
    assert reason == f"not estimated: the calibration error of version {VERSION} at its fit {found}"
    assert estimate.metrics[0].reason == reason


def test_a_slice_with_one_outcome_says_so_and_has_no_auc(alone: Client) -> None:
    publish(alone, DAY, "churn_run_1")
    alone.run("TRUNCATE TABLE customer_sessions")
    validate(alone, sliced())
    aucs = [row for row in performed(alone) if row[3] == "auc"]
    assert len(aucs) > 3
    for _, _, _, _, value, low, high, rows, _, reason in aucs:
        assert (value, low, high, reason) == (None, None, None, "every outcome is the same, so there is no AUC")
        assert rows > 0
    assert not any(row[4] is not None and not np.isfinite(row[4]) for row in performed(alone))


def test_what_cannot_be_judged_is_a_row_with_its_reason(demo: Client) -> None:
    earlier(demo, DAY, score=f"100 * {SCORE}")
    validate(demo, sliced())
    ((*_, value, _, _, rows, _, reason),) = performed(demo)
    assert (value, rows) == (None, 0)
    assert reason.startswith("not judged: the scores are no probabilities")


def test_conversions_of_another_tool_are_judged_as_those_of_raypipe(demo: Client) -> None:
    publish(demo, DAY, "conversion_run_1", name="conversion")
    demo.run(
        "INSERT INTO customer_conversion_predictions (prediction_id, user_id, company_id, brand_id, prediction_date,"
        " conversion_probability, conversion_tier, model_version) SELECT toString(generateUUIDv4()), user_id,"
        f" company_id, brand_id, {{date:Date}}, {SCORE}, 'premium', version FROM ({population('conversion')})"
        f" ARRAY JOIN ['their own', '{VERSION}'] AS version",
        {"date": DAY, "timezone": "UTC"},
    )
    ours, theirs = validate(demo, pipeline("conversion")).validations
    assert (ours.batch.model_version, theirs.batch.model_version) == (VERSION, "their own")
    assert ours.evaluation["auc"]["value"] == pytest.approx(theirs.evaluation["auc"]["value"])
    assert ours.rows == theirs.rows > 0
    assert {row[0] for row in performed(demo)} == {"conversion_run_1", ""}
