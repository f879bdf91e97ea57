"""Evaluate scores: metrics with intervals, and calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.evaluation import checks, metrics
from raypipe.evaluation.classes import evaluate_classes
from raypipe.evaluation.metrics import Entities, Metric

Array = npt.NDArray[Any]
Evaluation = dict[str, Any]

RELIABILITY_BINS = 10


def evaluate(
    kind: str,
    y: Array,
    prediction: Array,
    *,
    threshold: float = 0.5,
    resamples: int = 200,
    seed: int = 0,
    entities: Entities | None = None,
    classes: Sequence[str] = (),
) -> Evaluation:
    """Return every metric of a kind of label, as JSON-ready values: `{"auc": {"value", "low", "high"}, …}`.

    Args:
        y: (rows,), the label; the number of the class for classes.
        prediction: (rows,), a probability for a binary label, or a value in the label's units; for classes
            probabilities (rows, classes).
        threshold: the lowest score of a predicted positive, for a binary label.
        resamples: the resamples of the bootstrap; 0 gives values without intervals.
        entities: (rows,), as `metrics.entities_of` returns them.
        classes: the names of the classes.

    Raises:
        DataError: no rows, values that are not finite, or labels of a single class.
    """
    if kind == "classes":
        return evaluate_classes(y, prediction, classes, resamples=resamples, seed=seed, entities=entities)
    if kind == "binary":
        return _binary(y, prediction, threshold, resamples=resamples, seed=seed, entities=entities)
    return _number(y, prediction, resamples=resamples, seed=seed, entities=entities)


def _binary(
    y: Array,
    p: Array,
    threshold: float,
    *,
    resamples: int = 200,
    seed: int = 0,
    entities: Entities | None = None,
) -> Evaluation:
    """Return AUC, average precision, log loss, Brier score, the threshold's metrics, ECE and reliability."""
    checks.require_rows(y, p, "Evaluation")
    checks.require_two_classes(y, "Evaluation")
    ascending = np.argsort(p, kind="stable")  # sorted rows make the resamples below walk through memory in order
    y, p = y[ascending], p[ascending].astype(np.float64)
    entities = None if entities is None else entities[ascending]
    ranking, positive, predicted = metrics.Ranking(y, p), y > 0.5, p >= threshold
    losses, squares = metrics.log_losses(y, p), metrics.squared_errors(y, p)
    prepared = {
        "average_precision": ranking.average_precision,
        **binary_metrics(ranking, positive, predicted, losses, squares),
    }
    table = reliability(y, p)
    values = metrics.intervals(prepared, len(y), resamples, seed, entities=entities)
    return {
        "kind": "binary",
        "rows": len(y),
        "positives": int(np.count_nonzero(positive)),
        "threshold": float(threshold),
        **{name: interval.to_json() for name, interval in values.items()},
        "ece": {"value": calibration_error(table)},
        "reliability": table,
    }


def _number(
    y: Array, prediction: Array, *, resamples: int = 200, seed: int = 0, entities: Entities | None = None
) -> Evaluation:
    """Return RMSE, MAE and R²."""
    checks.require_rows(y, prediction, "Evaluation")
    values = metrics.intervals(number_metrics(y, prediction), len(y), resamples, seed, entities=entities)
    return {"kind": "number", "rows": len(y), **{name: interval.to_json() for name, interval in values.items()}}


def binary_metrics(
    ranking: metrics.Ranking, positive: Array, predicted: Array, losses: Array, squares: Array
) -> dict[str, Metric]:
    """Prepare the metrics of a binary label, from the losses and the squared errors of the rows."""
    return {
        "auc": ranking.auc,
        "log_loss": metrics.mean_of(losses),
        "brier": metrics.mean_of(squares),
        "accuracy": metrics.share(positive == predicted, np.ones_like(positive)),
        "precision": metrics.share(positive & predicted, predicted),
        "recall": metrics.share(positive & predicted, positive),
        "f1": metrics.f1(positive, predicted),
    }


def number_metrics(y: Array, prediction: Array) -> dict[str, Metric]:
    """Prepare the metrics of a label that is a number."""
    return {
        "rmse": metrics.rmse(y, prediction),
        "mae": metrics.mean_of(np.abs(np.asarray(y, np.float64) - prediction)),
        "r2": metrics.r_squared(y, prediction),
    }


def calibration_error(table: Sequence[Mapping[str, Any]]) -> float:
    """Return the mean gap of a reliability table weighted by rows, the ECE (Naeini et al. 2015)."""
    gaps = [row["rows"] * abs(row["predicted"] - row["observed"]) for row in table]
    return float(sum(gaps) / sum(row["rows"] for row in table))


def reliability(y: Array, p: Array) -> list[dict[str, Any]]:
    """Return the rows, the mean prediction and the observed rate of each bin of equal width with rows."""
    place = np.clip((p * RELIABILITY_BINS).astype(np.int64), 0, RELIABILITY_BINS - 1)
    rows = np.bincount(place, minlength=RELIABILITY_BINS)
    predicted = np.bincount(place, weights=p, minlength=RELIABILITY_BINS)
    observed = np.bincount(place, weights=y, minlength=RELIABILITY_BINS)
    return [
        {
            "from": at / RELIABILITY_BINS,
            "to": (at + 1) / RELIABILITY_BINS,
            "rows": int(rows[at]),
            "predicted": float(predicted[at] / rows[at]),
            "observed": float(observed[at] / rows[at]),
        }
        for at in range(RELIABILITY_BINS)
        if rows[at]
    ]
