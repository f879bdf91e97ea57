"""Find the columns with values that groups of rows share, such as the quality of the articles of a category."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import numpy.typing as npt

from raypipe.artifact.contract import Matrix

# Values are shared if the average row has the value of another row.
LEAST_SIZE = 2.0


def groups(x: Matrix, columns: Sequence[str], dates: Sequence[date], numbers: Sequence[str]) -> dict[str, float]:
    """Return by column the number of groups of rows that share a value.

    Readers of a category share the quality of its articles, which is another value the next day. Such rows move
    together, so that a distribution of thousands of rows has no more independent values than groups: the effective
    sample size (Kish 1965, "Survey Sampling"). A value that occurs on several dates, such as a count, is not shared in
    this sense.

    Args:
        x: rows of the fit, shape (rows, features).
        dates: the date of each row.
        numbers: the columns to look at.
    """
    days, at = np.unique(np.asarray(dates, dtype="datetime64[D]"), return_inverse=True)
    if len(days) < 2:
        return {}
    sizes = {name: _size(x[:, place], at) for place, name in enumerate(columns) if name in numbers}
    return {name: rows / size / len(days) for name, (rows, size) in sizes.items() if size >= LEAST_SIZE}


def _size(values: npt.NDArray[np.float32], at: npt.NDArray[np.int64]) -> tuple[int, float]:
    """Return the known rows, and the size of the group that the average row belongs to."""
    known = np.isfinite(values)
    bits = (values[known] + np.float32(0)).view(np.uint32).astype(np.uint64)
    pairs, rows = np.unique(at[known].astype(np.uint64) << np.uint64(32) | bits, return_counts=True)
    _, value, dates = np.unique(pairs & np.uint64(0xFFFFFFFF), return_inverse=True, return_counts=True)
    is_shared = dates[value] == 1
    total = int(rows.sum())
    return total, float(np.where(is_shared, rows.astype(float) ** 2, rows).sum()) / max(total, 1)
