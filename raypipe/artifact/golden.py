"""Keep a few rows with the scores that they had after the fit, and score them again before each use."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from raypipe.errors import ModelError
from raypipe.models.agreement import difference
from raypipe.models.model import FloatArray, Model, Rows, answer

FILE = "golden.arrow"
# Sums over a few hundred trees in float32 differ by less than this between machines.
TOLERANCE = 1e-5
# The prefix keeps an input's name apart from the names of raypipe's own columns.
INPUT = "input:"
AT = b"at"
ANY_DAY = datetime(2000, 1, 1, tzinfo=UTC)


def golden(rows: Rows, scores: FloatArray) -> bytes:
    """Return rows and their scores as an Arrow file."""
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


def check_golden(model: Model, stored: bytes) -> int:
    """Score the golden rows again, and return their number.

    Raises:
        ModelError: a score differs by more than TOLERANCE (absolute, or relative to scores above 1).
    """
    rows, expected = _rows(stored)
    differing = difference(np.asarray(answer(model, rows).scores), expected, TOLERANCE)
    if differing:
        raise ModelError(
            "The model does not score its golden rows as it did when it was fitted",
            found=differing,
            allowed=f"a difference of {TOLERANCE:g}",
            next_step="compare the versions of the model's library here and at the fit, or fit a new version",
        )
    return len(expected)


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
