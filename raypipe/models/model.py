"""Define fitted models: the rows that they score, and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Matrix:
    """Rows to fit on.

    Attributes:
        x: (rows, features), C order; NaN is a missing value.
        y: (rows,), the label; 0 or 1 for a binary label, the number of the class for classes.
        entities: (rows,), the number of each row's entity, from 0 on; None if no entity has two rows, or if unknown.
    """

    x: FloatArray
    y: FloatArray
    entities: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def first(self, rows: int) -> Matrix:
        """Return the first rows, without a copy."""
        return self._at(slice(rows))

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Matrix:
        """Return the rows at the given positions; those of a range without a copy."""
        if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
            return self._at(slice(int(rows[0]), int(rows[-1]) + 1))
        return self._at(rows)

    def joined(self, other: Matrix) -> Matrix:
        """Return the rows of both, which share no entity.

        Nothing is copied where the other rows follow in the same memory.
        """
        entities = None
        if self.entities is not None or other.entities is not None:
            own = np.arange(len(self)) if self.entities is None else self.entities
            others = np.arange(len(other)) if other.entities is None else other.entities
            entities = np.concatenate([own, others + (own.max(initial=-1) + 1)])
        return Matrix(_joined(self.x, other.x), _joined(self.y, other.y), entities)

    def _at(self, rows: slice | npt.NDArray[np.integer[Any]]) -> Matrix:
        return Matrix(self.x[rows], self.y[rows], None if self.entities is None else self.entities[rows])


def _joined(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return both arrays as one, as a view if the second begins at the end of the first."""
    whole = first.base
    if isinstance(whole, np.ndarray) and whole is second.base and whole.shape[1:] == first.shape[1:]:
        is_plain = all(array.flags.c_contiguous for array in (whole, first, second))
        if is_plain and second.ctypes.data == first.ctypes.data + first.nbytes:
            begin = (first.ctypes.data - whole.ctypes.data) // whole.strides[0]
            return whole[begin : begin + len(first) + len(second)]
    return np.concatenate([first, second])


@runtime_checkable
class Model(Protocol):
    """A fitted model. One thread uses it: each thread that scores loads its own."""

    def predict(self, x: FloatArray) -> FloatArray:
        """Return scores (rows,) for a matrix (rows, features)."""
        ...

    def explain(self, x: FloatArray) -> FloatArray:
        """Return each feature's part of each score, (rows, features), in units of the model's raw output.

        Raises:
            ModelError: this model has no explanations.
        """
        ...

    def importance(self) -> FloatArray:
        """Return the weight of each feature, (features,), not negative, with the sum 1 (0 for a constant model)."""
        ...

    def files(self) -> dict[str, bytes]:
        """Return the model in formats that cannot run code when read."""
        ...

    def set_threads(self, threads: int) -> None:
        """Set the number of CPU threads for scoring."""
        ...


# The predictors of a model, as receipts name them.
LIBRARY, COMPILED = "library", "compiled"


@runtime_checkable
class CompilableModel(Model, Protocol):
    """A model that can also predict by code compiled for this processor.

    Attributes:
        predictor: LIBRARY or COMPILED, as `predict` answers by.
    """

    predictor: str

    def compile(self) -> None:
        """Predict by compiled code from here on, if the model and this machine allow it.

        The first rows are compared with the library; `predict` raises PredictorDiffers where they differ.
        """
        ...


@dataclass(frozen=True)
class Rows:
    """Rows to score, with more than their matrix.

    Attributes:
        x: (rows, features), the matrix for `Model.predict`.
        inputs: the columns of features.sql that the config lists as `inputs`, (rows,) each, unchanged.
        at: the end of the scored day, with its time zone.
    """

    x: FloatArray
    inputs: Mapping[str, pa.Array]
    at: datetime


@dataclass(frozen=True)
class Answer:
    """A model's answer to rows.

    Attributes:
        scores: (rows,), float32; rows with a score that is not finite are rejected.
        columns: the model's output columns by name, (rows,) each.
    """

    scores: FloatArray
    columns: Mapping[str, pa.Array] = field(default_factory=dict)


@runtime_checkable
class WideModel(Model, Protocol):
    """A model that answers more than a score, such as a cluster's number or a list of articles.

    Attributes:
        outputs: the columns of its answers, in order, with their ClickHouse types; publish.sql finds them in staging.
        values: parameters that publish.sql may bind beside the run's own, JSON-ready, such as names of clusters.
    """

    outputs: Mapping[str, str]
    values: Mapping[str, Any]

    def answer(self, rows: Rows) -> Answer:
        """Return the scores and output columns of a batch of rows."""
        ...


def answer(model: Model, rows: Rows) -> Answer:
    """Return the answer of any model."""
    return model.answer(rows) if isinstance(model, WideModel) else Answer(model.predict(rows.x))


def predictor(model: Model) -> str:
    """Return what a model predicts by: LIBRARY or COMPILED."""
    return model.predictor if isinstance(model, CompilableModel) else LIBRARY


def shares(weights: npt.NDArray[np.float64]) -> FloatArray:
    """Divide weights by their sum, as for `Model.importance`; all zeros stay zeros."""
    total = float(weights.sum())
    return np.asarray(weights / total if total > 0 else weights, np.float32)
