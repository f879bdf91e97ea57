"""A fit on Ray Train: rows stream from Ray Data into the family's `fit`, and the model's files come back.

`workers=0` is Ray Train's local mode, in this process: where one node has the data it saves the half minute that
starting a worker group takes. The model comes back as the training function's return value; `ray.train.report`
is not used, since it costs about two seconds a call with workers.
"""

from __future__ import annotations

import dataclasses
import signal
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray
import ray.data
import ray.train
from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayActorError, WorkerCrashedError
from ray.train.backend import BackendConfig
from ray.train.v2.api.config import LoggingConfig, RunConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from raypipe.artifact.contract import MATRIX, matrix
from raypipe.cluster.runtime import causes, original, plain_errors, quiet_libraries
from raypipe.errors import ConfigError, DataError, ModelError
from raypipe.models.protocol import FitSpec, Matrix, MatrixFamily, load_class, load_matrix_family

LABEL = "label"
# What Ray Data needs to read while the workers hold theirs; without it a fit with workers waits for ever.
DATA_CPUS = 1
PROGRESS_ROWS = 100_000
# What a process that is gone leaves behind; a read is not repeated (see `raypipe.data.source`).
DEATHS = (WorkerCrashedError, OutOfMemoryError, NodeDiedError, ObjectLostError, RayActorError)

Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What a fit yields.

    Attributes:
        files: the model's files, as `Model.files` gives them.
        history: rounds and learning curves, JSON-ready.
        rows: the training rows of all workers.
    """

    files: dict[str, bytes]
    history: dict[str, Any]
    rows: int


@dataclasses.dataclass(frozen=True)
class _Task:
    """What each worker needs to know; travels to it by pickle, without the driver's callbacks."""

    family: str
    spec: FitSpec


def fit(
    family_path: str,
    spec: FitSpec,
    train: ray.data.Dataset,
    validation: ray.data.Dataset,
    *,
    workers: int,
    cpus_per_worker: int,
    on_progress: Progress | None = None,
) -> Fitted:
    """Fits a family on two datasets with the columns `x` (list<float32>) and `label`.

    Training rows are split over the workers (evenly, so that up to `workers - 1` of them are left out); each
    worker sees all validation rows, so that early stopping rests on the same metric as in one process.

    Args:
        family_path: the family's dotted path, `module:Class`.
        spec: what the family is told.
        train: rows to fit on.
        validation: rows for early stopping; may be empty where the family needs none.
        workers: Ray Train workers; 0 fits in this process.
        cpus_per_worker: CPUs of each worker, which are also its threads.
        on_progress: told in words what is going on; only heard from with `workers=0`.

    Raises:
        ConfigError: the family cannot be loaded or spread over workers, or the cluster is too small.
        DataError: the rows do not fit the spec.
        ModelError: the fit failed, or a process of Ray's died; the cause is kept.
    """
    family = load_matrix_family(family_path)
    if workers:
        _require_room(family, family_path, workers, cpus_per_worker)
        spec = dataclasses.replace(spec, threads=spec.threads or cpus_per_worker)
    task, report = _Task(family_path, spec), on_progress or _silent

    def in_this_process() -> dict[str, Any]:
        return _train(task, report)

    def in_a_worker() -> dict[str, Any]:
        return _train(task, _silent)

    quiet_libraries()
    with tempfile.TemporaryDirectory(prefix="raypipe-fit-") as storage, _interruptible(), _readable_errors():
        trainer = DataParallelTrainer(
            in_a_worker if workers else in_this_process,
            backend_config=_backend(family) if workers else None,
            scaling_config=ray.train.ScalingConfig(
                num_workers=workers, resources_per_worker={"CPU": cpus_per_worker} if workers else None
            ),
            run_config=RunConfig(  # type: ignore[arg-type]
                name=f"raypipe-{uuid.uuid4().hex[:8]}",
                storage_path=storage,
                logging_config=LoggingConfig(log_level="WARNING"),
            ),
            datasets={"train": train, "validation": validation},
            dataset_config=ray.train.DataConfig(datasets_to_split=["train"]),
        )
        outcome: Any = trainer.fit().return_value  # type: ignore[attr-defined]
    return Fitted(outcome["files"], outcome["history"], outcome["history"]["rows"])


def _train(task: _Task, report: Progress) -> dict[str, Any]:
    """The training function: runs in every worker, or here in local mode."""
    family = load_matrix_family(task.family)
    width = len(task.spec.columns)
    train = _gather("train", width, report)
    validation = _gather("validation", width, report)
    report(f"fitting on {len(train):,} rows, {len(validation):,} for validation, {width} features")
    model, history = family.fit(train, validation, task.spec)
    return {"files": model.files(), "history": dataclasses.asdict(history)}


def _gather(name: str, width: int, report: Progress) -> Matrix:
    """This worker's rows of a dataset as one matrix; (0, width) when its share is empty."""
    parts, labels, rows, told = [np.empty((0, width), np.float32)], [np.empty(0, np.float32)], 0, 0
    for batch in ray.train.get_dataset_shard(name).iter_batches(batch_size=None, batch_format="pyarrow"):
        if not batch.num_rows:
            continue
        # Copies, so that Ray can free each block while the next ones are read.
        parts.append(matrix(batch.column(MATRIX), width).copy())
        labels.append(_labels(batch.column(LABEL), name))
        rows += batch.num_rows
        if rows - told >= PROGRESS_ROWS:
            report(f"read {rows:,} {name} rows")
            told = rows
    return Matrix(np.concatenate(parts), np.concatenate(labels))


def _labels(column: Any, name: str) -> Any:
    labels = column.to_numpy().astype(np.float32)
    bad = int(np.count_nonzero(~np.isfinite(labels)))
    if bad:
        raise DataError(
            f"The {name} rows have labels that are not numbers",
            found=f"{bad} of {len(labels)} in one block",
            next_step="let labels.sql leave out the entities whose label is not known",
        )
    return labels


def _require_room(family: MatrixFamily, path: str, workers: int, cpus_per_worker: int) -> None:
    if workers < 0 or cpus_per_worker < 1:
        raise ConfigError(
            "model.workers or model.cpus_per_worker cannot be used",
            found=f"{workers} and {cpus_per_worker}",
            allowed="workers from 0 (this process) on, cpus_per_worker from 1 on",
        )
    if family.ray_backend is None and workers > 1:
        raise ConfigError(
            f"{path} fits in one process", found=f"model.workers: {workers}", allowed="0 or 1", next_step="set it to 0"
        )
    present = int(ray.cluster_resources().get("CPU", 0))  # type: ignore[no-untyped-call]
    needed = workers * cpus_per_worker + DATA_CPUS
    if needed > present:
        most = (present - DATA_CPUS) // cpus_per_worker
        raise ConfigError(
            "The fit does not fit into the Ray cluster",
            found=f"{workers} workers x {cpus_per_worker} CPUs + {DATA_CPUS} to read the data = {needed}",
            allowed=f"{present} CPUs: at most {most} workers of {cpus_per_worker}" if most > 0 else f"{present} CPUs",
            next_step="lower model.workers (0 fits in one process) or model.cpus_per_worker, or add nodes",
        )


def _backend(family: MatrixFamily) -> BackendConfig:
    if family.ray_backend is None:
        return BackendConfig()
    backend = load_class(family.ray_backend, "ray_backend")()
    if not isinstance(backend, BackendConfig):
        raise ConfigError(
            "ray_backend is not a backend of Ray Train",
            found=family.ray_backend,
            allowed="a ray.train.backend.BackendConfig, such as ray.train.xgboost:XGBoostConfig",
        )
    return backend


def _silent(message: str) -> None:
    """Tells nobody."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Keeps Ctrl-C what it was: Ray Train puts its own handler in place, leaves it there, and exits with 0."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _readable_errors() -> Iterator[None]:
    """Raises what went wrong inside instead of what Ray wraps around it."""
    try:
        with plain_errors():
            yield
    except Exception as error:
        if original(error) is error:
            raise
        chain = list(causes(error))
        death = next((inner for inner in chain if isinstance(inner, DEATHS)), None)
        if death is not None:
            raise ModelError(
                "A process of Ray's died while it read rows for the fit, or fitted",
                found=f"{type(death).__name__}: {' '.join(str(death).split())}",
                next_step="nothing of the fit was kept: fit again. Where memory was short (`dmesg` tells), lower"
                " score.slice_rows, which a read holds at a time, or model.workers, or give the nodes more",
            ) from error
        root = next((inner for inner in chain if not type(inner).__module__.startswith("ray.")), chain[-1])
        raise ModelError("The fit failed", found=f"{type(root).__name__}: {root}") from error
