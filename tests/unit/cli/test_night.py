"""Nights that `raypipe nightly` refuses before it connects."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from raypipe.cli import app

PIPELINE = """\
pipeline: {name}
entity: {{type: user, keys: [user_id], id: user_id}}
source: {{table: user_days}}
label: {{horizon_days: 7}}
features: [sessions]
publish: [{{target: ml_model_predictions, sql: shared/predictions.sql}}]
{more}
"""
NOWHERE = "http://127.0.0.1:9/nobody"


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """Two pipelines on an address without an answer, so that code 2 means a refusal before connecting."""
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "base.yaml").write_text(f"connection: {{url: '{NOWHERE}'}}")
    for name in ("first", "second"):
        (folder / f"{name}.yaml").write_text(PIPELINE.format(name=name, more=""))
    return folder


def refused(configs: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["nightly", "--config", str(configs), *arguments], env={"RAYPIPE_URL": ""})
    assert (result.exit_code, result.stdout) == (2, ""), result.stderr
    return result.stderr


def test_pipelines_of_different_connections_are_refused(configs: Path) -> None:
    more = "connection: {url: 'http://127.0.0.1:9/another'}"
    (configs / "second.yaml").write_text(PIPELINE.format(name="second", more=more))
    message = refused(configs)
    assert "The pipelines of a night name different connections" in message
    assert f"first: {NOWHERE}, second: http://127.0.0.1:9/another" in message


def test_pipelines_that_would_cut_the_days_of_one_snapshot_differently_are_refused(configs: Path) -> None:
    for name, zone in (("first", "UTC"), ("second", "Asia/Tokyo")):
        more = f"after: [features]\ntimezone: {zone}"
        (configs / f"{name}.yaml").write_text(PIPELINE.format(name=name, more=more))
    message = refused(configs)
    assert "cut the days of one snapshot in different zones" in message
    assert "first: UTC, second: Asia/Tokyo" in message


def test_an_unknown_pipeline_is_told_with_the_nearest(configs: Path) -> None:
    message = refused(configs, "--only", "first", "--only", "secnd")
    assert "There is no pipeline 'secnd'" in message
    assert "did you mean second?" in message
