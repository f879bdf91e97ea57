"""Values of --set that a command never reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from raypipe.cli import app, settings
from raypipe.config.schema import PipelineConfig
from raypipe.errors import UsageError

NOWHERE = "http://127.0.0.1:9/nobody"


def takes_settings() -> set[str]:
    """Return the commands that take --set."""

    def walk(command: Any, path: str) -> Any:
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, f"{path} {name}".strip())
        if any("--set" in parameter.opts for parameter in command.params):
            yield path

    return set(walk(typer.main.get_command(app), ""))


def test_the_table_has_every_command_with_settings_and_names_sections_that_exist() -> None:
    # `config show` shows every section.
    assert takes_settings() - {"config show"} == settings.READS.keys()
    sections = {section for part in (settings.COMMON, *settings.READS.values()) for section in part}
    assert {section.partition(".")[0] for section in sections} <= PipelineConfig.model_fields.keys()


@pytest.mark.parametrize(
    ("command", "key", "readers"),
    [
        ("score", "model.params.max_dept", "fit, compare, sweep, run, nightly"),
        ("plan", "split.seed", "fit, compare, sweep, run, nightly, models promote, validate"),
        ("rollback", "label.horizon_days", "fit"),
        ("fit", "score.explain.rows", "plan, score, rollback, run, nightly"),
        ("fit", "sweep.trials", "sweep"),
        ("models promote", "model.rounds", "fit"),
        ("validate", "publish.0.target", "plan, score"),
        ("plan", "monitor.psi_alert", "score, rollback, run, nightly"),
        ("run", "enabled", "nightly"),
    ],
)
def test_a_setting_that_a_command_never_reads_is_refused_with_those_that_do(
    command: str, key: str, readers: str
) -> None:
    with pytest.raises(UsageError, match=f"`raypipe {command}` does not read {key}") as refused:
        settings.refuse_unread(command, [f"{key}=4"])
    assert f": {readers}" in str(refused.value.next_step)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("fit", "model.params.max_depth=4"),
        ("fit", "score.slice_rows=500"),
        ("fit", "score={slice_rows: 500}"),
        ("score", "score.actors.max=4"),
        ("score", "connection.url=http://h:1/d"),
        ("score", "artifacts=there"),
        ("validate", "parameters.least=2"),
        ("config show", "model.rounds=7"),
        # The configuration refuses these with the nearest key.
        ("score", "modle.rounds=7"),
        ("score", "model.rounds"),
    ],
)
def test_a_setting_that_a_command_reads_is_left_to_the_configuration(command: str, text: str) -> None:
    settings.refuse_unread(command, [text])


@pytest.mark.parametrize(
    ("sections", "unread"),
    [
        (settings.BANDIT, ["model.rounds", "label.kind"]),
        (settings.COMPARISON, ["model.rounds", "ads.floor", "monitor.psi_alert"]),
    ],
)
def test_a_run_of_a_bandit_or_a_comparison_reads_less_than_a_night(
    sections: tuple[str, ...], unread: list[str]
) -> None:
    keys = ["model.rounds", "label.kind", "ads.floor", "split.seed", "monitor.psi_alert", "ray.cpus"]
    assert settings.unread(keys, sections) == unread


@pytest.mark.parametrize("command", [["score"], ["plan"], ["rollback"]])
def test_a_command_refuses_the_setting_before_it_connects(command: list[str]) -> None:
    arguments = [*command, "churn", "--set", "model.params.max_dept=4", "--url", NOWHERE, "--json"]
    result = CliRunner().invoke(app, arguments, prog_name="raypipe")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["found"] == "--set model.params.max_dept"
