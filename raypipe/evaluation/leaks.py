"""Find features that give the label away."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.evaluation import checks, metrics

Array = npt.NDArray[Any]

SUSPICION_ROWS = 200_000


def suspicious_features(
    x: Array, y: Array, columns: Sequence[str], limit: float = 0.99, seed: int = 0
) -> list[tuple[str, float]]:
    """Return the features that alone reach an AUC of `limit` in either direction, and their AUC, the highest first.

    A missing value counts as the smallest or as the largest value, whichever has the higher AUC: a gap can leak the
    label, too. Larger inputs are sampled to 200,000 rows.
    """
    checks.require_two_classes(y, "The search for features that give the label away")
    if len(y) > SUSPICION_ROWS:
        rows = np.random.default_rng(seed).choice(len(y), SUSPICION_ROWS, replace=False)
        x, y = x[rows], y[rows]
    alone = [(name, _auc_alone(x[:, at], y)) for at, name in enumerate(columns)]
    return sorted(((name, auc) for name, auc in alone if auc >= limit), key=lambda leak: -leak[1])


def _auc_alone(values: Array, y: Array) -> float:
    missing = np.isnan(values)
    fills = (-np.inf, np.inf) if missing.any() else (0.0,)
    weights = np.ones(len(y))
    areas = [metrics.Ranking(y, np.where(missing, fill, values)).auc(weights) for fill in fills]
    return max(max(area, 1 - area) for area in areas)
