"""Test that a version exported to MLflow with SQLite loads again and scores the same."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from raypipe.artifact.package import load_package
from raypipe.cli import app
from raypipe.clickhouse.client import Client
from raypipe.errors import ModelError, UsageError
from raypipe.registry import aliases, models
from raypipe.registry.record import ModelRecord
from raypipe.registry.training_runs import TrainingResult, TrainingRun, finish_run
from raypipe.versions import mlflow_export, retention
from tests.integration.conftest import RegisteredModel

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
mlflow: Any = pytest.importorskip("mlflow", reason="MLflow is not installed")
pytest.importorskip("sqlalchemy", reason="MLflow's SQLite store needs sqlalchemy")

AT = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tracking URI; MLflow keeps the files of such a store in the working directory."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture(scope="module")
def registry(registered_model: RegisteredModel) -> Iterator[Client]:
    """The champion with a fit of its own and metrics."""
    with Client(registered_model.endpoint) as client:
        champion = models.find(client, "churn", "champion")
        run = TrainingRun("fit", champion.model_id, "churn", AT, hyperparameters={"max_depth": 2, "rounds": 5})
        finish_run(client, run, TrainingResult(training_rows=300), AT)
        record = ModelRecord(
            *("churn", champion.version, "CANDIDATE", "classification", "xgboost", "trees", "ubj", AT),
            artifact_uri=champion.artifact_uri,
            artifact_sha256=champion.artifact_sha256,
            evaluation={"test": {"auc": {"value": 0.81, "low": 0.79, "high": float("nan")}, "f1": {"value": 0.5}}},
        )
        models.register(client, record, AT)
        yield client


@pytest.fixture(scope="module")
def exported(registry: Client, registered_model: RegisteredModel, store: str) -> dict[str, Any]:
    known = {"RAYPIPE_URL": str(registered_model.endpoint)}
    if registered_model.endpoint.password_file:
        known["RAYPIPE_PASSWORD_FILE"] = registered_model.endpoint.password_file
    command = ["models", "export", "churn", "champion", "--to", store, "--json"]
    result = CliRunner().invoke(app, command, prog_name="raypipe", env=known)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["pipeline"] == "churn"
    assert document["model_version"] == registered_model.version
    mlflow_names: dict[str, Any] = document["mlflow"]
    return mlflow_names


def test_an_exported_version_scores_in_mlflow_as_it_does_here(
    exported: dict[str, Any], registered_model: RegisteredModel, store: str
) -> None:
    package = load_package(str(registered_model.artifact), registered_model.artifact.name, None)
    columns = package.contract.columns
    x = np.random.default_rng(1).random((50, len(columns)), np.float32) * 30
    mlflow.set_tracking_uri(store)
    loaded = mlflow.pyfunc.load_model(f"models:/churn/{exported['version']}")
    np.testing.assert_array_equal(loaded.predict(x), package.model.predict(x))
    import pandas as pd

    shuffled = pd.DataFrame(x, columns=list(columns))[list(reversed(columns))]
    np.testing.assert_array_equal(loaded.predict(shuffled), package.model.predict(x))


def test_the_run_has_parameters_metrics_and_the_hashes(
    exported: dict[str, Any], registered_model: RegisteredModel, store: str
) -> None:
    run = mlflow.MlflowClient(store).get_run(exported["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params == {"max_depth": "2", "rounds": "5"}
    assert run.data.metrics == {"test.auc": 0.81, "test.auc.low": 0.79, "test.f1": 0.5}
    assert run.data.tags["raypipe.version"] == registered_model.version
    assert run.data.tags["raypipe.artifact_sha256"] == registered_model.artifact.name


def test_a_second_export_makes_no_second_version_and_moves_the_aliases(
    exported: dict[str, Any], registry: Client, store: str
) -> None:
    champion = models.find(registry, "churn", "champion")
    aliases.move(registry, "churn", {"challenger": champion}, "x", "a test", AT)
    again = mlflow_export.export(registry, champion, store)
    assert (again.version, again.run_id, again.created) == (exported["version"], exported["run_id"], False)
    found = mlflow.MlflowClient(store)
    assert len(found.search_model_versions("name = 'churn'")) == 1
    for alias in ("champion", "challenger"):
        assert str(found.get_model_version_by_alias("churn", alias).version) == exported["version"]


def test_a_name_that_a_version_lost_is_taken_from_it_there_too_and_no_other(
    exported: dict[str, Any], registry: Client, store: str
) -> None:
    there, version = mlflow.MlflowClient(store), exported["version"]
    for alias in ("previous", "reviewed-by-ann"):
        there.set_registered_model_alias("churn", alias, version)
    champion = models.find(registry, "churn", "champion")
    again = mlflow_export.export(registry, champion, store)
    assert "previous" not in again.aliases
    assert set(there.get_model_version("churn", version).aliases) == {*again.aliases, "reviewed-by-ann"}


def test_a_byte_that_was_changed_in_mlflow_is_found_when_the_model_is_loaded(
    exported: dict[str, Any], store: str, tmp_path: Path
) -> None:
    place = mlflow.MlflowClient(store).download_artifacts(exported["run_id"], "model", str(tmp_path))
    file = next(Path(place).rglob("model.ubj"))
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    with pytest.raises(ModelError, match="was changed"):
        mlflow.pyfunc.load_model(place)


@pytest.mark.parametrize("uri", ["nosuch://mlflow", "http://ann:hunter2@mlflow.example"])
def test_an_address_that_cannot_be_used_is_refused_without_its_password(registry: Client, uri: str) -> None:
    with pytest.raises(UsageError) as refused:
        mlflow_export.export(registry, models.find(registry, "churn", "champion"), uri)
    assert "hunter2" not in str(refused.value)


def test_a_version_without_an_artifact_is_not_exported(registry: Client, store: str) -> None:
    record = ModelRecord("churn", "v0", "FAILED", "classification", "xgboost", "trees", "ubj", AT)
    empty = models.register(registry, record, AT)
    with pytest.raises(ModelError, match="no artifact"):
        mlflow_export.export(registry, empty, store)
    retention.mark(registry, empty, AT)
    with pytest.raises(ModelError, match="was pruned"):
        mlflow_export.export(registry, models.find(registry, "churn", "v0"), store)
