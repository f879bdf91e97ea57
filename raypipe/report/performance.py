"""Read how good the predictions of each date were: measured by outcomes, or estimated before there are any."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from raypipe.evaluation.metrics import METRICS
from raypipe.pages.charts import Point
from raypipe.report.names import Names, slice_label
from raypipe.report.source import Row, Source

TABLE = "raypipe_performance"
MEASURED, ESTIMATED = "measured", "estimated"
# Slices of older dates say little about the model in use.
SLICE_DAYS = 92
FEWEST_ROWS = 30


@dataclass(frozen=True)
class Slice:
    """The value of the deciding metric in a slice, named in words."""

    label: str
    value: float
    low: float | None
    high: float | None
    rows: int


@dataclass(frozen=True)
class Performance:
    """The metrics of a pipeline's predictions.

    Attributes:
        measured, estimated: by metric, a point per date.
        reasons: why a date has no value, by date.
        slices: by the newest date with outcomes and by metric, the slices' values.
        reliability: the newest calibration: mean score and observed rate, lowest first, with their rows.
        reliability_of: the date of these predictions.
        worse: whether the newest measured date is worse than the fit by more than noise; None if unknown.
    """

    measured: Mapping[str, list[Point]] = field(default_factory=dict)
    estimated: Mapping[str, list[Point]] = field(default_factory=dict)
    reasons: Mapping[date, str] = field(default_factory=dict)
    slices: Mapping[str, tuple[Slice, ...]] = field(default_factory=dict)
    slices_of: date | None = None
    reliability: tuple[tuple[float, float, int], ...] = ()
    reliability_of: date | None = None
    worse: bool | None = None
    fitted: float | None = None

    def newest(self, metric: str) -> Point | None:
        """Return the newest measured value of a metric."""
        return max((point for point in self.measured.get(metric, [])), key=lambda point: point.day, default=None)


def worst_first(metric: str, slices: tuple[Slice, ...]) -> list[Slice]:
    """Return the slices with enough rows, the worst value first."""
    spec = METRICS.get(metric)
    sign = 1 if spec is None or spec.higher_is_better else -1
    return sorted((item for item in slices if item.rows >= FEWEST_ROWS), key=lambda item: sign * item.value)


def read(source: Source, names: Names) -> dict[str, Performance]:
    """Return the performance of each pipeline."""
    rows = source.rows("performance", TABLE, first=source.first, slices_from=source.last - timedelta(days=SLICE_DAYS))
    by_pipeline: dict[str, list[Row]] = {}
    for row in rows:
        by_pipeline.setdefault(row["pipeline"], []).append(row)
    validations: dict[str, list[Mapping[str, Any]]] = {}
    for row in source.rows("validations", "ml_model_monitoring", first=source.first):
        document = json.loads(row["metadata"])
        validations.setdefault(document.get("pipeline", ""), []).append(document)
    return {
        name: _performance(by_pipeline.get(name, []), validations.get(name, []), names)
        for name in by_pipeline.keys() | validations.keys()
    }


def _performance(rows: list[Row], validations: list[Mapping[str, Any]], names: Names) -> Performance:
    series: dict[str, dict[str, list[Point]]] = {MEASURED: {}, ESTIMATED: {}}
    reasons: dict[date, str] = {}
    for row in rows:
        if row["slice_column"]:
            continue
        if row["value"] is None and row["reason"]:
            reasons[row["date"]] = row["reason"]
        kind = series.setdefault(row["kind"], {})
        kind.setdefault(row["metric"], []).append(Point(row["date"], row["value"], row["low"], row["high"]))
    measured = [row for row in rows if row["slice_column"] and row["kind"] == MEASURED and row["value"] is not None]
    newest = max((row["date"] for row in measured), default=None)
    slices: dict[str, list[Slice]] = {}
    for row in measured:
        if row["date"] == newest:
            label = slice_label(row["slice_column"], row["slice_value"], names)
            slices.setdefault(row["metric"], []).append(
                Slice(label, row["value"], row["low"], row["high"], row["rows"])
            )
    judged = sorted(validations, key=lambda document: document["date"])
    calibrated = [document for document in judged if document["evaluation"].get("reliability")]
    compared = [document for document in judged if document.get("fitted")]
    last = calibrated[-1] if calibrated else None
    return Performance(
        series[MEASURED],
        series[ESTIMATED],
        reasons,
        {metric: tuple(items) for metric, items in slices.items()},
        newest,
        tuple(_calibration(last["evaluation"]["reliability"])) if last else (),
        date.fromisoformat(last["date"]) if last else None,
        bool(compared[-1]["worse"]) if compared else None,
        next(iter(compared[-1]["fitted"].values()))["value"] if compared else None,
    )


def _calibration(bins: list[Mapping[str, Any]]) -> list[tuple[float, float, int]]:
    return [(float(row["predicted"]), float(row["observed"]), int(row["rows"])) for row in bins]


def lift(bins: tuple[tuple[float, float, int], ...]) -> list[tuple[float, float]]:
    """Return points of the share of rows with the highest scores, and the share of positives that they reach."""
    rows = sum(count for _, _, count in bins)
    positives = sum(observed * count for _, observed, count in bins)
    if not rows or not positives:
        return []
    curve, reached, passed = [(0.0, 0.0)], 0.0, 0
    for _, observed, count in sorted(bins, key=lambda item: -item[0]):
        reached += observed * count
        passed += count
        curve.append((passed / rows, reached / positives))
    return curve
