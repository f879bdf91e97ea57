"""Metrics under row weights, and their bootstrap intervals, with numpy alone.

A metric is prepared once for its rows and then evaluated under the weights of each resample: drawing n rows with
replacement is the same as weighing each row by how often it was drawn, and what was sorted once stays sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import DataError

Floats = npt.NDArray[np.float64]
# (rows,), numbers from 0 on: whose each row is.
Entities = npt.NDArray[np.int64]
# Evaluates a prepared metric under the row weights of a resample.
Metric = Callable[[Floats], float]

SMALLEST_PROBABILITY = 1e-7  # float32 cannot tell 1 - 1e-8 from 1


@dataclass(frozen=True)
class Interval:
    """A metric on the rows as they are, and the percentile interval of its resamples.

    `low` and `high` are None where no resample had a value.
    """

    value: float | None
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        """The interval as JSON-ready values."""
        return {"value": self.value, "low": self.low, "high": self.high}


class Ranking:
    """Rows sorted by score, ties together, for the metrics that rest on order.

    Args:
        y: the label, 0 or 1.
        score: higher means more likely 1.
    """

    def __init__(self, y: npt.NDArray[Any], score: npt.NDArray[Any]) -> None:
        self._order = np.argsort(score, kind="stable")
        ranked = score[self._order]
        last_of_tie = np.flatnonzero(ranked[1:] != ranked[:-1])
        self._ends = np.append(last_of_tie, len(ranked) - 1)
        self._label = np.asarray(y, np.float64)[self._order]
        self._latest: tuple[Floats, tuple[Floats, Floats]] | None = None

    def _cumulated(self, weights: Floats) -> tuple[Floats, Floats]:
        """Positives and negatives with a score up to and including each distinct one, ascending."""
        # Both metrics are asked for on each resample in turn.
        if self._latest is None or self._latest[0] is not weights:
            ranked = weights[self._order]
            everyone = np.cumsum(ranked)[self._ends]
            ranked *= self._label
            positives = np.cumsum(ranked, out=ranked)[self._ends]
            everyone -= positives
            self._latest = weights, (positives, everyone)
        return self._latest[1]

    def auc(self, weights: Floats) -> float:
        """The area under the ROC curve; Mann-Whitney's U with ties counted half (Hanley & McNeil 1982).

        NaN when the weights leave a single class.
        """
        positives, negatives = self._cumulated(weights)
        total = positives[-1] * negatives[-1]
        if total <= 0:
            return float("nan")
        below = np.concatenate(([0.0], negatives[:-1]))
        at = np.diff(positives, prepend=0.0)
        return float(np.dot(at, (below + negatives) / 2) / total)

    def average_precision(self, weights: Floats) -> float:
        """Σ (Rₖ - Rₖ₋₁) Pₖ over the distinct scores, without interpolation (as scikit-learn defines it).

        NaN when the weights leave no positives.
        """
        positives, negatives = self._cumulated(weights)
        if positives[-1] <= 0:
            return float("nan")
        hits = positives[-1] - np.concatenate(([0.0], positives[:-1]))
        alarms = hits + negatives[-1] - np.concatenate(([0.0], negatives[:-1]))
        precision = np.divide(hits, alarms, out=np.zeros_like(hits), where=alarms > 0)
        return float(np.dot(np.diff(positives, prepend=0.0), precision) / positives[-1])


def log_losses(y: npt.NDArray[Any], p: npt.NDArray[Any]) -> Floats:
    """The negative log likelihood of each row, in nats, with probabilities kept 1e-7 off 0 and 1."""
    likely = np.clip(np.where(np.asarray(y) > 0.5, p, 1.0 - p).astype(np.float64), SMALLEST_PROBABILITY, 1.0)
    losses: Floats = -np.log(likely)
    return losses


def squared_errors(y: npt.NDArray[Any], prediction: npt.NDArray[Any]) -> Floats:
    """(y - prediction)² of each row; its mean is the Brier score for probabilities."""
    errors: Floats = (np.asarray(y, np.float64) - prediction) ** 2
    return errors


def mean_of(values: Floats) -> Metric:
    """The weighted mean of one value a row."""
    return lambda weights: _ratio(float(np.dot(weights, values)), float(weights.sum()))


def share(numerator: npt.NDArray[np.bool_], denominator: npt.NDArray[np.bool_]) -> Metric:
    """The weight of the rows in `numerator` over that of the rows in `denominator`; NaN where there are none."""
    above, below = numerator.astype(np.float64), denominator.astype(np.float64)
    return lambda weights: _ratio(float(np.dot(weights, above)), float(np.dot(weights, below)))


def f1(y: npt.NDArray[np.bool_], predicted: npt.NDArray[np.bool_]) -> Metric:
    """2·TP / (2·TP + FP + FN), the harmonic mean of precision and recall."""
    hits, marks = (y & predicted).astype(np.float64), y.astype(np.float64) + predicted
    return lambda weights: _ratio(2 * float(np.dot(weights, hits)), float(np.dot(weights, marks)))


def rmse(y: npt.NDArray[Any], prediction: npt.NDArray[Any]) -> Metric:
    """The root of the mean squared error, in the label's units."""
    mean = mean_of(squared_errors(y, prediction))
    return lambda weights: float(np.sqrt(mean(weights)))


def r_squared(y: npt.NDArray[Any], prediction: npt.NDArray[Any]) -> Metric:
    """1 - Σ(y - prediction)² / Σ(y - mean)², the mean being the resample's own; NaN for a constant label."""
    errors, label = squared_errors(y, prediction), np.asarray(y, np.float64)

    def of(weights: Floats) -> float:
        spread = label - np.dot(weights, label) / weights.sum()
        return 1.0 - _ratio(float(np.dot(weights, errors)), float(np.dot(weights, spread * spread)))

    return of


def resamples(
    rows: int, count: int, seed: int, counts: Floats | None = None, entities: Entities | None = None
) -> Iterator[Floats]:
    """The row weights of `count` draws of `rows` rows with replacement (Efron 1979).

    With `counts`, a row stands for that many like it, of which all are drawn: a multinomial draw. With `entities`,
    these are drawn, each with all of its rows: the cluster bootstrap of Davison & Hinkley 1997, section 3.8.
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
    """Whose each row is, as numbers from 0 on; None where every row is of another one, and rows may be drawn."""
    different, numbers = np.unique(ids, return_inverse=True)
    return None if len(different) == len(ids) else numbers.astype(np.int64)


def intervals(
    metrics: Mapping[str, Metric],
    rows: int,
    count: int,
    seed: int,
    level: float = 0.95,
    counts: Floats | None = None,
    entities: Entities | None = None,
) -> dict[str, Interval]:
    """Each metric with its percentile bootstrap interval, all on the same resamples.

    Args:
        metrics: prepared metrics, by name.
        rows: the number of rows they were prepared for.
        count: how many resamples; 0 gives no intervals.
        seed: of the resamples.
        level: the interval's coverage.
        counts: how many like it each row stands for; one each where it is left out.
        entities: (rows,), whose each row is, where several are of one: rows of one are alike, and draws of single
            rows would call a metric surer than it is.
    """
    own = np.ones(rows) if counts is None else counts
    values = {name: _finite(metric(own)) for name, metric in metrics.items()}
    draws = resamples(rows, count, seed, counts, entities)
    drawn = np.array([[metric(weights) for metric in metrics.values()] for weights in draws])
    found: dict[str, Interval] = {}
    for position, (name, value) in enumerate(values.items()):
        sample = drawn[:, position] if count else np.empty(0)
        low, high = percentile_interval(sample, level)
        found[name] = Interval(value, low, high)
    return found


def percentile_interval(sample: Floats, level: float = 0.95) -> tuple[float | None, float | None]:
    """The central interval that holds `level` of the finite values, the percentile interval of Efron (1981).

    (None, None) without any finite value.
    """
    finite = sample[np.isfinite(sample)]
    if not len(finite):
        return None, None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def require_rows(y: npt.NDArray[Any], prediction: npt.NDArray[Any], purpose: str) -> None:
    """Refuses rows that no metric is defined on: none, of unequal number, or with a value that is not finite."""
    if y.shape != prediction.shape or y.ndim != 1:
        found = f"{y.shape} and {prediction.shape}"
        raise DataError(f"{purpose}: labels and predictions differ in number", found=found)
    if not len(y):
        raise DataError(f"{purpose}: there are no rows", next_step="check the split and the dates of the fit")
    for name, values in (("labels", y), ("predictions", prediction)):
        bad = int(np.count_nonzero(~np.isfinite(values)))
        if bad:
            raise DataError(f"{purpose}: {name} are not finite", found=f"{bad} of {len(values)} rows")


def require_two_classes(y: npt.NDArray[Any], purpose: str) -> None:
    """Refuses labels that are not 0 or 1, or that are all the same."""
    if not np.isin(y, (0, 1)).all():
        wrong = np.unique(y[~np.isin(y, (0, 1))])[:3]
        raise DataError(
            f"{purpose}: the label is not binary",
            found=", ".join(str(value) for value in wrong),
            allowed="0 and 1",
            next_step="correct labels.sql, or set label.kind to number",
        )
    positives = int(np.count_nonzero(y))
    if positives in (0, len(y)):
        raise single_class(purpose, positives, len(y))


def single_class(purpose: str, positives: int, rows: int) -> DataError:
    """The error of rows whose binary label is always the same."""
    return DataError(
        f"{purpose}: the rows hold a single class",
        found=f"{positives} positives in {rows} rows",
        allowed="rows of both classes",
        next_step="check labels.sql and the horizon, or take more rows",
    )


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else float("nan")


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
