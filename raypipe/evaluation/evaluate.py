"""How good scores are: metrics with intervals, calibration, the threshold, and features that give the label away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import ConfigError, DataError
from raypipe.evaluation import metrics

Array = npt.NDArray[Any]
# `f1`, `youden`, {"precision": least}, {"recall": least}, or a number: the threshold itself.
Objective = str | float | Mapping[str, float]
Evaluation = dict[str, Any]

RELIABILITY_BINS = 10
SUSPICION_ROWS = 200_000
OBJECTIVES = "f1, youden, {precision: 0…1}, {recall: 0…1}, or a number"


def evaluate(
    kind: str,
    y: Array,
    prediction: Array,
    *,
    threshold: float = 0.5,
    resamples: int = 200,
    seed: int = 0,
    entities: metrics.Entities | None = None,
) -> Evaluation:
    """Every metric of a kind of label, as JSON-ready values: `{"auc": {"value", "low", "high"}, …}`.

    Args:
        kind: `binary` or `number`.
        y: (rows,), the label.
        prediction: (rows,), a probability for a binary label, else a value in the label's units.
        threshold: a binary row counts as predicted positive from here on.
        resamples: of the bootstrap; 0 gives values without intervals.
        seed: of the bootstrap.
        entities: (rows,), whose each row is, as `metrics.entities_of` gives it.

    Raises:
        DataError: no rows, values that are not finite, or a binary label with a single class.
    """
    if kind == "binary":
        return evaluate_binary(y, prediction, threshold, resamples=resamples, seed=seed, entities=entities)
    if kind == "number":
        return evaluate_number(y, prediction, resamples=resamples, seed=seed, entities=entities)
    raise ConfigError("The kind of the label is unknown", found=kind, allowed="binary, number")


def evaluate_binary(
    y: Array,
    p: Array,
    threshold: float,
    *,
    resamples: int = 200,
    seed: int = 0,
    entities: metrics.Entities | None = None,
) -> Evaluation:
    """AUC, average precision, log loss, Brier score, the threshold's metrics, ECE and the reliability table."""
    metrics.require_rows(y, p, "Evaluation")
    metrics.require_two_classes(y, "Evaluation")
    ascending = np.argsort(p, kind="stable")  # sorted rows make the resamples below walk through memory in order
    y, p = y[ascending], p[ascending].astype(np.float64)
    entities = None if entities is None else entities[ascending]
    ranking, positive, predicted = metrics.Ranking(y, p), y > 0.5, p >= threshold
    prepared: dict[str, metrics.Metric] = {
        "auc": ranking.auc,
        "average_precision": ranking.average_precision,
        "log_loss": metrics.mean_of(metrics.log_losses(y, p)),
        "brier": metrics.mean_of(metrics.squared_errors(y, p)),
        "accuracy": metrics.share(positive == predicted, np.ones_like(positive)),
        "precision": metrics.share(positive & predicted, predicted),
        "recall": metrics.share(positive & predicted, positive),
        "f1": metrics.f1(positive, predicted),
    }
    table = reliability(y, p)
    found = metrics.intervals(prepared, len(y), resamples, seed, entities=entities)
    return {
        "kind": "binary",
        "rows": len(y),
        "positives": int(np.count_nonzero(positive)),
        "threshold": float(threshold),
        **{name: interval.to_json() for name, interval in found.items()},
        "ece": {"value": sum(row["rows"] * abs(row["predicted"] - row["observed"]) for row in table) / len(y)},
        "reliability": table,
    }


def evaluate_number(
    y: Array, prediction: Array, *, resamples: int = 200, seed: int = 0, entities: metrics.Entities | None = None
) -> Evaluation:
    """RMSE, MAE and R²."""
    metrics.require_rows(y, prediction, "Evaluation")
    prepared: dict[str, metrics.Metric] = {
        "rmse": metrics.rmse(y, prediction),
        "mae": metrics.mean_of(np.abs(y.astype(np.float64) - prediction)),
        "r2": metrics.r_squared(y, prediction),
    }
    found = metrics.intervals(prepared, len(y), resamples, seed, entities=entities)
    return {"kind": "number", "rows": len(y), **{name: interval.to_json() for name, interval in found.items()}}


def reliability(y: Array, p: Array, bins: int = RELIABILITY_BINS) -> list[dict[str, Any]]:
    """The reliability table: rows, mean prediction and observed rate in bins of equal width that hold rows.

    The mean gap weighted by rows is the expected calibration error (Naeini et al. 2015, "Obtaining well
    calibrated probabilities using Bayesian binning").
    """
    place = np.clip((p * bins).astype(np.int64), 0, bins - 1)
    rows = np.bincount(place, minlength=bins)
    predicted = np.bincount(place, weights=p, minlength=bins)
    observed = np.bincount(place, weights=y, minlength=bins)
    return [
        {
            "from": at / bins,
            "to": (at + 1) / bins,
            "rows": int(rows[at]),
            "predicted": float(predicted[at] / rows[at]),
            "observed": float(observed[at] / rows[at]),
        }
        for at in range(bins)
        if rows[at]
    ]


def choose_threshold(y: Array, p: Array, objective: Objective) -> float:
    """The score from which a row counts as positive; choose it on validation rows and store it.

    Args:
        y: (rows,), 0 or 1.
        p: (rows,), the scores.
        objective: `f1` or `youden` (recall + specificity - 1; Youden 1950) take the threshold where it is highest;
            {"precision": t} takes the lowest threshold whose precision is at least t, which keeps the most recall;
            {"recall": t} takes the highest threshold whose recall is at least t; a number is taken as it is.

    Raises:
        DataError: a single class, or no threshold reaches the precision asked for.
        ConfigError: the objective is unknown.
    """
    name, least = _objective(objective)
    if name == "fixed":
        return least
    metrics.require_rows(y, p, "The choice of a threshold")
    metrics.require_two_classes(y, "The choice of a threshold")
    curve = _curve(y, p)
    if name == "f1":
        return _at(curve, 2 * curve.hits / (curve.marked + curve.positives))
    if name == "youden":
        misses = (curve.marked - curve.hits) / (len(y) - curve.positives)
        return _at(curve, curve.hits / curve.positives - misses)
    if name == "recall":
        return float(curve.thresholds[np.argmax(curve.hits / curve.positives >= least)])
    precision = curve.hits / curve.marked
    enough = np.flatnonzero(precision >= least)
    if not len(enough):
        raise DataError(
            "No threshold reaches the precision that evaluate.threshold asks for",
            found=f"at most {precision.max():.4f} on {len(y)} validation rows",
            allowed=f"{least}",
            next_step="ask for a lower precision, or for f1",
        )
    return float(curve.thresholds[enough[-1]])


@dataclass(frozen=True)
class _Curve:
    """For each distinct score, descending: how many rows it marks as positive, and how many of them are."""

    thresholds: Array
    marked: Array
    hits: Array
    positives: int


def _curve(y: Array, p: Array) -> _Curve:
    order = np.argsort(-p, kind="stable")
    ranked = p[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    hits = np.cumsum(y[order] > 0.5)[ends]
    return _Curve(ranked[ends], ends + 1, hits, int(hits[-1]))


def _at(curve: _Curve, gain: Array) -> float:
    return float(curve.thresholds[np.argmax(gain)])


def _objective(objective: Objective) -> tuple[str, float]:
    if isinstance(objective, str) and objective in ("f1", "youden"):
        return objective, 0.0
    if isinstance(objective, (int, float)) and not isinstance(objective, bool):
        return "fixed", float(objective)
    if isinstance(objective, Mapping) and len(objective) == 1:
        ((name, least),) = objective.items()
        if name in ("precision", "recall") and 0 < least <= 1:
            return name, float(least)
    raise ConfigError("evaluate.threshold cannot be used", found=repr(objective), allowed=OBJECTIVES)


@dataclass(frozen=True)
class Suspicion:
    """A feature that by itself almost gives the label away."""

    column: str
    auc: float


def suspicious_features(
    x: Array, y: Array, columns: Sequence[str], limit: float = 0.99, seed: int = 0
) -> list[Suspicion]:
    """The features that alone reach an AUC of `limit`, in either direction, the worst first.

    A missing value counts as the smallest or the largest, whichever tells more: that a value is missing can give
    the label away too. Looks at 200,000 rows drawn at random where there are more.
    """
    metrics.require_two_classes(y, "The search for features that give the label away")
    if len(y) > SUSPICION_ROWS:
        rows = np.random.default_rng(seed).choice(len(y), SUSPICION_ROWS, replace=False)
        x, y = x[rows], y[rows]
    found = [Suspicion(name, _auc_alone(x[:, at], y)) for at, name in enumerate(columns)]
    return sorted((one for one in found if one.auc >= limit), key=lambda one: -one.auc)


def _auc_alone(values: Array, y: Array) -> float:
    missing = np.isnan(values)
    fills = (-np.inf, np.inf) if missing.any() else (0.0,)
    weights = np.ones(len(y))
    areas = [metrics.Ranking(y, np.where(missing, fill, values)).auc(weights) for fill in fills]
    return max(max(area, 1 - area) for area in areas)
