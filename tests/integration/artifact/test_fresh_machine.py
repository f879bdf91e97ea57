"""Test that a machine with nothing but the address of ClickHouse scores with the champion that another one fitted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from raypipe.cli import app
from raypipe.clickhouse.client import Client
from raypipe.project import shipped
from raypipe.registry import models
from raypipe.registry.record import Registered
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher
from tests.integration.conftest import FEW_USERS, RegisteredModel


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Return the home of a machine with the configs and the SQL of the project."""
    for name in ("configs", "sql"):
        shutil.copytree(shipped() / name, tmp_path / "project" / name)
    return tmp_path


def command(machine: Path, publisher: FittedPublisher, *arguments: str) -> tuple[int, dict[str, Any]]:
    known = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "RAYPIPE_PASSWORD") if name in os.environ}
    known |= {"HOME": str(machine), "TMPDIR": str(machine), "RAYPIPE_URL": str(publisher.endpoint)}
    if publisher.endpoint.password_file:
        known["RAYPIPE_PASSWORD_FILE"] = publisher.endpoint.password_file
    done = subprocess.run(
        [sys.executable, "-m", "raypipe", *arguments, "--json"],
        cwd=machine / "project",
        env=known,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def champion(publisher: FittedPublisher) -> Registered:
    with Client(publisher.endpoint) as client:
        return models.find(client, "churn", "champion")


def test_a_night_on_a_fresh_machine_scores_with_the_champion_of_another_folder(
    fitted_publisher: FittedPublisher, machine: Path
) -> None:
    standing, day = champion(fitted_publisher), str(PUBLISHER_LAST_DATE)
    assert standing.artifact_uri == f"clickhouse://raypipe_artifacts/{standing.artifact_sha256}"
    code, document = command(machine, fitted_publisher, "nightly", "--only", "churn", "--date", day)
    assert code == 0, document
    (step,) = [step for step in document["pipelines"] if step["pipeline"] == "churn"]
    with Client(fitted_publisher.endpoint) as client:
        version, rows = client.rows(
            "SELECT any(model_version), count() FROM raypipe_current_predictions AS p"
            " INNER JOIN (SELECT run_id, model_version FROM raypipe_runs FINAL) AS r ON p.batch_id = r.run_id"
            " WHERE prediction_type = 'churn' AND prediction_date = {day:Date} AND batch_id = {run:String}",
            {"day": day, "run": step["run_id"]},
        )[0]
        population = client.value(
            "SELECT uniqExact(company_id, brand_id, user_id) FROM customer_user_features"
            " WHERE feature_date = {day:Date}",
            {"day": day},
        )
    assert (version, rows) == (standing.version, population)
    copies = machine / ".cache" / "raypipe" / "artifacts"
    assert [path.name for path in copies.glob("*/*")] == [standing.artifact_sha256]


def score(place: RegisteredModel) -> tuple[int, dict[str, Any]]:
    """Score with the shipped configs, where `artifacts` is the table."""
    environment = {"RAYPIPE_URL": str(place.endpoint), "RAYPIPE_PASSWORD_FILE": place.endpoint.password_file}
    arguments = [
        "score",
        "churn",
        "--config",
        str(place.project / "configs"),
        "--set",
        "score.explain.rows=5",
        "--json",
    ]
    result = CliRunner().invoke(app, arguments, env=environment, prog_name="raypipe")
    return result.exit_code, json.loads(result.stdout)


def test_a_version_in_a_folder_still_scores(registered_model: RegisteredModel) -> None:
    code, document = score(registered_model)
    assert (code, document.get("rows_published")) == (0, FEW_USERS), document


def test_without_the_table_a_machine_without_the_folder_cannot_score(registered_model: RegisteredModel) -> None:
    elsewhere = registered_model.artifacts.rename(registered_model.artifacts.with_name("another_machine"))
    try:
        code, document = score(registered_model)
    finally:
        elsewhere.rename(registered_model.artifacts)
    assert code == 1
    assert "is not there" in document["error"]["problem"]
