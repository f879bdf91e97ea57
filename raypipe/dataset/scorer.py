"""Score the batches of a Ray Data dataset with a registered model."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.artifact.contract import MATRIX, matrix
from raypipe.artifact.package import Package, load_package
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.dataset.features import DAY, DAY_END, VERSION
from raypipe.errors import DataError
from raypipe.models.model import Rows, answer
from raypipe.registry import models


class Scorer:
    """A class for `map_batches` that scores rows of `raypipe.read_features`; use it with `batch_format="pyarrow"`.

    Each actor loads the version that the rows name, once: every byte is verified, and the golden rows are scored again.
    The result has the keys, the carried columns, `score`, the model's other outputs, `model_version` and
    `prediction_date`. A score that is not finite, or outside the range of its kind, is NULL.

    Args:
        pipeline: the name of the pipeline.
        endpoint: the ClickHouse with the registry; workers read the password by themselves.
    """

    def __init__(self, pipeline: str, endpoint: Endpoint) -> None:
        self._pipeline = pipeline
        self._endpoint = endpoint
        self._version = ""
        self._package: Package | None = None

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the scores of a batch.

        Raises:
            DataError: the rows are not those of `raypipe.read_features`, or not of one version.
            ModelError: the artifact was changed or pruned, or this machine scores differently.
        """
        _require_columns(batch)
        if batch.num_rows == 0:
            return pa.table({})
        package = self._loaded(_only(batch, VERSION))
        contract = package.contract
        x = matrix(batch.column(MATRIX), len(contract.columns))
        inputs = {name: batch.column(name).combine_chunks() for name in contract.inputs}
        prediction = answer(package.model, Rows(x, inputs, _only(batch, DAY_END)))
        scores = np.asarray(prediction.scores, np.float32)
        usable = np.isfinite(scores)
        if package.score_range is not None:
            usable &= (scores >= package.score_range[0]) & (scores <= package.score_range[1])
        result = batch.select([*contract.keys, *contract.carry])
        result = result.append_column("score", pc.if_else(pa.array(usable), pa.array(scores), None))
        for name in package.outputs:
            result = result.append_column(name, prediction.columns[name])
        return result.append_column(VERSION, batch.column(VERSION)).append_column(DAY, batch.column(DAY))

    def _loaded(self, version: str) -> Package:
        if self._package is None or version != self._version:
            with Client(self._endpoint) as client:
                model = models.find(client, self._pipeline, version)
                models.require_artifact(model)
                uri, sha256 = model.artifact_uri, model.artifact_sha256
                self._package = load_package(
                    uri, sha256, client, pipeline=self._pipeline, version=version, only_scores=True
                )
            # Ray sets the variable to the CPUs of the actor.
            self._package.model.set_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
            self._version = version
        return self._package


def _require_columns(batch: pa.Table) -> None:
    missing = [name for name in (MATRIX, VERSION, DAY, DAY_END) if name not in batch.schema.names]
    if missing and batch.num_rows:
        raise DataError(
            "The scorer needs the rows of raypipe.read_features",
            found=f"no {', '.join(missing)} among {', '.join(batch.schema.names)}",
            next_step="read the rows with raypipe.read_features, and keep its columns up to map_batches",
        )


def _only(batch: pa.Table, name: str) -> Any:
    values = pc.unique(batch.column(name)).to_pylist()
    if len(values) != 1:
        raise DataError(
            f"A batch for the scorer has several values of {name}",
            found=", ".join(map(str, values)),
            allowed="one, as in each block of raypipe.read_features",
            next_step="score each day and version before the datasets are united",
        )
    return values[0]
