"""The highest scores of each row, without sorting the row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Columns that share a maximum. Finding the maxima reads a row once at memory speed; the selection itself then looks at
# a sixteenth of the row.
GROUP = 16


def padded(columns: int) -> int:
    """The width that `top_n` wants for so many columns: the next multiple of its group."""
    return -(-columns // GROUP) * GROUP


def top_n(scores: Array, n: int) -> tuple[Array, Array]:
    """The columns and values of the n highest scores of each row, highest first, at equal scores the lower column.

    A row's n highest lie in the n groups with the highest maxima, so only those groups are looked at (at ties on
    the edge any of the equals may be taken).

    Args:
        scores: (rows, columns), the columns a multiple of 16 (`padded`), -inf where there is nothing to take.
        n: how many; more than there are columns gives all of them.

    Returns:
        Columns (rows, m) int64 and values (rows, m) with m = min(n, columns).
    """
    rows, width = scores.shape
    groups = width // GROUP
    if n >= groups:
        return _sorted(scores, _highest(scores, min(n, width)))
    maxima = scores.reshape(rows, GROUP, groups).max(axis=1)
    best = _highest(maxima, n)
    columns = (best[:, None, :] + (np.arange(GROUP) * groups)[None, :, None]).reshape(rows, GROUP * n)
    values = np.take_along_axis(scores, columns, axis=1)
    place = _highest(values, n)
    return _sorted(scores, np.take_along_axis(columns, place, axis=1))


def _highest(values: Array, n: int) -> Array:
    """The columns of the n highest values of each row, in any order."""
    width = values.shape[1]
    if n >= width:
        return np.broadcast_to(np.arange(width), values.shape)
    return np.argpartition(values, width - n, axis=1)[:, width - n :]


def _sorted(scores: Array, columns: Array) -> tuple[Array, Array]:
    columns = np.sort(columns, axis=1)
    values = np.take_along_axis(scores, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)
