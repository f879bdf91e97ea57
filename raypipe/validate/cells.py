"""Evaluate predictions with known outcomes that ClickHouse has aggregated into cells."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import DataError
from raypipe.evaluation import metrics
from raypipe.evaluation.evaluate import RELIABILITY_BINS, Evaluation
from raypipe.validate import performance

Column = npt.NDArray[Any]
Cells = Mapping[str, Column]
SUMS = ("rows", "labels", "label_squares", "squares", "distances")


def evaluate_binary(cells: Cells, threshold: float, *, resamples: int, seed: int) -> Evaluation:
    """Return the metrics of a binary label, and each level's share.

    Args:
        cells: the columns of sql/validation/binary.sql, one element per cell, without the cells of unknown outcome.
        resamples: the resamples of the bootstrap, which draws the rows behind the cells.

    Returns:
        JSON-ready values; the AUC is None if all outcomes are equal.

    Raises:
        DataError: no rows, an outcome other than 0 and 1, or a score that is no probability.
    """
    _require_binary(cells)
    intervals = performance.measure(cells, resamples, seed)
    rows = cells["rows"].astype(np.float64)
    ones = rows * (cells["outcome"] > 0.5)
    table = [
        {"from": tenth / RELIABILITY_BINS, "to": (tenth + 1) / RELIABILITY_BINS, **_group(cells, ones, inside)}
        for tenth in range(RELIABILITY_BINS)
        if (inside := cells["tenth"] == tenth).any()
    ]
    return {
        "kind": "binary",
        "rows": int(rows.sum()),
        "positives": int(ones.sum()),
        "threshold": float(threshold),
        **{name: interval.to_json() for name, interval in intervals.items()},
        "reliability": table,
        "levels": _levels(cells, ones),
    }


def evaluate_number(cells: Cells, *, resamples: int, seed: int) -> Evaluation:
    """Return RMSE, MAE and R², and each level's share, from sums over groups of entities.

    Args:
        cells: the columns of sql/validation/number.sql, one element per level and group.
        resamples: the resamples of the bootstrap, which draws groups.

    Raises:
        DataError: there are no rows.
    """
    if not cells["rows"].sum():
        raise DataError("No prediction has an outcome")
    _, group = np.unique(cells["bucket"], return_inverse=True)
    sums = {name: np.bincount(group, weights=cells[name].astype(np.float64)) for name in cells if name in SUMS}

    def mean(name: str) -> metrics.Metric:
        return lambda weights: float(weights @ sums[name]) / max(float(weights @ sums["rows"]), 1.0)

    squares, spread = mean("squares"), _variance(mean("labels"), mean("label_squares"))
    prepared: dict[str, metrics.Metric] = {
        "rmse": lambda weights: float(np.sqrt(squares(weights))),
        "mae": mean("distances"),
        "r2": lambda weights: 1 - squares(weights) / known if (known := spread(weights)) > 0 else float("nan"),
    }
    intervals = metrics.intervals(prepared, len(sums["rows"]), resamples, seed)
    return {
        "kind": "number",
        "rows": int(sums["rows"].sum()),
        **{name: interval.to_json() for name, interval in intervals.items()},
        "levels": _levels(cells, cells["labels"]),
    }


def _variance(mean: Callable[..., float], mean_square: Callable[..., float]) -> metrics.Metric:
    return lambda weights: mean_square(weights) - mean(weights) ** 2


def _require_binary(cells: Cells) -> None:
    if not len(cells["rows"]):
        raise DataError("No prediction has an outcome")
    wrong = cells["outcome"][~np.isin(cells["outcome"], (0, 1))]
    if len(wrong):
        raise DataError("The label is not binary", found=f"{wrong[0]:g}", allowed="0 and 1")
    low, high = float(cells["lowest"].min()), float(cells["highest"].max())
    if low < 0 or high > 1:
        raise DataError("The scores are no probabilities", found=f"{low:g} to {high:g}", allowed="0 to 1")


def _levels(cells: Cells, outcomes: Column) -> list[dict[str, Any]]:
    """Return the rows, the share, the mean score and the mean outcome of each level, by ascending score."""
    total = float(cells["rows"].sum())
    names = [name for name in dict.fromkeys(cells["level"].tolist()) if cells["rows"][cells["level"] == name].sum()]
    groups = [{"level": name, **_group(cells, outcomes, cells["level"] == name)} for name in names]
    shares = [{**group, "share": group["rows"] / total} for group in groups]
    return sorted(shares, key=lambda group: float(group["predicted"]))


def _group(cells: Cells, outcomes: Column, inside: Column) -> dict[str, Any]:
    rows = float(cells["rows"][inside].sum())
    return {
        "rows": int(rows),
        "predicted": float(cells["scores"][inside].sum()) / rows,
        "observed": float(outcomes[inside].sum()) / rows,
    }
