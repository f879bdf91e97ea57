"""Test the commands `raypipe why` and `raypipe audit`: their JSON, their tables and their exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from raypipe.cli import app
from tests.integration.proof.places import Place

PAGE = (Path(__file__).parents[3] / "docs" / "commands.md").read_text(encoding="utf-8")


def documented(command: str) -> Any:
    section = PAGE[PAGE.index(f"### `raypipe {command} ") :]
    block = re.search(r"```json\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return json.loads(block[1])


def invoked(place: Place, *arguments: str) -> Result:
    endpoint = place.client.endpoint
    environment = {"RAYPIPE_URL": str(endpoint)}
    if endpoint.password_file:
        environment["RAYPIPE_PASSWORD_FILE"] = endpoint.password_file
    return CliRunner().invoke(app, list(arguments), env=environment)


def test_why_prints_the_documented_json(churn: Place) -> None:
    result = invoked(churn, "why", "churn", "u17", "--json")
    assert result.exit_code == 0, result.stderr
    document, wanted = json.loads(result.stdout), documented("why")
    assert document.keys() == wanted.keys()
    assert document["features"][0].keys() == wanted["features"][0].keys()
    assert document["published"][0].keys() == wanted["published"][0].keys()
    assert document["equal"] is True
    assert document["seconds"] < 30


def test_why_prints_tables(churn: Place) -> None:
    result = invoked(churn, "why", "churn", "u17", "--date", "2026-01-31")
    assert result.exit_code == 0, result.stderr
    for text in ("user id", "u17", "days_since_last_session", "days", "equal", "yes"):
        assert text in result.stdout


def test_audit_prints_the_documented_json(churn: Place) -> None:
    result = invoked(churn, "audit", "churn", "--json")
    assert result.exit_code == 0, result.stderr
    document, wanted = json.loads(result.stdout), documented("audit")
    assert document.keys() == wanted.keys()
    assert document["sample"].keys() == wanted["sample"].keys()
    assert document["columns"][0].keys() == wanted["columns"][0].keys()
    assert (document["same"], document["changed"]) == (True, [])


@pytest.mark.parametrize("arguments", [("why", "churn", "u17"), ("audit", "churn")])
def test_a_difference_ends_with_code_3(churn: Place, arguments: tuple[str, ...]) -> None:
    churn.run("ALTER TABLE customer_user_features UPDATE days_since_last_session = 1 WHERE user_id = 'u17'")
    result = invoked(churn, *arguments)
    assert result.exit_code == 3
    assert "days_since_last_session" in result.stdout
    assert json.loads(invoked(churn, *arguments, "--json").stdout)["run_id"] in result.stdout


@pytest.mark.parametrize("pipeline", ["ads", "baselines"])
@pytest.mark.parametrize("command", [("why", "{}", "u17"), ("audit", "{}")])
def test_a_pipeline_that_scores_no_population_is_refused(churn: Place, pipeline: str, command: tuple[str, ...]) -> None:
    result = invoked(churn, *(word.format(pipeline) for word in command))
    assert result.exit_code == 2
    assert pipeline in result.stderr


def test_an_unknown_key_and_an_unknown_date_end_with_code_2(churn: Place) -> None:
    assert invoked(churn, "why", "churn", "u999").exit_code == 2
    assert invoked(churn, "audit", "churn", "--date", "2026-01-30").exit_code == 2
