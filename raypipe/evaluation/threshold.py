"""Choose the score from which a row counts as positive."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import DataError
from raypipe.evaluation import checks

Array = npt.NDArray[Any]
# `f1`, `youden`, {"precision": share} or {"recall": share}, as `evaluate.threshold` in the config.
Objective = str | Mapping[str, float]


def choose_threshold(y: Array, p: Array, objective: Objective) -> float:
    """Return the threshold that reaches an objective; choose it on validation rows.

    Args:
        y: (rows,), 0 or 1.
        p: (rows,), the scores.
        objective: `f1` and `youden` (recall + specificity - 1; Youden 1950) take the threshold with the maximum.
            {"precision": t} takes the lowest threshold with a precision of at least t, for the most recall.
            {"recall": t} takes the highest threshold with a recall of at least t.

    Raises:
        DataError: a single class, or no threshold reaches the precision.
    """
    checks.require_rows(y, p, "The choice of a threshold")
    checks.require_two_classes(y, "The choice of a threshold")
    # Per distinct score, descending: the rows that it marks as positive, and the true positives among them.
    order = np.argsort(-p, kind="stable")
    ranked = p[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    marked, hits = ends + 1, np.cumsum(y[order] > 0.5)[ends]
    return float(ranked[ends][_best(objective, marked, hits)])


def threshold_or_f1(y: Array, p: Array, objective: Objective) -> float:
    """Return the threshold for an objective, or for F1 when no threshold reaches the precision."""
    try:
        return choose_threshold(y, p, objective)
    except DataError:
        return choose_threshold(y, p, "f1")


def _best(objective: Objective, marked: Array, hits: Array) -> int:
    """Return the position of the best threshold."""
    rows, positives = marked[-1], hits[-1]
    if objective == "f1":
        return int(np.argmax(2 * hits / (marked + positives)))
    if isinstance(objective, str):
        return int(np.argmax(hits / positives - (marked - hits) / (rows - positives)))
    ((goal, least),) = objective.items()
    if goal == "recall":
        return int(np.argmax(hits / positives >= least))
    precision = hits / marked
    enough = np.flatnonzero(precision >= least)
    if not len(enough):
        raise DataError(
            "No threshold reaches the precision that evaluate.threshold asks for",
            found=f"at most {precision.max():.4f} on {rows} validation rows",
            allowed=f"{least}",
            next_step="ask for a lower precision, or for f1",
        )
    return int(enough[-1])
