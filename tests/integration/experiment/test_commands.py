"""The commands: tables on the terminal, JSON as documented, and exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from raypipe.cli import app
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.migrate import migrate

PAGE = (Path(__file__).parents[3] / "docs" / "commands.md").read_text(encoding="utf-8")
VISITS = """
CREATE TABLE visits ENGINE = MergeTree ORDER BY tuple() AS
SELECT number AS user_id, number % 2 ? 'control' : 'treatment' AS arm, arm = 'treatment' AND number % 3 = 0 AS orders
FROM numbers(3000)
"""


def documented(command: str) -> set[str]:
    """Return the keys of the first JSON document of a command's section."""
    section = PAGE.split(f"### `raypipe {command}")[1].split("\n### ")[0]
    return set(json.loads(re.split(r"```(?:json)?\n", section)[1]))


@pytest.fixture
def run(client: Client, experiment: Callable[..., Any], tmp_path: Path) -> Callable[..., Result]:
    """Run a command on the test's own database, after writing the experiment `headline`."""

    def ran(*words: str, **config: Any) -> Result:
        experiment(**config)
        known = {"RAYPIPE_URL": str(client.endpoint)}
        if client.endpoint.password_file:
            known["RAYPIPE_PASSWORD_FILE"] = client.endpoint.password_file
        arguments = [*words[:1], "headline", *words[1:], "--config", str(tmp_path / "configs")]
        return CliRunner().invoke(app, arguments, env=known, prog_name="raypipe")

    return ran


def test_abtest_shows_arms_metrics_and_what_to_do(client: Client, run: Callable[..., Result]) -> None:
    client.run(VISITS)
    result = run("abtest", "--no-save")
    assert result.exit_code == 0
    assert "headline: 3,000 units" in result.stdout
    assert "chance explains the sizes of the arms (p = 1.0000)" in result.stdout
    assert result.stdout.splitlines()[-1] == "Take treatment: orders is better than with control."


def test_the_json_is_as_documented_and_the_result_is_saved(client: Client, run: Callable[..., Result]) -> None:
    migrate(client)
    client.run(VISITS)
    document = json.loads(run("abtest", "--json").stdout)
    assert document.keys() == documented("abtest")
    assert client.value("SELECT winning_model_id FROM ml_model_ab_tests FINAL") == "treatment"


def test_a_sample_ratio_mismatch_ends_with_code_3(client: Client, run: Callable[..., Result]) -> None:
    client.run(VISITS.replace("number % 2", "number % 3"))
    result = run("abtest", "--no-save", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["status"] == "REFUSED"


def test_without_a_table_for_the_result_nothing_is_read(client: Client, run: Callable[..., Result]) -> None:
    result = run("abtest")
    assert result.exit_code == 2
    assert "The result of the experiment has no table" in result.stderr
    assert "--no-save" in result.stderr


def test_a_policy_shows_its_estimates(client: Client, run: Callable[..., Result]) -> None:
    client.run(VISITS.replace("FROM", ", 0.5 AS propensity FROM"))
    policy = {"action": "arm", "propensity": "propensity", "reward": "orders", "resamples": 100}
    shares = [{"name": "treatment", "share": 0.999}, {"name": "control", "share": 0.001}]
    config = {"arm": None, "arms": None, "metrics": None, "policy": {**policy, "shares": shares}}
    result = run("abtest", "--no-save", **config)
    assert result.exit_code == 0, result.stderr
    assert "policy, doubly robust" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("Take the policy")


def test_assign_logs_exposures_and_shows_the_arm_of_a_key(client: Client, run: Callable[..., Result]) -> None:
    migrate(client)
    client.run(VISITS)
    salted = {"arm": None, "salt": "headline-2026"}
    document = json.loads(run("assign", "--json", **salted).stdout)
    assert document.keys() == documented("assign")
    assert document["added"] == 3000
    arm = run("assign", "--key", "17", **salted).stdout.strip()
    expression = run("assign", "--sql", **salted).stdout.strip()
    assert client.value(f"SELECT {expression} FROM visits WHERE user_id = 17") == arm
    assert client.value("SELECT arm FROM raypipe_exposures WHERE unit = ['17']") == arm


def test_a_key_of_too_many_values_is_refused(run: Callable[..., Result]) -> None:
    result = run("assign", "--key", "1", "--key", "2", arm=None, salt="s")
    assert result.exit_code == 2
    assert "A unit of headline is named by user_id" in result.stderr
