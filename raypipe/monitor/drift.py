"""Measure the drift of a run's features and scores against the fit.

The population stability index of two distributions over the same bins is the sum of
`(q - p) * ln(q / p)` (Siddiqi 2006, "Credit Risk Scorecards"); 0.1 is worth a look, 0.25 is a shift.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# A bin that one side never saw would make the index infinite.
SMALLEST_SHARE = 1e-4


@dataclass(frozen=True)
class Drift:
    """The population stability index of each matrix column and of the score, and the names above the limits."""

    features: Mapping[str, float]
    score: float
    warnings: tuple[str, ...]
    alerts: tuple[str, ...]
    score_counts: tuple[int, ...]

    @property
    def worst(self) -> float:
        """Return the largest index of any feature or of the score."""
        return max([*self.features.values(), self.score], default=0.0)

    def index(self, name: str) -> float:
        """Return the index of a matrix column, or of `score`."""
        return self.score if name == "score" else self.features[name]


def psi(expected: Sequence[float], counts: npt.NDArray[np.int64]) -> float:
    """Return the population stability index of counts per bin against the expected shares."""
    total = counts.sum()
    if total == 0:
        return 0.0
    p = np.maximum(np.asarray(expected, dtype=np.float64), SMALLEST_SHARE)
    q = np.maximum(counts / total, SMALLEST_SHARE)
    return float(np.sum((q - p) * np.log(q / p)))


def measure(
    columns: Sequence[str],
    feature_shares: Sequence[Sequence[float]],
    score_shares: Sequence[float],
    histograms: Iterable[Mapping[str, Any]],
    *,
    warning: float,
    alert: float,
) -> Drift:
    """Return the drift of a run from the histograms in its receipts.

    Args:
        feature_shares: the share of each bin at the fit, by column.
        score_shares: the share of each bin of the score at the fit.
        warning: the index from which a column is worth a look.
        alert: the index from which a column has shifted.
    """
    features = [np.zeros(len(shares), dtype=np.int64) for shares in feature_shares]
    scores = np.zeros(len(score_shares), dtype=np.int64)
    for counts in histograms:
        for total, part in zip(features, counts["features"], strict=True):
            total += np.asarray(part, dtype=np.int64)
        scores += np.asarray(counts["scores"], dtype=np.int64)
    indices = {
        # A column without a value at the fit has no part in the model, whatever its later values.
        name: 0.0 if shares[-1] == 1 else round(psi(shares, total), 5)
        for name, shares, total in zip(columns, feature_shares, features, strict=True)
    }
    score = round(psi(score_shares, scores), 5)
    moved = {**indices, "score": score}
    return Drift(
        indices,
        score,
        tuple(name for name, value in moved.items() if warning <= value < alert),
        tuple(name for name, value in moved.items() if value >= alert),
        tuple(int(number) for number in scores),
    )
