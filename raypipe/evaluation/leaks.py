"""Find features that give the label away."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.evaluation import checks, metrics

Array = npt.NDArray[Any]

SUSPICION_ROWS = 200_000


def suspicious_features(x: Array, y: Array, columns: Sequence[str], limit: float = 0.99) -> list[tuple[str, float]]:
    """Return the features that alone reach an AUC of `limit` in either direction, and their AUC, the highest first.

    A missing value counts as the smallest or as the largest value, whichever has the higher AUC: a gap can leak the
    label, too. Larger inputs are sampled to SUSPICION_ROWS.
    """
    checks.require_two_classes(y, "The search for features that give the label away")
    if len(y) > SUSPICION_ROWS:
        rows = _sample(y)
        x, y = x[rows], y[rows]
    alone = [(name, _auc_alone(x[:, at], y)) for at, name in enumerate(columns)]
    return sorted(((name, auc) for name, auc in alone if auc >= limit), key=lambda leak: -leak[1])


def _sample(y: Array) -> Array:
    """Draw up to half of the rows from each class: an AUC needs both, whatever their shares."""
    generator = np.random.default_rng(0)
    classes = [np.flatnonzero(y == label) for label in (0, 1)]
    drawn = [generator.choice(rows, min(len(rows), SUSPICION_ROWS // 2), replace=False) for rows in classes]
    return np.concatenate(drawn)


def _auc_alone(values: Array, y: Array) -> float:
    missing = np.isnan(values)
    fills = (-np.inf, np.inf) if missing.any() else (0.0,)
    weights = np.ones(len(y))
    areas = [metrics.Ranking(y, np.where(missing, fill, values)).auc(weights) for fill in fills]
    return max(max(area, 1 - area) for area in areas)
