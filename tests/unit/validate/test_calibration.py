"""Test the calibration of scores by a table of reliability, and estimates with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from raypipe.evaluation.evaluate import evaluate
from raypipe.validate import performance
from raypipe.validate.calibration import Calibration, calibration
from tests.unit.validate.test_performance import THRESHOLD, cells, rows


def reliability(scores: np.ndarray, outcomes: np.ndarray) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = evaluate("binary", outcomes, scores, threshold=THRESHOLD, resamples=0, seed=1)[
        "reliability"
    ]
    return table


def test_scores_that_are_right_within_chance_stay_as_they_are() -> None:
    assert calibration(reliability(*rows(5000, 5))) == Calibration()
    scores, outcomes = rows(60, 5)
    assert calibration(reliability(scores * 0.8, outcomes)) == Calibration(), "60 rows show no error of a fifth"


@pytest.mark.parametrize("line", [Calibration(0.4, 0.6), Calibration(-0.3, 1.4)])
def test_the_line_of_log_odds_is_found_again(line: Calibration) -> None:
    scores = np.random.default_rng(1).uniform(0.02, 0.98, 40_000)
    outcomes = (np.random.default_rng(2).random(len(scores)) < line(scores)).astype(int)
    found = calibration(reliability(scores, outcomes))
    assert (found.intercept, found.slope) == (
        pytest.approx(line.intercept, abs=0.04),
        pytest.approx(line.slope, abs=0.04),
    )


def test_an_estimate_of_scores_that_were_wrong_is_right_after_their_calibration() -> None:
    def sharper(scores: np.ndarray) -> np.ndarray:
        return scores**1.7 / (scores**1.7 + (1 - scores) ** 1.7)

    earlier, outcomes = rows(10_000, 0)
    likelihood = calibration(reliability(sharper(earlier), outcomes))
    scores, outcomes = rows(5000, 5)
    estimated = performance.estimate(cells(sharper(scores)), 300, 0, likelihood)
    measured = performance.measure(cells(sharper(scores), outcomes), 0, 0)
    for name in ("auc", "log_loss", "precision", "recall", "f1", "accuracy"):
        interval, value = estimated[name], measured[name].value
        width = interval.high - interval.low
        assert interval.low - width / 2 <= value <= interval.high + width / 2, (name, interval, value)
    raw = performance.estimate(cells(sharper(scores)), 0, 0)
    assert raw["auc"].value > measured["auc"].value + 0.04


def test_what_shows_no_calibration_changes_nothing() -> None:
    one = [{"predicted": 0.2, "observed": 0.5, "rows": 900}]
    assert calibration([]) == calibration(one) == Calibration()
    constant = [{"predicted": p, "observed": 0.0, "rows": 900} for p in (0.2, 0.8)]
    assert calibration(constant) == Calibration()
    falling = [{"predicted": 0.2, "observed": 0.8, "rows": 900}, {"predicted": 0.8, "observed": 0.2, "rows": 900}]
    assert calibration(falling) == Calibration()
    apart = [{"predicted": 0.2, "observed": 0.0, "rows": 900}, {"predicted": 0.8, "observed": 1.0, "rows": 900}]
    assert np.isfinite(calibration(apart)(np.array([0.0, 0.5, 1.0]))).all()
