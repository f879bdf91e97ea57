from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from raypipe.data.source import ONCE
from raypipe.errors import ConfigError, DataError, ModelError, ServerError
from raypipe.fit.trainer import train
from raypipe.models.model import Matrix
from raypipe.models.protocol import FitSpec
from raypipe.models.xgboost import XGBoost
from raypipe.testing.model_suite import COLUMNS, rows

pytestmark = pytest.mark.usefixtures("ray_session")

FAMILY = "raypipe.models.xgboost:XGBoost"
SPEC = FitSpec(
    COLUMNS,
    params={"objective": "binary:logistic", "max_depth": 3},
    rounds=40,
    early_stopping_rounds=5,
    seed=3,
    threads=1,
    kind="binary",
)
TRAIN, VALIDATION = rows(binary=True), rows(binary=True, seed=2)


def _table(data: Matrix) -> pa.Table:
    width = data.x.shape[1]
    offsets = pa.array(np.arange(0, data.x.size + 1, width), pa.int32())
    return pa.table({"x": pa.ListArray.from_arrays(offsets, pa.array(data.x.ravel())), "label": data.y})


def _dataset(data: Matrix, blocks: int = 3) -> ray.data.Dataset:
    pieces = np.array_split(np.arange(len(data)), blocks)
    return ray.data.from_arrow([_table(data.take(piece)) for piece in pieces])


class Failing(Datasource):  # type: ignore[misc]
    """A source whose read task raises a given error, or without one ends its process."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self._error = error

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: object = None
    ) -> list[ReadTask]:
        error = self._error

        def read() -> Iterator[pa.Table]:
            if error is None:
                os._exit(1)
            raise error

        return [ReadTask(read, BlockMetadata(None, None, None, None))]


def _fit(rows: Any = TRAIN, *, spec: FitSpec = SPEC, workers: int = 1, family: str = FAMILY) -> Any:
    dataset = _dataset(rows) if isinstance(rows, Matrix) else rows
    return train(family, spec, dataset, _dataset(VALIDATION), workers=workers, cpus_per_worker=1)


@pytest.mark.fast
def test_a_worker_fits_the_same_model_as_this_process() -> None:
    before = signal.getsignal(signal.SIGINT)
    ours = set(Path(tempfile.gettempdir()).glob("raypipe-fit-*"))
    fitted = _fit()
    alone, history = XGBoost().fit(TRAIN, VALIDATION, SPEC)
    scores = XGBoost().from_files(fitted.files).predict(VALIDATION.x)
    assert np.array_equal(scores, alone.predict(VALIDATION.x))
    assert (fitted.history["rows"], fitted.history["rounds"]) == (len(TRAIN), history.rounds)
    assert signal.getsignal(signal.SIGINT) is before
    assert set(Path(tempfile.gettempdir()).glob("raypipe-fit-*")) == ours


def test_blocks_without_rows_are_passed_over() -> None:
    empty = ray.data.from_arrow([_table(TRAIN), _table(TRAIN.take(np.arange(0)))])
    assert _fit(empty).history["rows"] == len(TRAIN)


@pytest.mark.fast
def test_as_many_workers_as_cpus_are_refused_before_they_could_wait_for_ever() -> None:
    with pytest.raises(ConfigError, match="does not fit") as caught:
        _fit(workers=2)
    assert "at most 1 workers of 1" in str(caught.value)


def test_what_a_worker_refuses_comes_out_as_it_was_raised() -> None:
    with pytest.raises(ConfigError, match="max_dpeth") as caught:
        _fit(spec=replace(SPEC, params={**SPEC.params, "max_dpeth": 3}))
    assert type(caught.value) is ConfigError
    assert "Traceback" not in str(caught.value)


def test_the_servers_own_error_comes_out_of_a_read() -> None:
    failure = ServerError("ClickHouse answered with error 60", found="no table t")
    with pytest.raises(ServerError, match="error 60") as caught:
        _fit(ray.data.read_datasource(Failing(failure)))
    assert type(caught.value) is ServerError
    assert str(caught.value) == str(failure)


def test_an_error_of_another_kind_keeps_its_cause() -> None:
    with pytest.raises(ModelError, match="ZeroDivisionError") as caught:
        _fit(ray.data.read_datasource(Failing(ZeroDivisionError("division by zero"))))
    assert caught.value.__cause__ is not None


@pytest.mark.filterwarnings("ignore:`ray_remote_args` is deprecated")
def test_the_death_of_a_process_says_what_it_did_and_what_to_do() -> None:
    with pytest.raises(ModelError, match="A Ray process died during the fit") as caught:
        _fit(ray.data.read_datasource(Failing(None), ray_remote_args=ONCE))
    assert "WorkerCrashedError" in str(caught.value)
    assert "nothing of the fit was kept: fit again" in str(caught.value)
    assert caught.value.__cause__ is not None


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(DataError, match="wrong shape"):
        _fit(spec=replace(SPEC, columns=("only",)))


def test_a_label_that_is_not_known_is_refused() -> None:
    table = _table(TRAIN)
    labels = pa.array([None, *TRAIN.y[1:]], pa.float32())
    with pytest.raises(DataError, match="labels that are not numbers"):
        _fit(ray.data.from_arrow(table.set_column(1, "label", labels)))


@pytest.mark.fast
def test_an_unknown_family_is_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        _fit(family="nowhere:Mine")
