"""Train a family on Ray Train's workers: rows stream from Ray Data into `fit`, and the model's files return.

The training function returns the model; `ray.train.report` would cost about two seconds per call.
"""

import dataclasses
import logging
import signal
import tempfile
import threading
import uuid
from collections.abc import Iterator
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
from raypipe.cluster.runtime import quiet_libraries
from raypipe.cluster.worker_errors import causes, original, plain_errors
from raypipe.errors import ConfigError, ModelError
from raypipe.fit.training_table import numbers
from raypipe.models.model import Matrix
from raypipe.models.protocol import FitSpec, MatrixFamily, load_class, load_matrix_family

log = logging.getLogger(__name__)

LABEL = "label"
# Ray Data needs a CPU beside the workers' CPUs; without it a fit with workers waits for ever.
DATA_CPUS = 1
# The errors of a process that died; a task that reads is not repeated by itself (see `raypipe.data.source`).
DEATHS = (WorkerCrashedError, OutOfMemoryError, NodeDiedError, ObjectLostError, RayActorError)


class ProcessDied(ModelError):
    """A process of a fit died, perhaps with its node."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model as files, and its history (rounds, rows and learning curves, JSON-ready)."""

    files: dict[str, bytes]
    history: dict[str, Any]


def train(
    family_path: str,
    spec: FitSpec,
    rows: ray.data.Dataset,
    validation: ray.data.Dataset,
    *,
    workers: int,
    cpus_per_worker: int,
) -> Trained:
    """Train a family on two datasets with the columns `x` (list<float32>) and `label`.

    Training rows are split evenly over the workers, which leaves out up to `workers - 1` rows. Each worker sees all
    validation rows, so that early stopping does not depend on the number of workers. A fit that loses a process, such
    as with its node, is repeated once, with a new read.

    Args:
        validation: rows for early stopping; may be empty for a family without it.
        workers: at least 1.
        cpus_per_worker: CPUs and threads of each worker.

    Raises:
        ConfigError: the family cannot be loaded or distributed, or the cluster is too small.
        DataError: the rows do not fit the spec.
        ModelError: the fit failed, or a Ray process died.
    """
    family = load_matrix_family(family_path)
    spec = dataclasses.replace(spec, threads=spec.threads or cpus_per_worker)
    scaling = ray.train.ScalingConfig(num_workers=workers, resources_per_worker={"CPU": cpus_per_worker})
    datasets: dict[str, Any] = {"train": rows, "validation": validation}
    quiet_libraries()
    _require_room(family, family_path, workers, cpus_per_worker)
    try:
        return _fitted(family, family_path, spec, scaling, datasets)
    except ProcessDied as death:
        log.warning("%s; fitting once more: %s", death.problem, death.found)
        _require_room(family, family_path, workers, cpus_per_worker)
        return _fitted(family, family_path, spec, scaling, datasets)


def _fitted(
    family: MatrixFamily,
    family_path: str,
    spec: FitSpec,
    scaling: ray.train.ScalingConfig,
    datasets: dict[str, Any],
) -> Trained:
    def in_a_worker() -> dict[str, Any]:
        return _train(family_path, spec)

    with tempfile.TemporaryDirectory(prefix="raypipe-fit-") as storage, _interruptible(), _readable_errors():
        trainer = DataParallelTrainer(
            in_a_worker,
            backend_config=_backend(family),
            scaling_config=scaling,
            run_config=RunConfig(  # type: ignore[arg-type]
                name=f"raypipe-{uuid.uuid4().hex[:8]}",
                storage_path=storage,
                logging_config=LoggingConfig(log_level="WARNING"),
            ),
            datasets=datasets,
            dataset_config=ray.train.DataConfig(datasets_to_split=["train"]),
        )
        returned: Any = trainer.fit().return_value  # type: ignore[attr-defined]
    return Trained(**returned)


def _train(family_path: str, spec: FitSpec) -> dict[str, Any]:
    """Fit the family on this worker's rows; the training function of every worker."""
    train, validation = (_gather(name, len(spec.columns)) for name in ("train", "validation"))
    model, history = load_matrix_family(family_path).fit(train, validation, spec)
    return {"files": model.files(), "history": dataclasses.asdict(history)}


def _gather(name: str, width: int) -> Matrix:
    """Return this worker's rows of a dataset as one matrix, (0, width) for an empty share."""
    parts, labels = [np.empty((0, width), np.float32)], [np.empty(0, np.float32)]
    for batch in ray.train.get_dataset_shard(name).iter_batches(batch_size=None, batch_format="pyarrow"):
        if not batch.num_rows:
            continue
        # Copies let Ray free each block while the next block is read.
        parts.append(matrix(batch.column(MATRIX), width).copy())
        labels.append(numbers(batch.column(LABEL), name))
    return Matrix(np.concatenate(parts), np.concatenate(labels))


def _require_room(family: MatrixFamily, path: str, workers: int, cpus_per_worker: int) -> None:
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


@contextmanager
def _interruptible() -> Iterator[None]:
    """Restore the handler of Ctrl-C: Ray Train leaves its own handler in place and exits with 0."""
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
    """Raise the original error instead of Ray's wrapper."""
    try:
        with plain_errors():
            yield
    except Exception as error:
        if original(error) is error:
            raise
        chain = list(causes(error))
        death = next((inner for inner in chain if isinstance(inner, DEATHS)), None)
        if death is not None:
            raise ProcessDied(
                "A Ray process died during the fit",
                found=f"{type(death).__name__}: {' '.join(str(death).split())}",
                next_step="nothing of the fit was kept: fit again. If memory ran out (see `dmesg`), lower"
                " score.slice_rows or model.workers, or add memory to the nodes",
            ) from error
        root = next((inner for inner in chain if not type(inner).__module__.startswith("ray.")), chain[-1])
        raise ModelError("The fit failed", found=f"{type(root).__name__}: {root}") from error
