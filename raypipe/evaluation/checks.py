"""Refuse rows that cannot be evaluated."""

from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import DataError


def require_rows(y: npt.NDArray[Any], prediction: npt.NDArray[Any], purpose: str) -> None:
    """Refuse rows without a metric: no rows, unequal numbers, or a value that is not finite.

    Args:
        prediction: (rows,), or (rows, classes) of classes.
    """
    if y.shape != prediction.shape[:1] or y.ndim != 1:
        shapes = f"{y.shape} and {prediction.shape}"
        raise DataError(
            f"{purpose}: labels and predictions differ in number",
            found=shapes,
            next_step="pass one prediction per label",
        )
    if not len(y):
        raise DataError(f"{purpose}: there are no rows", next_step="check the split and the dates of the fit")
    for name, values, step in (("labels", y, "correct labels.sql"), ("predictions", prediction, "check model.params")):
        bad = int(np.count_nonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1)))
        if bad:
            raise DataError(f"{purpose}: {name} are not finite", found=f"{bad} of {len(values)} rows", next_step=step)


def require_two_classes(y: npt.NDArray[Any], purpose: str) -> None:
    """Refuse labels other than 0 and 1, and labels of a single class."""
    if not np.isin(y, (0, 1)).all():
        wrong = np.unique(y[~np.isin(y, (0, 1))])[:3]
        raise DataError(
            f"{purpose}: the label is not binary",
            found=", ".join(str(value) for value in wrong),
            allowed="0 and 1",
            next_step="correct labels.sql, or set label.kind to number",
        )
    positives = int(np.count_nonzero(y))
    if positives in (0, len(y)):
        raise single_class(purpose, positives, len(y))


def require_classes(y: npt.NDArray[Any], count: int, purpose: str) -> None:
    """Refuse labels that are not the number of a class, and labels of a single class."""
    wrong = np.unique(y[~np.isin(y, np.arange(count))])[:3]
    if len(wrong):
        raise DataError(
            f"{purpose}: a label is none of the classes",
            found=", ".join(f"{value:g}" for value in wrong),
            allowed=f"0 to {count - 1}",
            next_step="correct labels.sql, or label.classes",
        )
    if len(np.unique(y)) < 2:
        raise DataError(
            f"{purpose}: the rows hold a single class",
            found=f"class number {y[0]:g} in {len(y)} rows",
            allowed="rows of at least two classes",
            next_step="check labels.sql and the horizon, or take more rows",
        )


def single_class(purpose: str, positives: int, rows: int) -> DataError:
    """Return the error for a binary label with a single value."""
    return DataError(
        f"{purpose}: the rows hold a single class",
        found=f"{positives} positives in {rows} rows",
        allowed="rows of both classes",
        next_step="check labels.sql and the horizon, or take more rows",
    )
