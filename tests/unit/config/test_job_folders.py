"""Test that a Ray job refuses folders that vanish with its working directory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from raypipe.config import load
from raypipe.config.load import load_pipeline, load_shared
from raypipe.errors import ClusterError, UsageError
from raypipe.project import shipped

CONFIGS = shipped() / "configs"
JOB = {"RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps({"runtime_env": {"working_dir": "gcs://a.zip"}, "metadata": {}})}
SERVER = {"RAYPIPE_URL": "https://u@x/d"}


def test_a_relative_database_and_relative_artifacts() -> None:
    with pytest.raises(UsageError, match=r"embedded engine's data would vanish") as refusal:
        load_shared(CONFIGS, environ=JOB)
    assert "RAYPIPE_URL" in str(refusal.value)
    with pytest.raises(UsageError, match=r"models .* vanish") as refusal:
        load_pipeline("churn", CONFIGS, environ={**JOB, **SERVER, "RAYPIPE_ARTIFACTS": ".raypipe/artifacts"})
    assert "RAYPIPE_ARTIFACTS" in str(refusal.value)


@pytest.mark.parametrize("artifacts", ["clickhouse", "s3://bucket/raypipe", "/var/lib/raypipe", "~/raypipe"])
def test_places_that_stay(artifacts: str) -> None:
    for url in ("https://u@x/d", "chdb:/var/lib/clickhouse"):
        environ = {**JOB, "RAYPIPE_URL": url, "RAYPIPE_ARTIFACTS": artifacts}
        assert load_pipeline("churn", CONFIGS, environ=environ).config.artifacts == artifacts


@pytest.mark.parametrize("job", ["", "{}", "[]", "no JSON", '{"runtime_env": {}}', '{"runtime_env": null}'])
def test_elsewhere_they_are_as_good_as_any(job: str) -> None:
    environ = {"RAY_JOB_CONFIG_JSON_ENV_VAR": job, "RAYPIPE_ARTIFACTS": ".raypipe/artifacts"}
    assert load_shared(CONFIGS, environ=environ).artifacts == ".raypipe/artifacts"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the working directory of a job, with a project of its own."""
    folder = tmp_path / "project"
    shutil.copytree(CONFIGS, folder / "configs")
    monkeypatch.chdir(folder)
    return folder


def test_a_job_without_its_directory_does_not_take_raypipes_own_pipelines(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(own)
    assert load_pipeline("churn", environ=SERVER).config.pipeline == "churn"
    monkeypatch.setenv(*next(iter(JOB.items())))
    for loading in (load_shared, lambda: load_pipeline("churn")):
        with pytest.raises(ClusterError, match="working directory of this job was removed"):
            loading()


def test_a_directory_that_vanishes_while_it_is_read_is_noticed(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "read_ahead", lambda folder: shutil.rmtree(own))
    with pytest.raises(ClusterError, match="working directory of this job was removed"):
        load_pipeline("churn", environ={**JOB, **SERVER, "RAYPIPE_ARTIFACTS": "clickhouse"})
