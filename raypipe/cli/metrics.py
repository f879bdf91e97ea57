"""Show a metric: its value, and its interval where there is one."""

from collections.abc import Mapping
from typing import Any

from raypipe.evaluation import metrics

METRICS = tuple(name for name, spec in metrics.METRICS.items() if spec.listed)
SUMMARY = tuple(name for name, spec in metrics.METRICS.items() if spec.summary)
WITH_INTERVAL = tuple(name for name, spec in metrics.METRICS.items() if spec.interval)
UNKNOWN = "–"


def cell(metric: Mapping[str, Any] | None, *, interval: bool = True, digits: str = ".4f") -> str:
    """Format a metric, a mapping with `value`, `low` and `high`, as `0.8123 [0.8010, 0.8230]`; a dash if unknown."""
    value, low, high = (None, None, None) if metric is None else (metric.get(name) for name in ("value", "low", "high"))
    if value is None:
        return UNKNOWN
    span = f" [{low:{digits}}, {high:{digits}}]" if interval and low is not None and high is not None else ""
    return f"{value:{digits}}{span}"
