"""Recalibrate scores by earlier predictions with known outcomes, for estimates before there are outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.evaluation.metrics import SMALLEST_PROBABILITY

Floats = npt.NDArray[np.float64]
STEPS, PARTS = 25, (1.0, 0.5, 0.25, 0.125, 0.0625)
# The quantile of chi-square with 2 degrees of freedom that chance exceeds once in twenty.
LEAST_GAIN = 5.991


@dataclass(frozen=True)
class Calibration:
    """The line from the log-odds of a score to the log-odds of an outcome 1."""

    intercept: float = 0.0
    slope: float = 1.0

    def __call__(self, scores: Floats) -> Floats:
        """Return the probabilities of an outcome 1."""
        found: Floats = (1 + np.tanh((self.intercept + self.slope * _odds(scores)) / 2)) / 2
        return found


def calibration(reliability: Sequence[Mapping[str, Any]]) -> Calibration:
    """Fit the calibration of scores to a table of reliability; scores that are right within chance stay as they are.

    Intercept and slope by logistic regression (Cox 1958, "Two further applications of a model for binary regression";
    Van Calster et al. 2016, "A calibration hierarchy for risk models"). Two numbers need far fewer rows than a curve.

    Args:
        reliability: the mean score, the rate of outcomes 1, and the rows of each bin.
    """
    predicted, observed, rows = (
        np.array([float(row[name]) for row in reliability]) for name in ("predicted", "observed", "rows")
    )
    ones = float(observed @ rows)
    if len(rows) < 2 or not 0 < ones < rows.sum():
        return Calibration()
    table = predicted, observed, rows
    line = _fitted(*table)
    gain = 2 * (_likelihood(line, *table) - _likelihood(Calibration(), *table))
    # Scores that fall as outcomes rise are no case for a calibration.
    return line if gain > LEAST_GAIN and line.slope > 0 else Calibration()


def _fitted(predicted: Floats, observed: Floats, rows: Floats) -> Calibration:
    """Return the most likely line, by Newton's steps or the part of them that is an ascent."""
    odds = np.stack([np.ones(len(rows)), _odds(predicted)])
    line = Calibration()
    for _ in range(STEPS):
        rate, likelihood = line(predicted), _likelihood(line, predicted, observed, rows)
        curvature = (odds * (rows * rate * (1 - rate))) @ odds.T
        step = np.linalg.lstsq(curvature, odds @ (rows * (observed - rate)), rcond=None)[0].tolist()
        tries = (Calibration(line.intercept + part * step[0], line.slope + part * step[1]) for part in PARTS)
        better = next((item for item in tries if _likelihood(item, predicted, observed, rows) > likelihood), None)
        if better is None:
            break
        line = better
    return line


def _odds(scores: Floats) -> Floats:
    inside = np.clip(scores, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    found: Floats = np.log(inside / (1 - inside))
    return found


def _likelihood(line: Calibration, predicted: Floats, observed: Floats, rows: Floats) -> float:
    rate = np.clip(line(predicted), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return float(rows @ (observed * np.log(rate) + (1 - observed) * np.log(1 - rate)))
