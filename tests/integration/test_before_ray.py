"""Test the steps of a command before it connects to Ray: it reads its files, and looks for a snapshot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from raypipe import project
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.cluster import runtime
from raypipe.config import load
from raypipe.config.job import leave_working_dir
from raypipe.config.load import Loaded, load_pipeline
from raypipe.night import Step, run_night
from raypipe.project import shipped, sql_text
from tests.integration.conftest import RegisteredModel

NO_RAY = ("ray.address=127.0.0.1:1", "model.workers=1", "after=[]")


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the Ray that other tests of the session share."""
    monkeypatch.setattr(runtime, "_owner", None)
    monkeypatch.setattr(runtime, "_is_connected", lambda: False)


def night(endpoint: Endpoint, *pipelines: Loaded) -> list[Step]:
    named = {loaded.config.pipeline: loaded for loaded in pipelines}
    return list(run_night(endpoint, named, None, "UTC", lambda stage, done, total: None))


def vanished(model: RegisteredModel, folder: Path, patch: pytest.MonkeyPatch, *overrides: str) -> Loaded:
    """Return a pipeline whose project is removed after it was loaded, as Ray removes the working directory of a job."""
    own = shutil.copytree(model.project, folder / "project")
    patch.chdir(own)
    given = [f"artifacts={model.artifacts}", "after=[]", *overrides]
    loaded = load_pipeline("churn", None, given, environ={})
    shutil.rmtree(own)
    return loaded


def test_a_night_needs_no_file_of_its_project(
    no_ray: None, registered_model: RegisteredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (step,) = night(registered_model.endpoint, vanished(registered_model, tmp_path, monkeypatch))
    assert (step.status, step.verified) == ("done", True), step.reason


JOB = {"RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps({"runtime_env": {"working_dir": "gcs://a.zip"}})}


def test_nor_does_a_job_on_ray(
    ray_session: None, registered_model: RegisteredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The session's own Ray.
    loaded = vanished(registered_model, tmp_path, monkeypatch, "ray.cpus=2")
    leave_working_dir(JOB)
    (step,) = night(registered_model.endpoint, loaded)
    assert (step.status, step.verified) == ("done", True), step.reason


def test_without_reading_ahead_a_night_fails_at_a_file_that_is_gone(
    no_ray: None, registered_model: RegisteredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "_read", {})
    monkeypatch.setattr(load, "read_ahead", lambda folder: None)
    (step,) = night(registered_model.endpoint, vanished(registered_model, tmp_path, monkeypatch))
    assert step.status == "failed"
    assert "features.sql does not exist" in step.reason


def test_a_project_that_is_loaded_again_is_read_again(tmp_path: Path) -> None:
    shutil.copytree(shipped() / "configs", tmp_path / "configs")
    query = tmp_path / "sql" / "churn" / "features.sql"
    query.parent.mkdir(parents=True)
    for text in ("SELECT 1", "SELECT 2"):
        query.write_text(text)
        load_pipeline("churn", tmp_path / "configs", environ={})
        assert sql_text(query) == text


def test_a_night_without_a_snapshot_says_so_before_it_connects(no_ray: None, client: Client) -> None:
    migrate(client)
    pipelines = [load_pipeline(name, shipped() / "configs", NO_RAY, environ={}) for name in ("churn", "conversion")]
    for step in night(client.endpoint, *pipelines):
        assert step.status == "failed"
        assert "customer_user_features has no snapshot" in step.reason


def test_with_a_snapshot_the_same_night_asks_for_its_cluster(no_ray: None, registered_model: RegisteredModel) -> None:
    overrides = (*NO_RAY, f"artifacts={registered_model.artifacts}")
    (step,) = night(
        registered_model.endpoint, load_pipeline("churn", registered_model.project / "configs", overrides, environ={})
    )
    assert "The Ray cluster at 127.0.0.1:1 cannot be used" in step.reason
