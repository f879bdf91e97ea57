"""Export a version to MLflow: a run with its parameters, metrics and files, and a version of a registered model.

raypipe's own registry still decides; the export serves readers of MLflow.
"""

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

from raypipe.artifact import files, stores
from raypipe.clickhouse.client import Client
from raypipe.errors import ConfigError, RaypipeError, UsageError
from raypipe.registry import aliases, models
from raypipe.registry.aliases import CHALLENGER, CHAMPION, PREVIOUS
from raypipe.registry.record import Registered
from raypipe.registry.rows import parsed, statement

# The tag of a version, by which a second export finds the version and changes its aliases alone.
IDENTITY = "raypipe.model_id"
DATA = "data"
# MLflow's limits for one request, and for the characters of a parameter.
MOST_PARAMETERS, MOST_METRICS, LONGEST = 100, 1000, 500


@dataclass(frozen=True)
class Exported:
    """A version in MLflow.

    Attributes:
        name: the registered model, named like the pipeline.
        version: the number in MLflow.
        aliases: the version's aliases, here and there.
        created: whether this export created it.
    """

    name: str
    version: str
    run_id: str
    aliases: tuple[str, ...]
    created: bool


def export(client: Client, model: Registered, uri: str) -> Exported:
    """Export a version once; each further export updates its aliases.

    Args:
        uri: MLflow's tracking URI: `http(s)://host:5000` or a database such as `sqlite:///mlflow.db`.

    Raises:
        ConfigError: MLflow is not installed.
        ModelError: the version has no artifact, or its bytes have changed.
        UsageError: MLflow cannot use the URI.
    """
    models.require_artifact(model)
    mlflow = _library()
    _require_no_password(uri)
    store = stores.at(model.artifact_uri, client)
    content = store.open(model.artifact_sha256, pipeline=model.pipeline, version=model.version)
    assigned = aliases.named(client, model.pipeline)
    names = tuple(name for name, alias in assigned.items() if alias.version == model.version)
    with _translated(mlflow, uri):
        store = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        earlier = _exported(store, model)
        version = earlier or _create(mlflow, store, model, content, _parameters(client, model))
        for name in names:
            store.set_registered_model_alias(model.pipeline, name, version.version)
        # A former champion must lose the alias in MLflow, too; aliases of other tools stay.
        current = store.get_model_version(model.pipeline, version.version).aliases
        for name in {CHAMPION, CHALLENGER, PREVIOUS}.intersection(current).difference(names):
            store.delete_registered_model_alias(model.pipeline, name)
        return Exported(model.pipeline, str(version.version), str(version.run_id), names, earlier is None)


def _library() -> Any:
    # MLflow would report the use of its API to its makers.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import mlflow
    except ImportError as error:
        raise ConfigError(
            "The export needs MLflow, which is not installed",
            found=str(error),
            next_step="pip install 'mlflow-skinny>=3.1' 'sqlalchemy>=2.0' 'alembic>=1.13' (the extra `mlflow`)",
        ) from error
    return mlflow


def _exported(store: Any, model: Registered) -> Any:
    versions = store.search_model_versions(f"name = '{model.pipeline}'")
    return next((version for version in versions if version.tags.get(IDENTITY) == model.model_id), None)


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
        version = store.create_model_version(model.pipeline, source, run_id=run.info.run_id, tags=tags)
    except BaseException:
        store.set_terminated(run.info.run_id, "FAILED")
        raise
    store.set_terminated(run.info.run_id, "FINISHED")
    return version


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
    """Write the artifact, and MLflow's description of how to load it."""
    files.save(str(folder / DATA), content)
    described = mlflow.models.Model(artifact_path="model", run_id=run_id)
    mlflow.pyfunc.add_to_model(described, loader_module="raypipe.artifact.pyfunc", data=DATA)
    described.save(str(folder / "MLmodel"))


def _parameters(client: Client, model: Registered) -> dict[str, Any]:
    rows = client.rows(statement("hyperparameters").text, {"model_id": model.model_id})
    return parsed(rows[0][0]) if rows else {}


def _numbers(prefix: str, value: Any) -> Iterator[tuple[str, float]]:
    """Yield the finite numbers of nested metrics, named by their path in letters that MLflow allows."""
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
            "A password in MLflow's address would show in process lists and logs",
            found=_shown(uri),
            next_step="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )


def _shown(uri: str) -> str:
    return re.sub(r"://[^@/]*@", "://…@", uri)


@contextmanager
def _translated(mlflow: Any, uri: str) -> Iterator[None]:
    """Turn errors of MLflow into an error that names the address."""
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
