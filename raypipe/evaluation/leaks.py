"""Find features that give the label away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.evaluation import checks, metrics

Array = npt.NDArray[Any]

SUSPICION_ROWS = 200_000


@dataclass(frozen=True)
class Suspicion:
    """A feature that almost gives the label away by itself."""

    column: str
    auc: float


def suspicious_features(
    x: Array, y: Array, columns: Sequence[str], limit: float = 0.99, seed: int = 0
) -> list[Suspicion]:
    """Return the features that alone reach an AUC of `limit` in either direction, the highest AUC first.

    A missing value counts as the smallest or as the largest value, whichever has the higher AUC: a gap can leak the
    label, too. Larger inputs are sampled to 200,000 rows.
    """
    checks.require_two_classes(y, "The search for features that give the label away")
    if len(y) > SUSPICION_ROWS:
        rows = np.random.default_rng(seed).choice(len(y), SUSPICION_ROWS, replace=False)
        x, y = x[rows], y[rows]
    alone = [Suspicion(name, _auc_alone(x[:, at], y)) for at, name in enumerate(columns)]
    return sorted((feature for feature in alone if feature.auc >= limit), key=lambda feature: -feature.auc)


def _auc_alone(values: Array, y: Array) -> float:
    missing = np.isnan(values)
    fills = (-np.inf, np.inf) if missing.any() else (0.0,)
    weights = np.ones(len(y))
    areas = [metrics.Ranking(y, np.where(missing, fill, values)).auc(weights) for fill in fills]
    return max(max(area, 1 - area) for area in areas)
