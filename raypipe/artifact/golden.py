"""Golden rows: a few rows and the scores they had when the model was fitted, scored again before each use."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raypipe.errors import ModelError
from raypipe.models.protocol import Model, Rows, answer

Array = npt.NDArray[np.float32]

FILE = "golden.arrow"
# Float32 sums over a few hundred trees differ by less between machines.
TOLERANCE = 1e-5


# An input has its own name behind this, so that it cannot be taken for ours.
INPUT = "input:"
AT = b"at"
ANY_DAY = datetime(2000, 1, 1, tzinfo=UTC)


def golden(rows: Rows | Array, scores: Array) -> bytes:
    """Rows, or a matrix of shape (rows, features), and their scores, as an Arrow file."""
    rows = rows if isinstance(rows, Rows) else Rows(rows, {}, ANY_DAY)
    values = pa.array(np.ascontiguousarray(rows.x, np.float32).ravel())
    columns = {
        "x": pa.FixedSizeListArray.from_arrays(values, rows.x.shape[1]),
        "score": pa.array(scores, pa.float32()),
        **{f"{INPUT}{name}": column for name, column in rows.inputs.items()},
    }
    table = pa.table(columns).replace_schema_metadata({AT: rows.at.isoformat()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def check_golden(model: Model, stored: bytes, tolerance: float = TOLERANCE) -> int:
    """Scores the golden rows again and returns how many there are.

    Raises:
        ModelError: a score differs by more than `tolerance` (absolute, or relative to scores above 1).
    """
    rows, expected = _rows(stored)
    scores = np.asarray(answer(model, rows).scores, np.float64)
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


def _rows(stored: bytes) -> tuple[Rows, Any]:
    try:
        table = pa.ipc.open_file(pa.BufferReader(stored)).read_all().combine_chunks()
        column = table.column("x").combine_chunks()
        x = column.flatten().to_numpy().reshape(-1, column.type.list_size)
        names = [name for name in table.schema.names if name.startswith(INPUT)]
        inputs = {name.removeprefix(INPUT): table.column(name).combine_chunks() for name in names}
        at = datetime.fromisoformat(table.schema.metadata[AT].decode())
        return Rows(x, inputs, at), table.column("score").to_numpy()
    except (pa.ArrowException, KeyError, AttributeError, TypeError, ValueError) as error:
        raise ModelError(f"The artifact's {FILE} cannot be read", found=str(error)) from error
