"""Compute the metrics of a binary label from counts of scores per class, measured or estimated.

Measured: the outcomes are known, and the interval is a bootstrap of the predictions (Efron 1979).

Estimated: a calibrated score p is the probability of the outcome 1, so a group of n predictions counts as n·p outcomes
1 and n·(1 - p) outcomes 0: confidence-based performance estimation, CBPE (NannyML 0.13, "How it works: performance
estimation"; Białek et al. 2024, arXiv:2401.08348). The interval draws the outcomes, so it is the range in which the
measured value should lie if the calibration still holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.evaluation.evaluate import RELIABILITY_BINS
from raypipe.evaluation.metrics import SMALLEST_PROBABILITY, Interval, percentile_interval
from raypipe.validate.calibration import Calibration

Floats = npt.NDArray[np.float64]
Column = npt.NDArray[Any]
Cells = Mapping[str, Column]
# Draws at once, so that ten thousand cells take some megabytes.
DRAWS = 50
RIGHT = Calibration()
NO_AUC = "every outcome is the same, so there is no AUC"
REASONS = {
    "auc": NO_AUC,
    "precision": "no score reaches the threshold",
    "recall": "no outcome is 1",
    "f1": "no score reaches the threshold, and no outcome is 1",
}


@dataclass(frozen=True)
class _Groups:
    """Groups of predictions by ascending score, and the cost of an outcome 1 and 0 in each.

    Attributes:
        starts: the first group of each bin of equal scores.
        scores: mean score of each group.
        losses: log loss of an outcome 1 and of an outcome 0, (2, groups).
        squares: squared error likewise.
    """

    starts: npt.NDArray[np.int64]
    tenths: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.bool_]
    scores: Floats
    losses: Floats
    squares: Floats


def measure(cells: Cells, resamples: int, seed: int) -> dict[str, Interval]:
    """Return the metrics of predictions with outcomes, from the columns of sql/validation/binary.sql."""
    cells = _ascending(cells)
    rows = cells["rows"].astype(np.float64)
    losses, squares = cells["losses"] / rows, cells["squares"] / rows
    groups = _groups(cells, np.stack([losses, losses]), np.stack([squares, squares]))
    is_one = (cells["outcome"] > 0.5).astype(np.float64)
    rng, total, shares = np.random.default_rng(seed), int(rows.sum()), rows / rows.sum()

    def draws() -> Iterator[tuple[Floats, Floats]]:
        for size in _sizes(resamples):
            counts = rng.multinomial(total, shares, size=size).astype(np.float64)
            yield counts * is_one, counts * (1 - is_one)

    return _intervals(groups, rows * is_one, rows * (1 - is_one), draws())


def estimate(cells: Cells, resamples: int, seed: int, likelihood: Calibration = RIGHT) -> dict[str, Interval]:
    """Return the metrics that predictions without outcomes should have; no calibration error, which is assumed away.

    Args:
        likelihood: the probability of an outcome 1 by the score.
    """
    cells = _ascending(cells)
    rows = cells["rows"].astype(np.int64)
    p = np.clip(cells["scores"] / rows, 0.0, 1.0)
    likely = np.clip(np.stack([p, 1 - p]), SMALLEST_PROBABILITY, 1.0)
    # The losses are those of the published scores, whatever the outcomes.
    groups = _groups(cells, -np.log(likely), np.stack([1 - p, p]) ** 2)
    p = likelihood(p)
    rng = np.random.default_rng(seed)

    def draws() -> Iterator[tuple[Floats, Floats]]:
        for size in _sizes(resamples):
            ones = rng.binomial(rows, p, size=(size, len(rows))).astype(np.float64)
            yield ones, rows - ones

    intervals = _intervals(groups, rows * p, rows * (1 - p), draws())
    del intervals["ece"]
    return intervals


def _ascending(cells: Cells) -> Cells:
    # The server's order of groups differs from time to time, and the draws follow the order.
    order = np.lexsort([cells[name] for name in ("scores", "rows", "outcome", "bin")])
    return {name: values[order] for name, values in cells.items()}


def _sizes(resamples: int) -> list[int]:
    return [min(DRAWS, resamples - first) for first in range(0, resamples, DRAWS)]


def _groups(cells: Cells, losses: Floats, squares: Floats) -> _Groups:
    starts = np.flatnonzero(np.diff(cells["bin"], prepend=cells["bin"][0] - 1))
    tenths, predicted = cells["tenth"].astype(np.int64), cells["positive"] > 0
    return _Groups(starts, tenths, predicted, cells["scores"] / cells["rows"], losses, squares)


def _intervals(
    groups: _Groups, ones: Floats, zeros: Floats, draws: Iterator[tuple[Floats, Floats]]
) -> dict[str, Interval]:
    values = _metrics(groups, ones[None, :], zeros[None, :])
    samples = [_metrics(groups, *draw) for draw in draws]
    return {
        name: Interval(
            float(value[0]) if np.isfinite(value[0]) else None,
            *(
                percentile_interval(np.concatenate([sample[name] for sample in samples]))
                if samples and np.isfinite(value[0])
                else (None, None)
            ),
        )
        for name, value in values.items()
    }


def _metrics(groups: _Groups, ones: Floats, zeros: Floats) -> dict[str, Floats]:
    """Return the metrics of each draw of outcomes, (draws,); NaN where a metric has no value.

    Args:
        ones: (draws, groups), the outcomes 1 of each group.
    """
    rows = (ones + zeros).sum(axis=1)
    positives, negatives = ones.sum(axis=1), zeros.sum(axis=1)
    hits, alarms = ones[:, groups.predicted].sum(axis=1), zeros[:, groups.predicted].sum(axis=1)
    correct = hits + negatives - alarms
    return {
        "auc": _auc(groups, ones, zeros),
        "log_loss": _ratio(ones @ groups.losses[0] + zeros @ groups.losses[1], rows),
        "brier": _ratio(ones @ groups.squares[0] + zeros @ groups.squares[1], rows),
        "accuracy": _ratio(correct, rows),
        "precision": _ratio(hits, hits + alarms),
        "recall": _ratio(hits, positives),
        "f1": _ratio(2 * hits, hits + alarms + positives),
        "ece": _ratio(_gaps(groups, ones, zeros), rows),
    }


def _auc(groups: _Groups, ones: Floats, zeros: Floats) -> Floats:
    """Return the share of pairs of outcomes that the scores order; equal bins count half."""
    ones, zeros = (np.add.reduceat(counts, groups.starts, axis=1) for counts in (ones, zeros))
    below = np.cumsum(zeros, axis=1) - zeros / 2
    return _ratio((ones * below).sum(axis=1), ones.sum(axis=1) * zeros.sum(axis=1))


def _gaps(groups: _Groups, ones: Floats, zeros: Floats) -> Floats:
    """Return the sum over the tenths of |outcomes 1 - scores|, the rows' part of the calibration error."""
    surplus = ones - (ones + zeros) * groups.scores
    inside = np.eye(RELIABILITY_BINS)[groups.tenths]
    gaps: Floats = np.abs(surplus @ inside).sum(axis=1)
    return gaps


def _ratio(above: Floats, below: Floats) -> Floats:
    ratio: Floats = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
    return ratio
