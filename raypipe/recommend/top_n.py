"""Find the highest scores of each row without sorting the row."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# The number of columns with a common maximum. Finding the maxima and comparing with one bound read a row at memory
# speed, three to ten times as fast as np.argpartition of the whole row; only a sixteenth of a row is partitioned.
GROUP = 16
LOWEST = np.finfo(np.float32).min


def padded(columns: int) -> int:
    """Round a number of columns up to the width that `top_n` needs, a multiple of 16."""
    return -(-columns // GROUP) * GROUP


def top_n(scores: Array, n: int) -> tuple[Array, Array]:
    """Return the columns and values of each row's n highest scores, highest first; ties go to the lower column.

    The n-th highest maximum of the groups is a bound that all of the n highest scores reach, and few others.

    Args:
        scores: (rows, columns), float32, with a multiple of 16 columns (`padded`), -inf for excluded columns.

    Returns:
        Columns (rows, n) int64 and values (rows, n) float32; column 0 and -inf beyond a row's last score.
    """
    rows, width = scores.shape
    columns, values = np.zeros((rows, n), np.int64), np.full((rows, n), -np.inf, np.float32)
    reached = np.flatnonzero(scores >= _bound(scores, n)[:, None])
    row = reached // width
    high = scores.ravel()[reached]
    order = np.lexsort((-high, row))
    row = row[order]
    rank = np.arange(len(row)) - np.searchsorted(row, np.arange(rows))[row]
    kept = rank < n
    columns[row[kept], rank[kept]] = (reached[order] % width)[kept]
    values[row[kept], rank[kept]] = high[order][kept]
    return columns, values


def _bound(scores: Array, n: int) -> Array:
    """Return a finite bound per row that its n highest scores reach."""
    rows, width = scores.shape
    groups = width // GROUP
    if n > groups:
        return np.full(rows, LOWEST)
    maxima = scores.reshape(rows, GROUP, groups).max(axis=1)
    bound: Array = np.maximum(np.partition(maxima, groups - n, axis=1)[:, groups - n], LOWEST)
    return bound
