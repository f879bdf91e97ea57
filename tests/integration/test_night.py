"""Test a whole night on a real ClickHouse and a real Ray."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from raypipe.cli import app
from raypipe.clickhouse.client import Client
from raypipe.project import shipped
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher
from tests.integration.cli.test_cli_json import documented

SOURCE = "{table: customer_user_features, date_column: feature_date}"


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """Provide the shipped configs with churn, ads, a pipeline without its table and one with an empty table."""
    shutil.copytree(shipped() / "sql", tmp_path / "sql")
    folder = tmp_path / "configs"
    folder.mkdir()
    for name in ("base", "churn", "ads"):
        shutil.copy(shipped() / "configs" / f"{name}.yaml", folder)
    broken = yaml.safe_load((folder / "churn.yaml").read_text())
    broken |= {"pipeline": "broken", "after": ["churn"], "source": {"table": "nobodys_table"}}
    (folder / "broken.yaml").write_text(yaml.safe_dump(broken))
    shutil.copytree(tmp_path / "sql" / "churn", tmp_path / "sql" / "broken")
    lacking = {**broken, "pipeline": "lacking", "after": [], "source": yaml.safe_load(SOURCE)}
    (folder / "lacking.yaml").write_text(yaml.safe_dump(lacking))
    shutil.copytree(tmp_path / "sql" / "churn", tmp_path / "sql" / "lacking")
    (tmp_path / "sql" / "lacking" / "labels.sql").write_text(
        "SELECT '' AS company_id, '' AS brand_id, article_id AS user_id, 1 AS label FROM editorial_article_content"
        " WHERE toDate(created_at) > {date:Date} AND toDate(created_at) <= {until:Date}"
    )
    off = {**broken, "pipeline": "off", "enabled": False, "after": []}
    (folder / "off.yaml").write_text(yaml.safe_dump(off))
    return folder


def nightly(publisher: FittedPublisher, configs: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    overrides = [part for item in publisher.overrides for part in ("--set", item)]
    command = [
        "nightly",
        "--date",
        str(PUBLISHER_LAST_DATE),
        "--config",
        str(configs),
        "--json",
        *overrides,
        *arguments,
    ]
    environment = {key: value for key, value in publisher.environment().items() if key.startswith("RAYPIPE_")}
    result = CliRunner().invoke(app, command, env=environment, prog_name="raypipe")
    return result.exit_code, json.loads(result.stdout)


def by_pipeline(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["pipeline"]: step for step in document["pipelines"]}


def test_a_pipeline_that_fails_does_not_stop_the_others_and_the_command_says_so(
    fitted_publisher: FittedPublisher, configs: Path
) -> None:
    code, document = nightly(fitted_publisher, configs)
    assert code == 1
    assert document.keys() == documented("nightly").keys()
    assert document["pipelines"][0].keys() == documented("nightly")["pipelines"][0].keys()
    assert (document["date"], document["failed"]) == (PUBLISHER_LAST_DATE.isoformat(), ["lacking", "broken"])
    steps = by_pipeline(document)
    assert next(iter(steps)) == "features"
    assert {name: step["status"] for name, step in steps.items()} == {
        "features": "done",
        "ads": "done",
        "churn": "done",
        "broken": "failed",
        "lacking": "failed",
    }
    assert list(steps).index("churn") < list(steps).index("broken")
    assert "nobodys_table" in str(steps["broken"]["reason"])
    assert "empty: editorial_article_content" in str(steps["lacking"]["reason"])
    with Client(fitted_publisher.endpoint) as client:
        for name in ("ads", "churn"):
            found = client.value(
                "SELECT count() FROM raypipe_current_predictions"
                " WHERE prediction_type = {name:String} AND prediction_date = {date:Date}",
                {"name": name, "date": PUBLISHER_LAST_DATE},
            )
            assert found == steps[name]["rows_published"] > 0
            assert steps[name]["date"] == document["date"]
            assert client.rows(
                "SELECT DISTINCT batch_id FROM raypipe_current_predictions"
                " WHERE prediction_type = {name:String} AND prediction_date = {date:Date}",
                {"name": name, "date": PUBLISHER_LAST_DATE},
            ) == [(steps[name]["run_id"],)]
    assert (steps["broken"]["run_id"], steps["broken"]["rows_published"]) == (None, 0)


def test_only_what_was_asked_for_runs_enabled_or_not(fitted_publisher: FittedPublisher, configs: Path) -> None:
    code, document = nightly(fitted_publisher, configs, "--only", "ads")
    assert (code, list(by_pipeline(document)), document["failed"]) == (0, ["ads"], [])
