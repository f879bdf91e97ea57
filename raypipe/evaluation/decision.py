"""Decide on a promotion: a model must beat the champion on the same rows by more than noise."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.evaluation import checks, metrics
from raypipe.evaluation.challenges import ALPHA
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
        low: the lower bound of the gain's interval from a paired bootstrap, as `high` is the upper.
        level: the level of that interval: 0.95, or more for a champion's later challenges.
        provisional: whether the version becomes champion without being shown to beat the strongest baseline.
    """

    promote: bool
    reason: str
    metric: str
    rival: str | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = 1 - 2 * ALPHA
    provisional: bool = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return the warning of a provisional version."""
        return (self.reason,) if self.provisional else ()

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
    error: float = ALPHA,
) -> Decision:
    """Compare predictions on the same test rows.

    The challenger is promoted when it is better than the strongest baseline and the whole interval of its gain over
    the champion is above zero. Without a champion, `first_version` decides.

    Args:
        y: (rows,), the label.
        challenger: (rows,), the new model's predictions; (rows, classes) of classes.
        champion: the champion's predictions alike; None without a champion.
        called: the name of the champion's role, for another rival.
        entities: (rows,), as `metrics.entities_of` returns them.
        error: the probability at which a version that is no better may be promoted, see `challenges.error_of`.

    Raises:
        DataError: the rows cannot be evaluated.
    """
    whole = np.ones(len(y))
    score = _prepared(metric, y, challenger)
    value = score(whole)
    prepared = {name: _prepared(metric, y, prediction) for name, prediction in baselines.items()}
    reached = {name: measure(whole) for name, measure in prepared.items()}
    strongest = max(reached, key=lambda name: metrics.gain(metric, reached[name], 0), default=None)

    def gain_over(rival: Metric, error: float) -> tuple[float, float | None, float | None]:
        draws = metrics.resamples(len(y), resamples, seed, entities=entities)
        gains = np.array([metrics.gain(metric, score(weights), rival(weights)) for weights in draws])
        difference = metrics.gain(metric, value, rival(whole))
        return difference, *metrics.normal_interval(difference, gains, error)

    if champion is None:
        if strongest is None:
            return Decision(True, f"the first model, {metric} {value:.4f}, with nothing to compare it to", metric)
        return first_version(metric, value, strongest, reached[strongest], *gain_over(prepared[strongest], ALPHA))
    standing, level = _prepared(metric, y, champion), 1 - 2 * error
    difference, low, high = gain_over(standing, error)
    better = low is not None and low > 0
    reason = (
        f"{'' if better else 'not '}better than the {called} by more than noise: {metric} {value:.4f} against"
        f" {standing(whole):.4f}, difference {_interval(difference, low, high)}{_at(level)}"
    )
    decision = Decision(better, reason, metric, called, difference, low, high, level)
    if not better or strongest is None:
        return decision
    above = first_version(metric, value, strongest, reached[strongest], *gain_over(prepared[strongest], ALPHA))
    if above.promote and not above.provisional:
        return decision
    reason = f"{reason}; but {above.reason}"
    return replace(decision, promote=above.promote, provisional=above.provisional, reason=reason)


def first_version(
    metric: str,
    value: float,
    strongest: str,
    reached: float,
    difference: float,
    low: float | None,
    high: float | None,
) -> Decision:
    """Decide on a version that has only the strongest baseline to beat.

    It is promoted when the whole interval of its gain is above zero, and not when the whole interval is below zero. In
    between, nothing is shown, and the version is promoted as provisional.

    Args:
        reached: the baseline's value of the metric.
        difference: the gain over the baseline, with its interval from `low` to `high`.
    """
    above, below = low is not None and low > 0, high is not None and high < 0
    verdict = "above" if above else "below" if below else "provisional: not shown to be above"
    reason = (
        f"{verdict} the strongest baseline ({strongest}){' by more than noise' if above or below else ''}: {metric}"
        f" {value:.4f} against {reached:.4f}, difference {_interval(difference, low, high)}"
    )
    return Decision(not below, reason, metric, strongest, difference, low, high, provisional=not (above or below))


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


def _at(level: float) -> str:
    """Return the level of an interval in words, where it is not the usual 95 %."""
    return "" if level < 0.951 else f", an interval of {100 * level:.6g} % as challenges are repeated"
