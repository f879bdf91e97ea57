"""The surface of the command line: its help, its shared options, its completion and its usage errors."""

from __future__ import annotations

import inspect
import json
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
from raypipe.cli.main import COMMANDS as GROUPS

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


def test_the_help_lists_every_command_under_its_group_in_one_whole_line() -> None:
    result = run("--help")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line for line in lines if re.fullmatch(r"[A-Z]\w+:", line)] == [
        "Options:",
        *(f"{group}:" for group in GROUPS),
    ]
    for group, names in GROUPS.items():
        listed = lines[lines.index(f"{group}:") + 1 :]
        for name, line in zip(names, listed, strict=False):
            description = (ROOT.commands[name].help or "").splitlines()[0]
            assert re.fullmatch(rf"  {name} +{re.escape(description)}", line)
            assert len(line) <= 80
    assert "Exit codes" in result.stdout


def test_every_command_is_in_one_group() -> None:
    listed = [name for names in GROUPS.values() for name in names]
    assert sorted(listed) == sorted({path.split()[0] for path in COMMANDS})


def test_the_first_line_of_a_command_of_a_group_is_listed_whole() -> None:
    for group in ("models", "config"):
        text = run(group, "--help").stdout
        for name, command in ROOT.commands[group].commands.items():
            assert re.search(rf"^  {name} +{re.escape((command.help or '').splitlines()[0])}$", text, re.MULTILINE)


def test_the_shell_completes_commands_and_options() -> None:
    def completed(words: str) -> list[str]:
        environment = {"_RAYPIPE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        return CliRunner().invoke(app, [], prog_name="raypipe", env=environment).stdout.split()

    assert completed("raypipe re") == ["resume", "report", "reachable"]
    assert "--take-over" in completed("raypipe score --ta")


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


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["scor"], "scor"),
        (["score"], "PIPELINE"),
        (["score", "churn", "--dat", "latest"], "--dat"),
        (["demo", "--days", "90"], "91"),
        (["demo", "--drift-on", "latest", "--url", NOWHERE], "--drift-on"),
        (["models", "promote", "churn"], "VERSION"),
        (["sweep"], "A sweep needs"),
        ([], "--json"),
    ],
)
def test_a_usage_error_is_one_json_document_too(arguments: list[str], problem: str) -> None:
    result = run(*arguments, "--json")
    assert result.exit_code == 2
    error = json.loads(result.stdout)["error"]
    assert problem in error["problem"]
    assert error["code"] == 2
    assert error["next_step"]
    assert problem in result.stderr


def test_the_json_of_a_job_is_not_asked_for_by_its_command() -> None:
    assert run("submit", "--no-such-option", "http://127.0.0.1:1", "--", "runs", "--json").stdout == ""


def test_a_report_that_was_never_made_leaves_no_file(tmp_path: Path) -> None:
    result = run("explore", "--output", str(tmp_path / "report.html"), "--url", "file:nothing")
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []
