"""Test the metrics from counts of scores per class: against the rows themselves, and estimates against NannyML."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from raypipe.evaluation.evaluate import evaluate
from raypipe.validate import performance

# NannyML 0.13.1, CBPE on `rows(5000, 5)` with `rows(10000, 0)` as the reference, which it found calibrated.
NANNYML = {
    "auc": 0.8447174002566186,
    "f1": 0.6395984912872107,
    "precision": 0.6991606797627872,
    "recall": 0.589387950019098,
    "accuracy": 0.787417208,
}
THRESHOLD = 0.5


def rows(count: int, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated scores and outcomes, without a generator of random numbers."""
    i = np.arange(count)
    scores = np.round(0.02 + 0.9 * (((i * 7919 + shift) % 10007 + 0.5) / 10007) ** 2, 6)
    return scores, (((i * 104729 + 31 * shift) % 10009 + 0.5) / 10009 < scores).astype(int)


def cells(scores: np.ndarray, outcomes: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Group rows like sql/validation/binary.sql."""
    label = np.full(len(scores), -1) if outcomes is None else outcomes
    bits = scores.astype(np.float32).view(np.uint32).astype(np.int64) & 4294959104
    tenth, positive = np.clip((scores * 10).astype(int), 0, 9), scores >= THRESHOLD
    keys, group = np.unique(np.stack([label, tenth, positive, bits]), axis=1, return_inverse=True)
    likely = np.clip(np.where(label > 0.5, scores, 1 - scores), 1e-7, 1)

    def total(values: Any) -> np.ndarray:
        return np.bincount(group.ravel(), weights=values)

    return {
        "outcome": keys[0],
        "tenth": keys[1],
        "positive": keys[2],
        "bin": keys[3],
        "rows": np.bincount(group.ravel()),
        "scores": total(scores),
        "squares": total((scores - label) ** 2),
        "losses": total(-np.log(likely)),
    }


def test_an_estimate_equals_nannymls_on_the_same_rows() -> None:
    scores, _ = rows(5000, 5)
    estimated = performance.estimate(cells(scores), 0, 0)
    for name, expected in NANNYML.items():
        assert estimated[name].value == pytest.approx(expected, abs=1e-4 if name == "auc" else 1e-9), name


def test_measured_metrics_equal_those_of_the_rows() -> None:
    scores, outcomes = rows(5000, 5)
    measured = performance.measure(cells(scores, outcomes), 200, 1)
    expected = evaluate("binary", outcomes, scores, threshold=THRESHOLD, resamples=200, seed=1)
    for name in ("auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1", "ece"):
        interval, wanted = measured[name], expected[name]
        assert interval.value == pytest.approx(wanted["value"], abs=2e-4), name
        if "low" in wanted:
            width = wanted["high"] - wanted["low"]
            assert interval.low == pytest.approx(wanted["low"], abs=width / 4), name
            assert interval.high == pytest.approx(wanted["high"], abs=width / 4), name
    assert measured["ece"].low <= measured["ece"].high


def test_the_interval_of_an_estimate_covers_the_outcomes_of_calibrated_scores() -> None:
    scores, _ = rows(2000, 5)
    estimated = performance.estimate(cells(scores), 400, 1)
    rng, inside = np.random.default_rng(2), {"auc": 0, "f1": 0, "log_loss": 0}
    for _ in range(200):
        outcomes = (rng.random(len(scores)) < scores).astype(int)
        measured = performance.measure(cells(scores, outcomes), 0, 0)
        for name in inside:
            inside[name] += estimated[name].low <= measured[name].value <= estimated[name].high
    assert all(0.9 <= count / 200 <= 0.99 for count in inside.values()), inside


def test_scores_that_are_not_calibrated_are_estimated_too_high() -> None:
    scores, outcomes = rows(5000, 5)
    sharper = scores**3 / (scores**3 + (1 - scores) ** 3)
    estimated = performance.estimate(cells(sharper), 200, 0)
    measured = performance.measure(cells(sharper, outcomes), 0, 0)
    assert measured["auc"].value < estimated["auc"].low - 0.05


def test_what_has_no_value_is_none_and_never_a_number() -> None:
    scores = np.full(50, 0.2)
    measured = performance.measure(cells(scores, np.zeros(50, int)), 100, 0)
    none = {name for name, interval in measured.items() if interval.value is None}
    assert none == {"auc", "precision", "recall", "f1"}
    assert none <= performance.REASONS.keys()
    assert {measured[name].low for name in none} == {None}
    # A threshold that no score reaches.
    estimated = performance.estimate(cells(scores), 100, 0)
    assert {name for name, interval in estimated.items() if interval.value is None} == {"precision"}
    assert estimated["auc"].value == 0.5


def test_one_row_is_enough() -> None:
    measured = performance.measure(cells(np.array([0.9]), np.array([1])), 10, 0)
    assert (measured["recall"].value, measured["auc"].value) == (1.0, None)
