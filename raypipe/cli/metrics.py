"""How a metric is shown: its value, and the interval around it where that is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

METRICS = (
    *("auc", "log_loss", "brier", "f1", "rmse", "mae", "r2"),
    *("precision", "ndcg", "recall", "coverage", "silhouette"),
)
WITH_INTERVAL = ("auc", "rmse", "precision", "ndcg", "silhouette")
UNKNOWN = "–"


def cell(found: Mapping[str, Any] | None, *, interval: bool = True, value: str = ".4f", bounds: str = ".3f") -> str:
    """A metric as a table shows it: `0.8123 [0.801, 0.823]`; a dash where it is not known.

    Args:
        found: `value`, and `low` and `high` where there is an interval.
        interval: whether it is shown.
        value: the format of the value.
        bounds: the format of the bounds.
    """
    known, low, high = (None, None, None) if found is None else (found.get(name) for name in ("value", "low", "high"))
    if known is None:
        return UNKNOWN
    span = f" [{low:{bounds}}, {high:{bounds}}]" if interval and low is not None and high is not None else ""
    return f"{known:{value}}{span}"
