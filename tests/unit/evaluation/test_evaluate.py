from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as reference

from raypipe.errors import DataError
from raypipe.evaluation import leaks
from raypipe.evaluation.evaluate import evaluate, reliability
from raypipe.evaluation.leaks import suspicious_features
from raypipe.evaluation.metrics import METRICS, entities_of, gain
from raypipe.evaluation.threshold import choose_threshold

RNG = np.random.default_rng(11)
Y = (RNG.random(2_000) < 0.3).astype(np.float32)
# Rounded, so that there are many ties.
P = np.clip(0.3 + 0.3 * (Y - 0.3) + RNG.normal(size=len(Y)) * 0.2, 0.01, 0.99).round(2).astype(np.float32)


def test_every_binary_metric_equals_scikit_learns() -> None:
    found = evaluate("binary", Y, P, threshold=0.4, resamples=0)
    predicted = P >= 0.4
    expected = {
        "auc": reference.roc_auc_score(Y, P),
        "average_precision": reference.average_precision_score(Y, P),
        "log_loss": reference.log_loss(Y, P.astype(np.float64)),
        "brier": reference.brier_score_loss(Y, P),
        "accuracy": reference.accuracy_score(Y, predicted),
        "precision": reference.precision_score(Y, predicted),
        "recall": reference.recall_score(Y, predicted),
        "f1": reference.f1_score(Y, predicted),
    }
    assert {name: found[name]["value"] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_every_number_metric_equals_scikit_learns() -> None:
    y, prediction = RNG.normal(size=500), RNG.normal(size=500)
    found = evaluate("number", y, prediction, resamples=0)
    assert found["rmse"]["value"] == pytest.approx(reference.root_mean_squared_error(y, prediction))
    assert found["mae"]["value"] == pytest.approx(reference.mean_absolute_error(y, prediction))
    assert found["r2"]["value"] == pytest.approx(reference.r2_score(y, prediction))


def test_a_constant_score_has_auc_one_half() -> None:
    assert evaluate("binary", Y, np.full(len(Y), 0.3), resamples=0)["auc"]["value"] == 0.5


def test_intervals_hold_the_value_and_narrow_with_rows() -> None:
    few = evaluate("binary", Y[:300], P[:300], resamples=100)["auc"]
    many = evaluate("binary", Y, P, resamples=100)["auc"]
    assert few["low"] < few["value"] < few["high"]
    assert many["high"] - many["low"] < 0.7 * (few["high"] - few["low"])


def test_the_auc_interval_has_hanley_and_mcneils_width() -> None:
    # Hanley & McNeil 1982, equation 2.
    found = evaluate("binary", Y, P, resamples=400)["auc"]
    area, n1, n2 = found["value"], Y.sum(), len(Y) - Y.sum()
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n1 - 1) * (q1 - area**2) + (n2 - 1) * (q2 - area**2)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * np.sqrt(variance / (n1 * n2)), rel=0.25)


def test_rows_of_one_entity_are_drawn_together() -> None:
    # Each row ten times over: nothing more is known than from the rows alone.
    ten = np.repeat(np.arange(len(Y)), 10)
    alone = evaluate("binary", Y, P, resamples=400)["auc"]
    together = evaluate("binary", Y[ten], P[ten], resamples=400, entities=ten)["auc"]
    apart = evaluate("binary", Y[ten], P[ten], resamples=400)["auc"]
    width = alone["high"] - alone["low"]
    assert together["high"] - together["low"] == pytest.approx(width, rel=0.2)
    assert apart["high"] - apart["low"] < width / 2.5
    error = evaluate("number", Y[ten], P[ten], resamples=400, entities=ten)["mae"]
    single = evaluate("number", Y, P, resamples=400)["mae"]
    assert error["high"] - error["low"] == pytest.approx(single["high"] - single["low"], rel=0.2)


def test_the_interval_over_two_entities_ends_at_each_alone() -> None:
    # Four draws of two entities: both of one, or one of each.
    one = RNG.random(len(Y)) < 0.4
    found = evaluate("binary", Y, np.where(one, P, 1 - P), resamples=200, entities=one.astype(np.int64))["auc"]
    alone = [reference.roc_auc_score(Y[~one], 1 - P[~one]), reference.roc_auc_score(Y[one], P[one])]
    assert (found["low"], found["high"]) == pytest.approx((min(alone), max(alone)))


def test_entities_with_a_row_each_are_none() -> None:
    assert entities_of(np.array([5, 3, 9])) is None
    shared = entities_of(np.array([5, 3, 5]))
    assert shared is not None
    assert shared.tolist() == [1, 0, 1]


def test_the_same_seed_gives_the_same_intervals() -> None:
    assert evaluate("binary", Y, P, resamples=20, seed=5) == evaluate("binary", Y, P, resamples=20, seed=5)
    assert evaluate("binary", Y, P, resamples=20, seed=5) != evaluate("binary", Y, P, resamples=20, seed=6)


def test_an_evaluation_is_json() -> None:
    never = evaluate("binary", Y, P, threshold=2.0, resamples=5)
    assert json.loads(json.dumps(never, allow_nan=False))["precision"]["value"] is None


def test_calibrated_scores_have_a_small_calibration_error() -> None:
    p = RNG.random(100_000)
    honest = evaluate("binary", (RNG.random(len(p)) < p).astype(np.float32), p, resamples=0)
    bold = evaluate("binary", (RNG.random(len(p)) < p**3).astype(np.float32), p, resamples=0)
    assert honest["ece"]["value"] < 0.01
    assert bold["ece"]["value"] > 0.15


def test_the_reliability_table_counts_every_row_once() -> None:
    table = reliability(np.array([0, 1, 1, 0]), np.array([0.0, 0.05, 1.0, 0.95]))
    assert [(row["from"], row["rows"], row["observed"]) for row in table] == [(0.0, 2, 0.5), (0.9, 2, 0.5)]


@pytest.mark.parametrize("label", [0, 1])
def test_a_single_class_is_refused(label: int) -> None:
    with pytest.raises(DataError, match="single class"):
        evaluate("binary", np.full(10, label), np.linspace(0, 1, 10))


def test_labels_that_are_not_binary_are_refused() -> None:
    with pytest.raises(DataError, match="not binary"):
        evaluate("binary", np.array([0, 1, 2]), np.array([0.1, 0.2, 0.3]))


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 3"):
        evaluate("binary", np.array([0, 1, 1]), np.array([0.1, np.nan, 0.3]))


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        evaluate("number", np.empty(0), np.empty(0))


def test_the_f1_threshold_is_the_best_of_all() -> None:
    chosen = choose_threshold(Y, P, "f1")
    best = max(reference.f1_score(Y, cut <= P) for cut in np.unique(P))
    assert reference.f1_score(Y, chosen <= P) == pytest.approx(best)


def test_the_youden_threshold_is_the_best_of_all() -> None:
    def youden(cut: float) -> float:
        return float((cut <= P[Y == 1]).mean() - (cut <= P[Y == 0]).mean())

    assert youden(choose_threshold(Y, P, "youden")) == pytest.approx(max(youden(cut) for cut in np.unique(P)))


def test_a_precision_is_reached_with_the_most_recall() -> None:
    chosen = choose_threshold(Y, P, {"precision": 0.8})
    good = [cut for cut in np.unique(P) if reference.precision_score(Y, cut <= P) >= 0.8]
    assert chosen == pytest.approx(min(good))


def test_a_recall_is_reached_with_the_highest_threshold() -> None:
    chosen = choose_threshold(Y, P, {"recall": 0.8})
    good = [cut for cut in np.unique(P) if reference.recall_score(Y, cut <= P) >= 0.8]
    assert chosen == pytest.approx(max(good))


def test_a_precision_out_of_reach_says_what_is_within() -> None:
    with pytest.raises(DataError, match=r"at most 0\.5"):
        choose_threshold(np.array([0, 1, 1, 0]), np.array([0.9, 0.9, 0.1, 0.1]), {"precision": 0.9})


def test_every_metric_of_an_evaluation_has_its_direction_in_the_table() -> None:
    number = evaluate("number", Y, P)
    for name in {*evaluate("binary", Y, P), *number} - {"kind", "rows", "positives", "threshold", "reliability", "ece"}:
        assert name in METRICS


@pytest.mark.parametrize(("metric", "worse", "better"), [("auc", 0.6, 0.8), ("log_loss", 0.8, 0.6), ("r2", 0.1, 0.2)])
def test_a_gain_is_positive_for_the_better_value_of_every_metric(metric: str, worse: float, better: float) -> None:
    assert gain(metric, better, worse) > 0 > gain(metric, worse, better)


def test_features_that_give_the_label_away_are_found() -> None:
    falling, missing = 1 - Y, np.where(Y > 0, np.nan, RNG.normal(size=len(Y)))
    x = np.column_stack([P, falling, missing]).astype(np.float32)
    found = suspicious_features(x, Y, ["fair", "falling", "missing_if_positive"])
    assert [leak.reason for leak in found] == [
        "falling alone reaches AUC 1.0000: does it know the label?",
        "missing_if_positive alone reaches AUC 1.0000: does it know the label?",
    ]


def test_a_leak_is_found_however_rare_one_class_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "SUSPICION_ROWS", 100)
    y = np.zeros(100_000, np.float32)
    y[[7, 70_000]] = 1
    x = np.column_stack([y, RNG.normal(size=len(y))]).astype(np.float32)
    assert [leak.column for leak in leaks.suspicious_features(x, y, ["label", "noise"], limit=0.999)] == ["label"]


def test_metrics_need_no_blas_whose_threads_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("BLAS")

    monkeypatch.setattr(np, "dot", refuse)
    assert evaluate("binary", Y, P, resamples=2)["auc"]["value"] > 0.5
    assert evaluate("number", Y, P, resamples=2)["rmse"]["value"] > 0
