"""The table of metrics, and their values under row weights with bootstrap intervals, by numpy alone.

A metric is prepared once for its rows and then evaluated under the weights of each resample. Drawing n rows with
replacement equals weighing each row by the number of its draws, and sorted rows stay sorted.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# (rows,): the number of each row's entity, from 0 on.
Entities = npt.NDArray[np.int64]
# Evaluates a prepared metric under the row weights of a resample.
Metric = Callable[[Floats], float]

SMALLEST_PROBABILITY = 1e-7  # float32 cannot tell 1 - 1e-8 from 1


@dataclass(frozen=True)
class MetricSpec:
    """The direction of a metric, and its place in tables.

    Attributes:
        summary: whether short tables show it, too.
        listed: whether tables show it at all.
        interval: whether tables show its interval.
    """

    higher_is_better: bool = True
    summary: bool = False
    listed: bool = True
    interval: bool = False


# By name, in the order of a table's columns.
METRICS: Mapping[str, MetricSpec] = {
    "auc": MetricSpec(summary=True, interval=True),
    "average_precision": MetricSpec(listed=False),
    "log_loss": MetricSpec(higher_is_better=False, summary=True),
    "brier": MetricSpec(higher_is_better=False, summary=True),
    "accuracy": MetricSpec(listed=False),
    "macro_f1": MetricSpec(summary=True),
    "f1": MetricSpec(),
    "rmse": MetricSpec(higher_is_better=False, summary=True, interval=True),
    "mae": MetricSpec(higher_is_better=False, summary=True),
    "r2": MetricSpec(summary=True),
    "precision": MetricSpec(interval=True),
    "ndcg": MetricSpec(interval=True),
    "recall": MetricSpec(),
    "coverage": MetricSpec(),
    "precision_of_possible": MetricSpec(interval=True),
    "diversity": MetricSpec(),
    "age_days": MetricSpec(higher_is_better=False),
    "silhouette": MetricSpec(interval=True),
}


def gain(metric: str, value: float, reference: float) -> float:
    """Return how much better a value is than a reference; positive is better for every metric."""
    return value - reference if METRICS[metric].higher_is_better else reference - value


@dataclass(frozen=True)
class Interval:
    """A metric of the rows, and the percentile interval of its resamples; None without a resample with a value."""

    value: float | None
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        """Return the interval as JSON-ready values."""
        return {"value": self.value, "low": self.low, "high": self.high}


class Ranking:
    """Sort rows by score and class, for AUC and average precision.

    Args:
        y: the label, 0 or 1.
        score: higher means more likely 1.
    """

    def __init__(self, y: npt.NDArray[Any], score: npt.NDArray[Any]) -> None:
        order = np.argsort(score, kind="stable")
        is_positive = np.asarray(y)[order] > 0.5
        self._positives, self._negatives = order[is_positive], order[~is_positive]
        own, other = score[self._positives], score[self._negatives]
        # Per positive: the negatives below its score, those up to its score, and the positives below its score.
        self._below, self._upto = np.searchsorted(other, own, "left"), np.searchsorted(other, own, "right")
        self._earlier = np.searchsorted(own, own, "left")
        self._latest: tuple[Floats, tuple[Floats, Floats]] | None = None

    def _ranked(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return the weights of the positives, and the cumulated weights of the negatives, by ascending score."""
        # Both metrics are evaluated on each resample in turn.
        if self._latest is None or self._latest[0] is not weights:
            self._latest = weights, (weights[self._positives], _cumulated(weights[self._negatives]))
        return self._latest[1]

    def auc(self, weights: Floats) -> float:
        """Return the area under the ROC curve: Mann-Whitney's U with ties counted half (Hanley & McNeil 1982).

        NaN when the weights leave a single class.
        """
        positives, negatives = self._ranked(weights)
        below = negatives[self._below] + negatives[self._upto]
        return _ratio(dot(positives, below), 2 * float(positives.sum() * negatives[-1]))

    def average_precision(self, weights: Floats) -> float:
        """Return Σ (Rₖ - Rₖ₋₁) Pₖ over the distinct scores, without interpolation, as scikit-learn does.

        NaN when the weights leave no positives.
        """
        positives, negatives = self._ranked(weights)
        earlier = _cumulated(positives)
        hits = earlier[-1] - earlier[self._earlier]
        alarms = hits + (negatives[-1] - negatives[self._below])
        precision = np.divide(hits, alarms, out=np.zeros_like(hits), where=alarms > 0)
        return _ratio(dot(positives, precision), float(earlier[-1]))


def dot(left: Floats, right: Floats) -> float:
    """Return Σ left · right on this thread.

    BLAS, behind `np.dot`, would share each sum among threads that wait for each other: slower when the cores are busy.
    """
    return float(np.einsum("i,i->", left, right))


def log_losses(y: npt.NDArray[Any], p: npt.NDArray[Any]) -> Floats:
    """Return the negative log likelihood of each row in nats, with probabilities clipped 1e-7 off 0 and 1."""
    likely = np.clip(np.where(np.asarray(y) > 0.5, p, 1.0 - p).astype(np.float64), SMALLEST_PROBABILITY, 1.0)
    losses: Floats = -np.log(likely)
    return losses


def squared_errors(y: npt.NDArray[Any], prediction: npt.NDArray[Any]) -> Floats:
    """Return (y - prediction)² per row; its mean is the Brier score for probabilities."""
    errors: Floats = (np.asarray(y, np.float64) - prediction) ** 2
    return errors


def mean_of(values: Floats) -> Metric:
    """Return the weighted mean of one value per row."""
    return lambda weights: _ratio(dot(weights, values), float(weights.sum()))


def share(numerator: npt.NDArray[np.bool_], denominator: npt.NDArray[np.bool_]) -> Metric:
    """Return the weight of the numerator's rows over the weight of the denominator's rows; NaN without any."""
    above, below = numerator.astype(np.float64), denominator.astype(np.float64)
    return lambda weights: _ratio(dot(weights, above), dot(weights, below))


def f1(y: npt.NDArray[np.bool_], predicted: npt.NDArray[np.bool_]) -> Metric:
    """Return 2·TP / (2·TP + FP + FN), the harmonic mean of precision and recall."""
    hits, marks = (y & predicted).astype(np.float64), y.astype(np.float64) + predicted
    return lambda weights: _ratio(2 * dot(weights, hits), dot(weights, marks))


def rmse(y: npt.NDArray[Any], prediction: npt.NDArray[Any]) -> Metric:
    """Return the root of the mean squared error, in the label's units."""
    mean = mean_of(squared_errors(y, prediction))
    return lambda weights: float(np.sqrt(mean(weights)))


def r_squared(y: npt.NDArray[Any], prediction: npt.NDArray[Any]) -> Metric:
    """Return 1 - Σ(y - prediction)² / Σ(y - mean)² with the resample's own mean; NaN for a constant label."""
    errors, label = squared_errors(y, prediction), np.asarray(y, np.float64)

    def of(weights: Floats) -> float:
        spread = label - dot(weights, label) / weights.sum()
        return 1.0 - _ratio(dot(weights, errors), dot(weights, spread * spread))

    return of


def resamples(
    rows: int, count: int, seed: int, counts: Floats | None = None, entities: Entities | None = None
) -> Iterator[Floats]:
    """Yield the row weights of `count` draws of `rows` rows with replacement (Efron 1979).

    With `counts`, a row stands for that many equal rows, and a draw is multinomial. With `entities`, each draw takes
    an entity with all its rows: the cluster bootstrap of Davison & Hinkley 1997, section 3.8.
    """
    rng = np.random.default_rng(seed)
    drawn = rows if entities is None else int(entities.max()) + 1
    for _ in range(count):
        if counts is not None:
            yield rng.multinomial(int(counts.sum()), counts / counts.sum()).astype(np.float64)
            continue
        times = np.bincount(rng.integers(0, drawn, drawn, dtype=np.int32), minlength=drawn).astype(np.float64)
        yield times if entities is None else times[entities]


def entities_of(ids: npt.NDArray[Any]) -> Entities | None:
    """Number the entities of rows from 0 on; None if each row has an entity of its own."""
    different, numbers = np.unique(ids, return_inverse=True)
    return None if len(different) == len(ids) else numbers.astype(np.int64)


def intervals(
    metrics: Mapping[str, Metric],
    rows: int,
    count: int,
    seed: int,
    counts: Floats | None = None,
    entities: Entities | None = None,
) -> dict[str, Interval]:
    """Return each metric with its percentile bootstrap interval, all on the same resamples.

    Args:
        rows: the number of rows of each metric.
        count: the number of resamples; 0 gives no intervals.
        counts: the number of equal rows that each row stands for; 1 each by default.
        entities: (rows,), for entities with several rows: these resemble each other, and draws of single rows would
            make the interval too narrow.
    """
    own = np.ones(rows) if counts is None else counts
    values = {name: value if np.isfinite(value := metric(own)) else None for name, metric in metrics.items()}
    draws = resamples(rows, count, seed, counts, entities)
    drawn = np.array([[metric(weights) for metric in metrics.values()] for weights in draws])
    samples = drawn.T if count else np.empty((len(metrics), 0))
    return {
        name: Interval(value, *percentile_interval(sample))
        for (name, value), sample in zip(values.items(), samples, strict=True)
    }


def percentile_interval(sample: Floats) -> tuple[float | None, float | None]:
    """Return the central interval of 95 % of the finite values (Efron 1981); (None, None) without any."""
    finite = sample[np.isfinite(sample)]
    if not len(finite):
        return None, None
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


def normal_interval(value: float, sample: Floats, error: float) -> tuple[float | None, float | None]:
    """Return the interval of a value from the deviation of its resamples; (None, None) with fewer than two.

    Percentiles of some hundred resamples cannot say anything about errors far below a percent. The deviation of B
    resamples has B - 1 degrees of freedom (Efron & Tibshirani 1993, "An introduction to the bootstrap", chapter 12).

    Args:
        error: the probability of each side outside of the interval, 0.025 for an interval of 95 %.
    """
    # Most commands measure nothing; SciPy would slow their start.
    from scipy.special import stdtrit

    finite = sample[np.isfinite(sample)]
    if len(finite) < 2:
        return None, None
    half = float(stdtrit(len(finite) - 1, 1 - error) * finite.std(ddof=1))
    return value - half, value + half


def _cumulated(weights: Floats) -> Floats:
    """Return the sums of the first 0, 1, … weights, (rows + 1,)."""
    sums = np.zeros(len(weights) + 1)
    np.cumsum(weights, out=sums[1:])
    return sums


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else float("nan")
