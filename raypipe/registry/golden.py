"""Golden rows: a few rows and the scores they had when the model was fitted, scored again before each use."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raypipe.errors import ModelError

Array = npt.NDArray[np.float32]

FILE = "golden.arrow"
# Float32 sums over a few hundred trees differ by less between machines.
TOLERANCE = 1e-5


class Predictor(Protocol):
    """Anything that scores a matrix."""

    def predict(self, x: Array) -> Array: ...


def golden(x: Array, scores: Array) -> bytes:
    """Rows of shape (rows, features) and their scores, as an Arrow file."""
    width = x.shape[1]
    values = pa.array(np.ascontiguousarray(x, np.float32).ravel())
    table = pa.table({"x": pa.FixedSizeListArray.from_arrays(values, width), "score": pa.array(scores, pa.float32())})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def check_golden(model: Predictor, stored: bytes, tolerance: float = TOLERANCE) -> int:
    """Scores the golden rows again and returns how many there are.

    Raises:
        ModelError: a score differs by more than `tolerance` (absolute, or relative to scores above 1).
    """
    x, expected = _rows(stored)
    scores = np.asarray(model.predict(x), np.float64)
    difference = np.abs(scores - expected)
    # Written so that a NaN counts as different, unless both are.
    same = (difference <= tolerance * np.maximum(1.0, np.abs(expected))) | (np.isnan(scores) & np.isnan(expected))
    if not same.all():
        raise ModelError(
            "The model does not score its golden rows as it did when it was fitted",
            found=f"{np.count_nonzero(~same)} of {len(same)} rows differ, by up to {_largest(difference):.3g}",
            allowed=f"a difference of {tolerance:g}",
            next_step="check the versions of the model's library here and at the fit, or fit a new version",
        )
    return len(same)


def _largest(difference: Any) -> float:
    return float(np.nanmax(difference, initial=0.0))


def _rows(stored: bytes) -> tuple[Array, Any]:
    try:
        table = pa.ipc.open_file(pa.BufferReader(stored)).read_all().combine_chunks()
        column = table.column("x").combine_chunks()
        x = column.flatten().to_numpy().reshape(-1, column.type.list_size)
        return x, table.column("score").to_numpy()
    except (pa.ArrowException, KeyError, AttributeError) as error:
        raise ModelError(f"The artifact's {FILE} cannot be read", found=str(error)) from error
