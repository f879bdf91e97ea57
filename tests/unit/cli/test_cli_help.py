"""Test the command line itself: `--help`, common options, and unusable arguments."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

import raypipe
from raypipe.cli import app

ROOT = typer.main.get_command(app)


def _walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    children = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name, child in children.items():
        yield from _walk(child, f"{path} {name}".strip())


COMMANDS = dict(_walk(ROOT, ""))
# They look at files alone, or leave ClickHouse to the command that they submit.
WITHOUT_CLICKHOUSE = {"config schema", "submit"}
# What is refused only after somebody asked there ends with another code.
NOWHERE = "http://127.0.0.1:9/nobody"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), prog_name="raypipe")


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_command_speaks_json_and_debug(command: str) -> None:
    options = {option for parameter in COMMANDS[command].params for option in parameter.opts}
    assert {"--json", "--debug"} <= options
    assert {"--config", "--url"} <= options or command in WITHOUT_CLICKHOUSE


def test_every_option_and_argument_is_explained(command: str) -> None:
    silent = [parameter.name for parameter in COMMANDS[command].params if not getattr(parameter, "help", None)]
    assert silent == []


def test_the_help_of_a_command_says_what_it_does_and_names_every_option(command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    text = re.sub(r"\s+", " ", result.stdout)
    assert re.sub(r"\s+", " ", (COMMANDS[command].help or "-").strip().splitlines()[0]) in text
    assert [
        o for parameter in COMMANDS[command].params for o in parameter.opts if o.startswith("--") and o not in text
    ] == []


def test_an_example_can_be_typed_as_it_stands(command: str) -> None:
    for example in re.findall(r"Example: raypipe (.*)", inspect.cleandoc(COMMANDS[command].help or "")):
        words = shlex.split(re.split(r" > |, then ", example)[0])
        named = next(
            name for name in sorted(COMMANDS, key=len, reverse=True) if words[: len(name.split())] == name.split()
        )
        assert named == command
        COMMANDS[command].make_context(command, words[len(named.split()) :])


def test_every_command_has_an_example(command: str) -> None:
    assert "Example: raypipe " in (COMMANDS[command].help or "")


def test_the_help_lists_every_command_in_a_line() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name in {path.split()[0] for path in COMMANDS}:
        assert re.search(rf"^  {name} +\S+", result.stdout, re.MULTILINE)
    assert "Exit codes" in result.stdout


def test_without_a_command_the_help_is_shown() -> None:
    result = run()
    assert "Usage: raypipe" in result.output
    assert result.exit_code == 2


def test_the_version_is_printed() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"raypipe {raypipe.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["scor"], "scor"),
        (["score"], "PIPELINE"),
        (["score", "churn", "--dat", "latest"], "--dat"),
        (["runs", "--limit", "0"], "--limit"),
        (["demo", "--users", "many"], "--users"),
        (["demo", "--days", "90"], "91"),
        (["demo", "--drift-on", "latest", "--url", NOWHERE], "--drift-on"),
        (["features", "--from", "latest", "--url", NOWHERE], "--from"),
        (["features", "--from", "", "--url", NOWHERE], "--from"),
        (["validate", "churn", "--date", "latest", "--url", NOWHERE], "--date"),
        (["explore", "--output", "x" * 300, "--url", NOWHERE], "File name too long"),
        (["resume"], "RUN"),
        (["sql"], "SELECT"),
        (["submit", "http://127.0.0.1:1"], "COMMAND"),
        (["submit", "http://127.0.0.1:1", "--", "rnu", "churn"], "raypipe rnu"),
        (["submit", "http://127.0.0.1:1", "--", "submit", "http://127.0.0.1:1", "--", "runs"], "raypipe submit"),
        (["submit", "http://127.0.0.1:1", "--", "run", "churn", "--dat", "latest"], "--dat"),
        (["submit", "http://127.0.0.1:1", "--", "run", "churn", "--help"], "raypipe run --help"),
        (["submit", "http://127.0.0.1:1", "--working-dir", "absent", "--", "runs"], "absent"),
        (["submit", "http://127.0.0.1:1", "--requirements", "absent", "--", "runs"], "absent"),
        (["submit", "ray://127.0.0.1:10001", "--", "runs"], "ray://127.0.0.1:10001"),
        (["submit", "http://127.0.0.1:port", "--", "runs"], "http://127.0.0.1:port"),
    ],
)
def test_arguments_that_cannot_be_used_are_named_on_stderr_alone(arguments: list[str], named: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert named in result.stderr
    assert "Traceback" not in result.stderr


def test_a_report_that_was_never_made_leaves_no_file(tmp_path: Path) -> None:
    result = run("explore", "--output", str(tmp_path / "report.html"), "--url", "file:nothing")
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []
