"""Measure probabilities of several classes: log loss, accuracy, macro F1 and one-vs-rest AUC."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.evaluation import checks, metrics
from raypipe.evaluation.metrics import Entities, Floats, Metric

Array = npt.NDArray[Any]
CLASS_METRICS = ("auc", "log_loss", "accuracy", "macro_f1")


def class_metrics(y: Array, p: Array) -> dict[str, Metric]:
    """Prepare the metrics of classes.

    AUC is the mean over the classes of the AUC of one class against the rest, without classes that have no row or all
    rows (Provost & Domingos 2000 weigh them by rows; here each class counts alike, as in macro F1).

    Args:
        y: (rows,), the number of the class.
        p: (rows, classes), probabilities.
    """
    at = y.astype(np.int64)
    lost = -np.log(np.clip(p[np.arange(len(y)), at].astype(np.float64), metrics.SMALLEST_PROBABILITY, 1.0))
    predicted, present = p.argmax(axis=1), np.unique(at)
    rankings = [metrics.Ranking(at == own, p[:, own]) for own in present]
    scores = [metrics.f1(at == own, predicted == own) for own in present]
    return {
        "auc": _mean([ranking.auc for ranking in rankings]),
        "log_loss": metrics.mean_of(lost),
        "accuracy": metrics.share(at == predicted, np.ones(len(y), np.bool_)),
        "macro_f1": _mean(scores),
    }


def evaluate_classes(
    y: Array,
    p: Array,
    names: Sequence[str],
    *,
    resamples: int = 200,
    seed: int = 0,
    entities: Entities | None = None,
) -> dict[str, Any]:
    """Return the metrics with intervals, the figures of each class, and the counts by label and prediction.

    Args:
        names: of the classes, in the order of the probabilities.

    Raises:
        DataError: no rows, values that are not finite, or labels of a single class.
    """
    checks.require_rows(y, p, "Evaluation")
    checks.require_classes(y, p.shape[1], "Evaluation")
    values = metrics.intervals(class_metrics(y, p), len(y), resamples, seed, entities=entities)
    at, predicted, everyone = y.astype(np.int64), p.argmax(axis=1), np.ones(len(y))
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (at, predicted), 1)
    return {
        "kind": "classes",
        "rows": len(y),
        **{name: interval.to_json() for name, interval in values.items()},
        "classes": [
            {
                "name": name,
                "rows": int(confusion[own].sum()),
                "predicted": int(confusion[:, own].sum()),
                "precision": _share(confusion[own, own], confusion[:, own].sum()),
                "recall": _share(confusion[own, own], confusion[own].sum()),
                "auc": _auc(at == own, p[:, own], everyone),
            }
            for own, name in enumerate(names)
        ],
        # Rows by label (outer) and prediction (inner), in the order of `classes`.
        "confusion": confusion.tolist(),
    }


def _mean(parts: Sequence[Metric]) -> Metric:
    def mean(weights: Floats) -> float:
        values = np.array([part(weights) for part in parts])
        known = values[np.isfinite(values)]
        return float(known.mean()) if len(known) else float("nan")

    return mean


def _share(part: Any, whole: Any) -> float | None:
    return round(float(part / whole), 6) if whole else None


def _auc(is_own: Array, p: Array, weights: Floats) -> float | None:
    auc = metrics.Ranking(is_own, p).auc(weights)
    return round(auc, 6) if np.isfinite(auc) else None
