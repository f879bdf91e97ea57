"""A version in MLflow: a run with its parameters, metrics and files, and a version of a registered model.

raypipe's own registry stays the one that decides; the export is for those who look at models in MLflow.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from raypipe.artifact import files
from raypipe.clickhouse.client import Client
from raypipe.errors import ConfigError, RaypipeError, UsageError
from raypipe.registry import aliases, models
from raypipe.registry.aliases import CHALLENGER, CHAMPION, PREVIOUS
from raypipe.registry.record import Registered
from raypipe.registry.rows import parsed, statement

# The tag by which a version is found again, so that a second export changes nothing but aliases.
IDENTITY = "raypipe.model_id"
DATA = "data"
# A request to MLflow may carry so many of each, and a parameter so many characters.
MOST_PARAMETERS, MOST_METRICS, LONGEST = 100, 1000, 500


@dataclass(frozen=True)
class Exported:
    """Where a version is in MLflow.

    Attributes:
        name: of the registered model, which is the pipeline's.
        version: its number there.
        run_id: of the run that holds the files.
        aliases: that it has here, and now there too.
        created: False where an earlier export had brought it there.
    """

    name: str
    version: str
    run_id: str
    aliases: tuple[str, ...]
    created: bool


def export(client: Client, model: Registered, uri: str) -> Exported:
    """Brings a version to an MLflow store, once; its aliases move along with each export.

    Args:
        client: of the database with the registry.
        model: the version.
        uri: what MLflow calls a tracking URI: `http(s)://host:5000` or a database such as `sqlite:///mlflow.db`.

    Raises:
        ConfigError: MLflow is not installed.
        ModelError: the version has no artifact, or a byte of it differs.
        UsageError: MLflow cannot use the URI.
    """
    models.require_artifact(model)
    mlflow = _library()
    _require_no_password(uri)
    content = files.load(model.artifact_uri, model.artifact_sha256)
    names = tuple(name for name, one in aliases.named(client, model.pipeline).items() if one.version == model.version)
    with _translated(mlflow, uri):
        store = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        found = _found(store, model)
        made = found or _create(mlflow, store, model, content, _parameters(client, model))
        for alias in names:
            store.set_registered_model_alias(model.pipeline, alias, made.version)
        # A version that is champion no more must not be called so there; names that others gave it are theirs.
        had = store.get_model_version(model.pipeline, made.version).aliases
        for alias in {CHAMPION, CHALLENGER, PREVIOUS}.intersection(had).difference(names):
            store.delete_registered_model_alias(model.pipeline, alias)
        return Exported(model.pipeline, str(made.version), str(made.run_id), names, found is None)


def _library() -> Any:
    # Nobody asked for a report to MLflow's makers about what is exported here.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import mlflow
    except ImportError as error:
        raise ConfigError(
            "The export needs MLflow, which is not installed",
            found=str(error),
            next_step="pip install 'raypipe[mlflow]'",
        ) from error
    return mlflow


def _found(store: Any, model: Registered) -> Any:
    versions = store.search_model_versions(f"name = '{model.pipeline}'")
    return next((one for one in versions if one.tags.get(IDENTITY) == model.model_id), None)


def _create(
    mlflow: Any, store: Any, model: Registered, content: Mapping[str, bytes], parameters: Mapping[str, Any]
) -> Any:
    tags = {
        IDENTITY: model.model_id,
        "raypipe.version": model.version,
        "raypipe.artifact_sha256": model.artifact_sha256,
        "raypipe.contract_sha256": model.contract_sha256,
    }
    experiment = f"raypipe/{model.pipeline}"
    known = store.get_experiment_by_name(experiment)
    place = known.experiment_id if known else store.create_experiment(experiment)
    run = store.create_run(place, run_name=f"{model.pipeline} {model.version}", tags=tags)
    try:
        _log(mlflow, store, run.info.run_id, model, parameters)
        with tempfile.TemporaryDirectory() as folder:
            _write(mlflow, Path(folder), run.info.run_id, content)
            store.log_artifacts(run.info.run_id, folder, artifact_path="model")
        if not store.search_registered_models(f"name = '{model.pipeline}'"):
            store.create_registered_model(model.pipeline)
        source = f"{run.info.artifact_uri}/model"
        made = store.create_model_version(model.pipeline, source, run_id=run.info.run_id, tags=tags)
    except BaseException:
        store.set_terminated(run.info.run_id, "FAILED")
        raise
    store.set_terminated(run.info.run_id, "FINISHED")
    return made


def _log(mlflow: Any, store: Any, run_id: str, model: Registered, parameters: Mapping[str, Any]) -> None:
    entities = mlflow.entities
    at = int(model.created_at.timestamp() * 1000)
    metrics = list(_numbers("", {name: model.evaluation.get(name, {}) for name in ("test", "baselines")}))
    store.log_batch(
        run_id,
        metrics=[entities.Metric(name, value, at, 0) for name, value in metrics[:MOST_METRICS]],
        params=[
            entities.Param(name, str(value)[:LONGEST]) for name, value in list(parameters.items())[:MOST_PARAMETERS]
        ],
    )


def _write(mlflow: Any, folder: Path, run_id: str, content: Mapping[str, bytes]) -> None:
    """The artifact as it is, and beside it what MLflow needs to load it."""
    files.save(str(folder / DATA), content)
    described = mlflow.models.Model(artifact_path="model", run_id=run_id)
    mlflow.pyfunc.add_to_model(described, loader_module="raypipe.artifact.pyfunc", data=DATA)
    described.save(str(folder / "MLmodel"))


def _parameters(client: Client, model: Registered) -> dict[str, Any]:
    rows = client.rows(statement("hyperparameters").text, {"model_id": model.model_id})
    return parsed(rows[0][0]) if rows else {}


def _numbers(prefix: str, value: Any) -> Iterator[tuple[str, float]]:
    """The finite numbers of nested metrics, named by their path in the letters that MLflow allows."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            # {"auc": {"value": …, "low": …}}: the value is the metric itself.
            path = prefix if name == "value" else f"{prefix}.{name}" if prefix else str(name)
            yield from _numbers(path, item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        yield re.sub(r"[^\w.\- /]", "_", prefix), float(value)


def _require_no_password(uri: str) -> None:
    if urlsplit(uri).scheme in ("http", "https") and urlsplit(uri).password:
        raise UsageError(
            "A password in the address of MLflow would show in process lists and logs",
            found=_shown(uri),
            next_step="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )


def _shown(uri: str) -> str:
    return re.sub(r"://[^@/]*@", "://…@", uri)


@contextmanager
def _translated(mlflow: Any, uri: str) -> Iterator[None]:
    """Inside, what MLflow raises is an error of the address that it was given."""
    try:
        yield
    except RaypipeError:
        raise
    except (mlflow.exceptions.MlflowException, OSError, ImportError) as error:
        raise UsageError(
            f"MLflow at {_shown(uri)} did not take the version",
            found=(str(error).splitlines() or [type(error).__name__])[0][:300].replace(uri, _shown(uri)),
            allowed="a tracking URI such as http://mlflow.example:5000 or sqlite:///mlflow.db",
            next_step="correct --to, or look at the MLflow server",
        ) from error
