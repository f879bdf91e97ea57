"""Test the churn night from features to published rows, on a real ClickHouse and a real Ray."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import pytest
from typer.testing import CliRunner

from raypipe.cli import app
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.load import Loaded, load_pipeline
from raypipe.demo.reachable import measure
from raypipe.project import shipped
from raypipe.registry import models
from raypipe.score import plan, runs, score
from raypipe.score.score import ScoreResult
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher, _fresh_database
from tests.faults.servers import copied
from tests.reach import require_within_reach

pytestmark = pytest.mark.usefixtures("ray_session")

LAST = PUBLISHER_LAST_DATE
SOURCE = (
    "SELECT company_id, brand_id, user_id FROM customer_user_features"
    " WHERE feature_date = {date:Date} AND active_last_30_days = 1"
)
PUBLISHED = (
    "SELECT company_id, brand_id, entity_id AS user_id FROM ml_model_predictions"
    " WHERE prediction_type = 'churn' AND prediction_date = {date:Date}"
)
CHURN = "SELECT company_id, brand_id, user_id FROM customer_churn_predictions WHERE prediction_date = {date:Date}"


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


def churn(publisher: FittedPublisher, *overrides: str) -> Loaded:
    return load_pipeline("churn", shipped() / "configs", [*publisher.overrides, *overrides], environ={})


def scored(publisher: FittedPublisher, day: date, *overrides: str) -> ScoreResult:
    return score.score(publisher.endpoint, churn(publisher, *overrides), day, "champion", silent)


def differences(client: Client, published: str, day: date) -> tuple[int, int, int]:
    """Return unpublished source keys, published keys without a source, and duplicate keys."""
    join = (
        f"FROM (SELECT DISTINCT * FROM ({SOURCE})) AS s FULL JOIN ({published}) AS p"
        " USING (company_id, brand_id, user_id)"
    )
    settings = {"join_use_nulls": 1}
    missing, extra = client.rows(
        f"SELECT countIf(isNull(p.user_id)), countIf(isNull(s.user_id)) {join}", {"date": day}, settings
    )[0]
    doubled = (
        f"SELECT count() FROM (SELECT count() AS n FROM ({published})"
        " GROUP BY company_id, brand_id, user_id HAVING n > 1)"
    )
    return missing, extra, client.value(doubled, {"date": day})


def own_tables(client: Client) -> list[str]:
    """Return the tables that runs create for themselves."""
    rows = client.rows(
        "SELECT name FROM system.tables WHERE database = currentDatabase()"
        " AND match(name, '^raypipe_(staging|portion|twin|explain|snapshot|training|lock)_')"
    )
    return [row[0] for row in rows]


@pytest.fixture(scope="module")
def published(fitted_publisher: FittedPublisher) -> ScoreResult:
    return scored(fitted_publisher, LAST)


@pytest.fixture
def reader(fitted_publisher: FittedPublisher) -> Iterator[Client]:
    with Client(fitted_publisher.endpoint) as client:
        yield client


def test_every_active_user_is_published_once_and_no_other(published: ScoreResult, reader: Client) -> None:
    assert published.outcome.run.slices > 5
    assert published.outcome.run.rows_published == reader.value(f"SELECT count() FROM ({SOURCE})", {"date": LAST})
    for target in (PUBLISHED, CHURN):
        assert differences(reader, target, LAST) == (0, 0, 0)


def test_a_published_run_leaves_no_table_of_its_own(published: ScoreResult, reader: Client) -> None:
    assert published.outcome.run.status == runs.PUBLISHED
    assert own_tables(reader) == []


def test_churn_predictions_carry_levels_confidence_and_the_features_used(
    published: ScoreResult, reader: Client
) -> None:
    wrong = reader.value(
        "SELECT countIf(NOT (churn_risk_level = multiIf(churn_probability < 0.3, 'low', churn_probability < 0.5,"
        " 'medium', churn_probability < 0.7, 'high', 'critical') AND abs(model_confidence - greatest(churn_probability,"
        " 1 - churn_probability)) < 1e-6 AND c.total_sessions = f.total_sessions AND model_version = {version:String}))"
        " FROM customer_churn_predictions AS c JOIN customer_user_features AS f ON f.feature_date = c.prediction_date"
        " AND f.company_id = c.company_id AND f.brand_id = c.brand_id AND f.user_id = c.user_id"
        " WHERE prediction_date = {date:Date}",
        {"date": LAST, "version": published.manifest.model_version},
    )
    assert wrong == 0


def test_the_riskiest_rows_are_explained_by_their_largest_contributions(published: ScoreResult, reader: Client) -> None:
    rows = reader.rows(
        "SELECT feature_importance FROM customer_churn_predictions WHERE prediction_date = {date:Date}"
        " ORDER BY churn_probability DESC, company_id, brand_id, user_id LIMIT 40",
        {"date": LAST},
    )
    explained = [json.loads(text) for (text,) in rows if text not in ("", "{}")]
    assert len(explained) == 20
    for contributions in explained:
        sizes = [abs(value) for value in contributions.values()]
        assert 1 <= len(sizes) <= 5
        assert sizes == sorted(sizes, reverse=True)


def test_published_scores_are_the_models_own(published: ScoreResult, reader: Client) -> None:
    from raypipe.artifact.contract import MATRIX, matrix
    from raypipe.artifact.package import load_package
    from raypipe.data.slices import unsliced

    manifest = published.manifest
    package = load_package(manifest.artifact_uri, manifest.artifact_sha256, reader)
    scores = PUBLISHED.replace("entity_id AS", "prediction_value, entity_id AS")
    rows = reader.table(
        f"SELECT {MATRIX}, p.prediction_value AS published FROM ({unsliced(manifest.select)}) AS s"
        f" JOIN ({scores}) AS p USING (company_id, brand_id, user_id)",
        manifest.select_parameters,
    )
    again = package.model.predict(matrix(rows.column(MATRIX), len(package.contract.columns)))
    np.testing.assert_allclose(rows.column("published").to_numpy(), again, atol=1e-6)


def test_a_rerun_of_a_date_replaces_it_and_leaves_other_dates_alone(
    fitted_publisher: FittedPublisher, reader: Client
) -> None:
    earlier = LAST - timedelta(days=15)
    first = scored(fitted_publisher, earlier, "score.explain.rows=0")
    before = reader.value(f"SELECT count() FROM ({PUBLISHED})", {"date": LAST})
    second = scored(fitted_publisher, earlier, "score.explain.rows=0")
    batches = reader.rows(
        "SELECT DISTINCT batch_id FROM ml_model_predictions WHERE prediction_date = {date:Date}", {"date": earlier}
    )
    assert batches == [(second.manifest.run_id,)]
    assert differences(reader, PUBLISHED, earlier) == differences(reader, CHURN, earlier) == (0, 0, 0)
    assert reader.value(f"SELECT count() FROM ({PUBLISHED})", {"date": LAST}) == before
    assert runs.find(reader, first.manifest.run_id).status == runs.SUPERSEDED


def test_a_run_writes_one_monitoring_row_with_the_drift_of_its_own_pass(published: ScoreResult, reader: Client) -> None:
    rows = reader.rows(
        "SELECT total_predictions, data_drift_score, feature_drift_scores FROM ml_model_monitoring"
        " WHERE monitoring_date = {date:Date} AND JSONExtractString(metadata, 'run_id') = {run:String}",
        {"date": LAST, "run": published.manifest.run_id},
    )
    assert len(rows) == 1
    total, worst, scores = rows[0]
    assert total == published.outcome.run.rows_published
    # Without an earlier night there is nothing to compare with.
    known = [value for value in json.loads(scores).values() if value is not None]
    assert worst == pytest.approx(max(known, default=0.0), rel=1e-5)


def test_the_model_is_close_to_the_best_reachable_and_not_perfect(
    fitted_publisher: FittedPublisher, reader: Client
) -> None:
    """The model and the latent truth score the same test rows."""
    (found,) = measure(reader, churn(fitted_publisher))
    auc = found.model["value"]
    assert auc is not None
    assert found.best is not None
    assert 0.7 < auc < 0.99
    # So few readers do not show all of the truth.
    assert found.best - 0.12 < auc
    test = models.find(reader, "churn", "champion").evaluation["test"]
    require_within_reach(reader, churn(fitted_publisher), test, "auc")


def test_the_command_shows_the_model_beside_baseline_and_best(fitted_publisher: FittedPublisher) -> None:
    environment = {key: value for key, value in fitted_publisher.environment().items() if key.startswith("RAYPIPE_")}

    def run(*arguments: str) -> str:
        command = ["reachable", "--config", str(shipped() / "configs"), *arguments]
        result = CliRunner().invoke(app, command, env=environment, prog_name="raypipe")
        assert result.exit_code == 0, result.stderr
        return result.stdout

    document = next(one for one in json.loads(run("--json"))["models"] if one["pipeline"] == "churn")
    assert 0.7 < document["model"]["value"] < 0.99
    assert 0.7 < document["baseline_value"] < document["best"]
    shown = next(line for line in run().splitlines() if "churn" in line)
    for value in (document["model"]["value"], document["baseline_value"], document["best"]):
        assert f"{value:.4f}" in shown


def test_planning_changes_nothing(fitted_publisher: FittedPublisher, reader: Client) -> None:
    state = (
        "SELECT name, total_rows, metadata_version FROM system.tables WHERE database = currentDatabase() ORDER BY name"
    )
    before = reader.rows(state)
    planned = plan.plan(fitted_publisher.endpoint, churn(fitted_publisher), LAST, "champion")
    assert planned.manifest.source_rows == reader.value(f"SELECT count() FROM ({SOURCE})", {"date": LAST})
    assert planned.parts >= 1
    assert planned.methods == {"customer_churn_predictions": "replace", "ml_model_predictions": "replace"}
    assert planned.lacking == ()
    assert reader.rows(state) == before


def test_a_copied_population_is_published_just_the_same(fitted_publisher: FittedPublisher, reader: Client) -> None:
    earlier = LAST - timedelta(days=45)
    outcome = scored(fitted_publisher, earlier, "source.snapshot=true", "score.explain.rows=3")
    assert outcome.manifest.snapshot is not None
    assert differences(reader, PUBLISHED, earlier) == (0, 0, 0)
    assert own_tables(reader) == []


def test_the_publishers_own_tables_are_published_into_as_they_are(
    fitted_publisher: FittedPublisher, endpoint: Endpoint
) -> None:
    """In monthly partitions MOVE adds the rows, and an earlier run's rows are deleted by its mark."""
    with _fresh_database(endpoint) as theirs, Client(theirs) as client:
        publisher = copied(fitted_publisher, theirs, [LAST], monthly=True)
        client.run(
            "INSERT INTO customer_churn_predictions (prediction_id, user_id, prediction_date, model_version,"
            " created_at) VALUES ('theirs', 'somebody', {date:Date}, 'their own', '2026-01-31 05:00:00')",
            {"date": LAST},
        )
        scored(publisher, LAST)
        second = scored(publisher, LAST)
        of_run = f"{CHURN} AND model_version = '{second.manifest.model_version}'"
        assert differences(client, PUBLISHED, LAST) == differences(client, of_run, LAST) == (0, 0, 0)
        assert client.rows(
            "SELECT DISTINCT batch_id FROM ml_model_predictions WHERE prediction_date = {date:Date}", {"date": LAST}
        ) == [(second.manifest.run_id,)]
        assert client.value("SELECT count() FROM customer_churn_predictions WHERE prediction_id = 'theirs'") == 1
        assert own_tables(client) == []
