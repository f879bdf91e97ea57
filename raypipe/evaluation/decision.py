"""Whether a fitted model takes over: it must beat the champion on the same rows by more than noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import ConfigError
from raypipe.evaluation import metrics

Array = npt.NDArray[Any]

HIGHER_IS_BETTER = {
    "auc": True,
    "average_precision": True,
    "log_loss": False,
    "brier": False,
    "rmse": False,
    "mae": False,
}


@dataclass(frozen=True)
class Decision:
    """Whether to promote, and the evidence.

    Attributes:
        promote: whether the challenger becomes the champion.
        reason: one sentence for people.
        metric: the metric compared.
        rival: `champion`, or the name of the strongest baseline.
        difference: how much better the challenger is, in the metric's units; positive is better, whichever way
            the metric points. None without a rival.
        low: lower end of the difference's 95 % interval from a paired bootstrap.
        high: its upper end.
    """

    promote: bool
    reason: str
    metric: str
    rival: str | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The decision as JSON-ready values."""
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
    entities: metrics.Entities | None = None,
) -> Decision:
    """Compares predictions on the same test rows.

    The challenger is promoted when its value is above that of the strongest baseline and, where a champion stands,
    the whole interval of its difference to that one is above zero.

    Args:
        y: (rows,), the label.
        challenger: (rows,), the new model's predictions.
        champion: (rows,), the standing model's, or None when there is none.
        baselines: (rows,) each, by name.
        seed: of the resamples.
        metric: what to compare by.
        resamples: of the interval.
        called: what the champion is called, where it is another rival.
        entities: (rows,), whose each row is, as `metrics.entities_of` gives it.

    Raises:
        ConfigError: the metric is unknown.
        DataError: the rows cannot be evaluated.
    """
    if metric not in HIGHER_IS_BETTER:
        raise ConfigError("evaluate.metric is unknown", found=metric, allowed=", ".join(HIGHER_IS_BETTER))
    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    score = _prepared(metric, y, challenger)
    value = score(np.ones(len(y)))
    prepared = {name: _prepared(metric, y, prediction) for name, prediction in baselines.items()}
    reached = {name: measure(np.ones(len(y))) for name, measure in prepared.items()}
    strongest = max(reached, key=lambda name: sign * reached[name], default=None)
    above = strongest is None or sign * (value - reached[strongest]) > 0

    def difference_to(rival: metrics.Metric) -> tuple[float, float | None, float | None]:
        return _difference(score, rival, sign, len(y), resamples, seed, entities)

    if champion is None:
        if strongest is None:
            return Decision(True, f"the first model, {metric} {value:.4f}, with nothing to compare it to", metric)
        reason = (
            f"no champion stands, and the model is {'' if above else 'not '}above the strongest baseline"
            f" ({strongest}): {metric} {value:.4f} against {reached[strongest]:.4f}"
        )
        return Decision(above, reason, metric, strongest, *difference_to(prepared[strongest]))
    standing = _prepared(metric, y, champion)
    difference, low, high = difference_to(standing)
    better = low is not None and low > 0
    reason = (
        f"{'' if better else 'not '}better than the {called} by more than noise: {metric} {value:.4f} against"
        f" {standing(np.ones(len(y))):.4f}, difference {_interval(difference, low, high)}"
    )
    if better and strongest is not None and not above:
        reason += f"; but not above the strongest baseline ({strongest}, {reached[strongest]:.4f})"
    return Decision(better and above, reason, metric, called, difference, low, high)


def _difference(
    challenger: metrics.Metric,
    rival: metrics.Metric,
    sign: float,
    rows: int,
    count: int,
    seed: int,
    entities: metrics.Entities | None,
) -> tuple[float, float | None, float | None]:
    """The gain of the challenger and its interval, both models seeing the same resamples."""
    draws = metrics.resamples(rows, count, seed, entities=entities)
    drawn = [sign * (challenger(weights) - rival(weights)) for weights in draws]
    whole = np.ones(rows)
    return sign * (challenger(whole) - rival(whole)), *metrics.percentile_interval(np.array(drawn))


def _prepared(metric: str, y: Array, prediction: Array) -> metrics.Metric:
    metrics.require_rows(y, prediction, "The comparison of models")
    if metric == "rmse":
        return metrics.rmse(y, prediction)
    if metric == "mae":
        return metrics.mean_of(np.abs(np.asarray(y, np.float64) - prediction))
    metrics.require_two_classes(y, "The comparison of models")
    if metric == "log_loss":
        return metrics.mean_of(metrics.log_losses(y, prediction))
    if metric == "brier":
        return metrics.mean_of(metrics.squared_errors(y, prediction))
    ranking = metrics.Ranking(y, prediction)
    return ranking.auc if metric == "auc" else ranking.average_precision


def _interval(difference: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{difference:+.4f}"
    return f"{difference:+.4f} [{low:+.4f}, {high:+.4f}]"
