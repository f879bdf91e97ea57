"""Test that the commands' JSON has the form that docs/commands.md shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from raypipe.cli import app
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.load import load_pipeline
from raypipe.score import runs

PAGE = (Path(__file__).parents[3] / "docs" / "commands.md").read_text()
SECTIONS = {
    found[1]: section
    for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]
    if (found := re.match(r"`raypipe ([a-z ]*[a-z])", section))
}


def documented(command: str) -> Any:
    """Return the first JSON document of a command's section."""
    block = re.search(r"```json\n(.*?)```", SECTIONS[command], re.DOTALL)
    assert block is not None
    return json.loads(block[1])


def invoked(registered_model: Any, *arguments: str) -> Result:
    """Run a command with --json on the model's database."""
    environment = {"RAYPIPE_URL": str(registered_model.endpoint), "RAYPIPE_ARTIFACTS": str(registered_model.artifacts)}
    if registered_model.endpoint.password_file:
        environment["RAYPIPE_PASSWORD_FILE"] = registered_model.endpoint.password_file
    options = ["--config", str(registered_model.project / "configs"), "--json"]
    return CliRunner().invoke(app, [*arguments, *options], env=environment)


def document(registered_model: Any, *arguments: str, code: int = 0) -> Any:
    """Return the JSON document of a command, which prints nothing else on stdout."""
    result = invoked(registered_model, *arguments)
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


def test_plan(registered_model: Any) -> None:
    found = document(registered_model, "plan", "churn")
    assert found.keys() == documented("plan").keys()
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in documented("plan").items()
    }


def test_runs(registered_model: Any) -> None:
    assert document(registered_model, "runs") == {"runs": []}
    with Client(registered_model.endpoint) as client:
        blank = dict.fromkeys(("run_id", "model_id", "model_version", "artifact_sha256", "contract_sha256"), "x")
        runs.save(
            client,
            runs.Run(
                **blank,
                pipeline="churn",
                date=registered_model.day,
                sql_sha256="",
                status=runs.FAILED,
                manifest="{}",
                source_rows=1,
                source_checksum=1,
                slices=1,
            ),
            1,
        )
    (found,) = document(registered_model, "runs", "churn")["runs"]
    assert found.keys() == documented("runs")["runs"][0].keys()
    assert (found["status"], found["date"]) == ("FAILED", "2026-01-31")
    assert document(registered_model, "runs", "--limit", "1")["runs"] == [found]


def test_models(registered_model: Any) -> None:
    (found,) = document(registered_model, "models", "churn")["models"]
    assert found.keys() == documented("models list")["models"][0].keys()
    assert (found["model_version"], found["status"], found["is_active"]) == (
        registered_model.version,
        "PRODUCTION",
        True,
    )
    assert document(registered_model, "models") == {"models": [found]}


def test_sql(registered_model: Any) -> None:
    query = "SELECT count() FROM customer_user_features"
    assert document(registered_model, "sql", query) == {"columns": ["count()"], "rows": [[600]]}
    assert documented("sql").keys() == {"columns", "rows"}


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("(SELECT 1) UNION ALL (SELECT 1)", [[1], [1]]),
        ("\n-- a comment\nWITH 2 AS x SELECT x", [[2]]),
        ("/* a comment */ -- another\n (SELECT 3)", [[3]]),
        ("SELECT nan, NULL, toDate('2026-01-31'), [1, 2], map('a', 1)", [[None, None, "2026-01-31", [1, 2], {"a": 1}]]),
        ("SELECT '[red]x[/red]'", [["[red]x[/red]"]]),
        ("EXISTS TABLE no_such_table", [[0]]),
        ("SELECT 1 WHERE 0", []),
    ],
)
def test_sql_of_many_kinds(registered_model: Any, query: str, rows: list[Any]) -> None:
    assert document(registered_model, "sql", query)["rows"] == rows


def test_sql_without_a_result(registered_model: Any) -> None:
    for statement in ("CREATE TABLE made_here (x UInt8) ENGINE = Memory", "DROP TABLE made_here"):
        assert document(registered_model, "sql", statement) == {"columns": [], "rows": []}


def test_migrate(registered_model: Any) -> None:
    found = document(registered_model, "migrate", "--check")
    assert found.keys() == documented("migrate").keys()
    assert (found["created"], found["check"]) == ([], True)
    assert {"customer_user_features", "ml_model_registry", "raypipe_runs"} <= set(found["present"])


def test_migrate_with_a_difference_on_which_runs_fail(registered_model: Any, database: Endpoint) -> None:
    with Client(database) as client:
        client.run("CREATE TABLE ml_model_registry (model_id String) ENGINE = MergeTree ORDER BY model_id")
    found = document(registered_model, "migrate", "--check", "--url", str(database), code=1)
    assert found["differences"][0].keys() == documented("migrate")["differences"][0].keys()


def test_doctor(registered_model: Any) -> None:
    found = document(registered_model, "doctor")
    assert found.keys() == documented("doctor").keys()
    assert all(check.keys() == documented("doctor")["checks"][0].keys() for check in found["checks"])


def test_doctor_of_a_database_without_tables(registered_model: Any, database: Endpoint) -> None:
    found = document(registered_model, "doctor", "--url", str(database), code=1)
    assert [check["next_step"] for check in found["checks"] if check["name"] == "tables"] == ["raypipe migrate"]


def test_explore(registered_model: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    arguments = ["explore", "--table", "customer_user_features", "--table", "brands", "--output", str(file)]
    found = document(registered_model, *arguments)
    wanted = documented("explore")
    assert found.keys() == wanted.keys()
    table = next(table for table in found["tables"] if table["table"] == "customer_user_features")
    assert table["rows"] == 600
    assert table.keys() == wanted["tables"][0].keys()
    for part in ("columns", "keys", "targets", "hazards"):
        assert table[part][0].keys() == wanted["tables"][0][part][0].keys()
    assert {relation["parent"] for relation in found["relations"]} == {"brands"}
    assert found["relations"][0].keys() == wanted["relations"][0].keys()
    assert "customer_user_features" in file.read_text(encoding="utf-8")


def test_explore_refuses_a_file_that_cannot_be_written_before_any_work(registered_model: Any, tmp_path: Path) -> None:
    arguments = ["explore", "--output", str(tmp_path / "no_such_folder" / "report.html")]
    result = CliRunner().invoke(app, [*arguments, "--url", "http://127.0.0.1:9/nobody"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no_such_folder" in result.stderr


@pytest.mark.parametrize("file", ["/proc/raypipe.html", "/proc"])
def test_explore_refuses_what_the_system_does_not_let_it_write(file: str) -> None:
    result = CliRunner().invoke(app, ["explore", "--output", file, "--url", "http://127.0.0.1:9/nobody"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"found: {file} (" in result.stderr


def test_explore_says_when_the_disk_is_full(registered_model: Any) -> None:
    result = invoked(registered_model, "explore", "--table", "brands", "--output", "/dev/full")
    assert json.loads(result.stdout)["error"]["code"] == result.exit_code == 1
    assert "The report was not written completely" in result.stderr
    assert "next: free some space" in result.stderr


def test_config_show(registered_model: Any) -> None:
    found = document(registered_model, "config", "show", "churn", "--set", "model.rounds=7")
    assert (found["model.rounds"], found["connection.url"]["source"]) == (
        {"value": 7, "source": "--set"},
        "RAYPIPE_URL",
    )
    assert all(item.keys() == {"value", "source"} for item in found.values())
    files = {path.stem for path in (registered_model.project / "configs").glob("*.yaml")}
    assert document(registered_model, "config", "show") == {"pipelines": sorted(files - {"base"})}
    assert found["model.rounds"]["value"] != load_pipeline("churn", environ={}).config.model.rounds
