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
    odds = np.stack([np.ones(len(rows)), _odds(predicted)])
    found, likelihood = Calibration(), _likelihood(Calibration(), predicted, observed, rows)
    before = likelihood
    for _ in range(STEPS):
        rate = found(predicted)
        curvature = (odds * (rows * rate * (1 - rate))) @ odds.T
        step = np.linalg.lstsq(curvature, odds @ (rows * (observed - rate)), rcond=None)[0]
        # Newton's step, or the part of it that is an ascent.
        tries = (Calibration(found.intercept + part * step[0], found.slope + part * step[1]) for part in PARTS)
        better = next((line for line in tries if _likelihood(line, predicted, observed, rows) > likelihood), None)
        if better is None:
            break
        found, likelihood = better, _likelihood(better, predicted, observed, rows)
    # Scores that fall as outcomes rise are no case for a calibration.
    is_needed = 2 * (likelihood - before) > LEAST_GAIN and found.slope > 0
    return Calibration(float(found.intercept), float(found.slope)) if is_needed else Calibration()


def _odds(scores: Floats) -> Floats:
    inside = np.clip(scores, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    found: Floats = np.log(inside / (1 - inside))
    return found


def _likelihood(line: Calibration, predicted: Floats, observed: Floats, rows: Floats) -> float:
    rate = np.clip(line(predicted), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return float(rows @ (observed * np.log(rate) + (1 - observed) * np.log(1 - rate)))
