"""Decide on a promotion: a model must beat the champion on the same rows by more than noise."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.evaluation import checks, metrics
from raypipe.evaluation.classes import class_metrics
from raypipe.evaluation.evaluate import number_metrics
from raypipe.evaluation.metrics import Entities, Metric

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Decision:
    """A verdict on a promotion, with its evidence.

    Attributes:
        rival: `champion`, or the name of the strongest baseline; None without a rival.
        difference: the challenger's gain in the metric's units; positive is better for every metric.
        low: the lower bound of the gain's 95 % interval from a paired bootstrap, as `high` is the upper.
    """

    promote: bool
    reason: str
    metric: str
    rival: str | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the decision as JSON-ready values."""
        return asdict(self)


def decide(
    y: Array,
    challenger: Array,
    champion: Array | None,
    baselines: Mapping[str, Array],
    seed: int,
    *,
    metric: str = "auc",
    resamples: int = 200,
    called: str = "champion",
    entities: Entities | None = None,
) -> Decision:
    """Compare predictions on the same test rows.

    The challenger is promoted when it is better than the strongest baseline and the whole interval of its gain over
    the champion is above zero.

    Args:
        y: (rows,), the label.
        challenger: (rows,), the new model's predictions; (rows, classes) of classes.
        champion: the champion's predictions alike; None without a champion.
        called: the name of the champion's role, for another rival.
        entities: (rows,), as `metrics.entities_of` returns them.

    Raises:
        DataError: the rows cannot be evaluated.
    """
    whole = np.ones(len(y))
    score = _prepared(metric, y, challenger)
    value = score(whole)
    prepared = {name: _prepared(metric, y, prediction) for name, prediction in baselines.items()}
    reached = {name: measure(whole) for name, measure in prepared.items()}
    strongest = max(reached, key=lambda name: metrics.gain(metric, reached[name], 0), default=None)
    above = strongest is None or metrics.gain(metric, value, reached[strongest]) > 0

    def gain_over(rival: Metric) -> tuple[float, float | None, float | None]:
        draws = metrics.resamples(len(y), resamples, seed, entities=entities)
        gains = np.array([metrics.gain(metric, score(weights), rival(weights)) for weights in draws])
        return metrics.gain(metric, value, rival(whole)), *metrics.percentile_interval(gains)

    if champion is None:
        if strongest is None:
            return Decision(True, f"the first model, {metric} {value:.4f}, with nothing to compare it to", metric)
        reason = (
            f"there is no champion, and the model is {'' if above else 'not '}above the strongest baseline"
            f" ({strongest}): {metric} {value:.4f} against {reached[strongest]:.4f}"
        )
        return Decision(above, reason, metric, strongest, *gain_over(prepared[strongest]))
    standing = _prepared(metric, y, champion)
    difference, low, high = gain_over(standing)
    better = low is not None and low > 0
    reason = (
        f"{'' if better else 'not '}better than the {called} by more than noise: {metric} {value:.4f} against"
        f" {standing(whole):.4f}, difference {_interval(difference, low, high)}"
    )
    if better and strongest is not None and not above:
        reason += f"; but not above the strongest baseline ({strongest}, {reached[strongest]:.4f})"
    return Decision(better and above, reason, metric, called, difference, low, high)


def measured(metric: str, y: Array, prediction: Array) -> float:
    """Return the value of a metric of predictions on some rows.

    Raises:
        DataError: the rows cannot be evaluated.
    """
    return _prepared(metric, y, prediction)(np.ones(len(y)))


def _prepared(metric: str, y: Array, prediction: Array) -> Metric:
    checks.require_rows(y, prediction, "The comparison of models")
    if prediction.ndim > 1:
        checks.require_classes(y, prediction.shape[1], "The comparison of models")
        return class_metrics(y, prediction)[metric]
    numbers = number_metrics(y, prediction)
    if metric in numbers:
        return numbers[metric]
    checks.require_two_classes(y, "The comparison of models")
    if metric == "log_loss":
        return metrics.mean_of(metrics.log_losses(y, prediction))
    if metric == "brier":
        return metrics.mean_of(metrics.squared_errors(y, prediction))
    ranking = metrics.Ranking(y, prediction)
    return {"auc": ranking.auc, "average_precision": ranking.average_precision}[metric]


def _interval(difference: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{difference:+.4f}"
    return f"{difference:+.4f} [{low:+.4f}, {high:+.4f}]"
