"""How good predictions were, once their outcome is known: metrics of rows that ClickHouse has put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import DataError
from raypipe.evaluation import metrics
from raypipe.evaluation.evaluate import RELIABILITY_BINS, Evaluation

Column = npt.NDArray[Any]
Cells = Mapping[str, Column]


def judge_binary(cells: Cells, threshold: float, *, resamples: int, seed: int) -> Evaluation:
    """What `evaluate_binary` says, from cells of alike predictions, and each level's share.

    Args:
        cells: the columns of sql/validation/binary.sql, those without an outcome left out; one element a cell.
        threshold: that the cells were divided by.
        resamples: of the bootstrap, which draws the rows behind the cells.
        seed: of the bootstrap.

    Returns:
        JSON-ready values; the AUC is None where all outcomes are the same.

    Raises:
        DataError: no rows, or an outcome other than 0 and 1, or a score that is no probability.
    """
    rows = cells["rows"].astype(np.float64)
    _require_binary(cells)
    positive, predicted = cells["outcome"] > 0.5, cells["positive"] > 0
    ranking = metrics.Ranking(positive, cells["scores"] / rows)
    prepared: dict[str, metrics.Metric] = {
        "auc": ranking.auc,
        "log_loss": metrics.mean_of(cells["losses"] / rows),
        "brier": metrics.mean_of(cells["squares"] / rows),
        "accuracy": metrics.share(positive == predicted, np.ones_like(positive)),
        "precision": metrics.share(positive & predicted, predicted),
        "recall": metrics.share(positive & predicted, positive),
        "f1": metrics.f1(positive, predicted),
    }
    found = metrics.intervals(prepared, len(rows), resamples, seed, counts=rows)
    ones = rows * positive
    table = [
        {"from": tenth / RELIABILITY_BINS, "to": (tenth + 1) / RELIABILITY_BINS, **_group(cells, ones, inside)}
        for tenth in range(RELIABILITY_BINS)
        if (inside := cells["tenth"] == tenth).any()
    ]
    total = rows.sum()
    return {
        "kind": "binary",
        "rows": int(total),
        "positives": int(ones.sum()),
        "threshold": float(threshold),
        **{name: interval.to_json() for name, interval in found.items()},
        "ece": {"value": sum(row["rows"] * abs(row["predicted"] - row["observed"]) for row in table) / total},
        "reliability": table,
        "levels": _levels(cells, ones),
    }


def judge_number(cells: Cells, *, resamples: int, seed: int) -> Evaluation:
    """RMSE, MAE and R², and each level's share, from sums over groups of entities.

    Args:
        cells: the columns of sql/validation/number.sql; one element a level and group.
        resamples: of the bootstrap, which draws groups.
        seed: of the bootstrap.

    Raises:
        DataError: there are no rows.
    """
    if not cells["rows"].sum():
        raise DataError("No prediction has an outcome")
    _, group = np.unique(cells["bucket"], return_inverse=True)
    sums = {name: np.bincount(group, weights=cells[name].astype(np.float64)) for name in cells if name != "level"}

    def mean(name: str) -> metrics.Metric:
        return lambda weights: float(weights @ sums[name]) / max(float(weights @ sums["rows"]), 1.0)

    squares, spread = mean("squares"), _variance(mean("labels"), mean("label_squares"))
    prepared: dict[str, metrics.Metric] = {
        "rmse": lambda weights: float(np.sqrt(squares(weights))),
        "mae": mean("distances"),
        "r2": lambda weights: 1 - squares(weights) / known if (known := spread(weights)) > 0 else float("nan"),
    }
    found = metrics.intervals(prepared, len(sums["rows"]), resamples, seed)
    return {
        "kind": "number",
        "rows": int(sums["rows"].sum()),
        **{name: interval.to_json() for name, interval in found.items()},
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
    """Each level's rows, its share of them, and its mean score and outcome, by ascending score."""
    total = float(cells["rows"].sum())
    names = [name for name in dict.fromkeys(cells["level"].tolist()) if cells["rows"][cells["level"] == name].sum()]
    found = [{"level": name, **_group(cells, outcomes, cells["level"] == name)} for name in names]
    return sorted(({**one, "share": one["rows"] / total} for one in found), key=lambda one: float(one["predicted"]))


def _group(cells: Cells, outcomes: Column, inside: Column) -> dict[str, Any]:
    rows = float(cells["rows"][inside].sum())
    return {
        "rows": int(rows),
        "predicted": float(cells["scores"][inside].sum()) / rows,
        "observed": float(outcomes[inside].sum()) / rows,
    }
