"""Evaluate predictions by slice, and write the rows of raypipe_performance."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.clickhouse import mutations
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier, literal, load
from raypipe.clickhouse.tables import describe
from raypipe.config.schema import PipelineConfig
from raypipe.errors import DataError
from raypipe.evaluation.metrics import Interval
from raypipe.project import shipped
from raypipe.validate import performance
from raypipe.validate.calibration import Calibration
from raypipe.validate.cells import evaluate_binary, evaluate_number
from raypipe.validate.records import Batch

log = logging.getLogger(__name__)

TABLE = "raypipe_performance"
MEASURED, ESTIMATED = "measured", "estimated"
# The largest; each has a handful of metrics.
MOST_SLICES = 250
NAMES = ("auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1", "ece", "rmse", "mae", "r2")
CONSTANT = "every outcome is the same"
_OF_RUNS = "pipeline = {pipeline:String} AND date = {date:Date} AND kind = {kind:String} AND run_id != ''"
_OF_TOOL = (
    "pipeline = {pipeline:String} AND date = {date:Date} AND kind = {kind:String} AND run_id = ''"
    " AND model_version = {model_version:String}"
)


@dataclass(frozen=True)
class Performance:
    """One metric of a batch, as a row of raypipe_performance."""

    slice_column: str
    slice_value: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    rows: int
    positives: int | None = None
    reason: str = ""


def columns(client: Client, config: PipelineConfig) -> tuple[str, ...]:
    """Return the columns of `monitor.slices` that the population's table has; the others are logged.

    The slices come out of that table and not out of features.sql, which may leave out entities whose outcome is known
    by now, such as readers who have subscribed.
    """
    if not config.monitor.slices:
        return ()
    table = describe(client, config.source.table)
    known = [column.name for column in table.columns] if table else []
    for name in config.monitor.slices:
        if name not in known:
            log.info("%s has no performance by %s, which is no column of its table", config.pipeline, name)
    return tuple(name for name in config.monitor.slices if name in known)


def fragments(config: PipelineConfig, names: Sequence[str]) -> dict[str, str]:
    """Return the parts of sql/validation/sliced.sql that a pipeline decides."""
    pairs = (f"({literal(name)}, toString({identifier(name)}))" for name in names)
    return {
        "slices": f"[{', '.join(pairs)}]",
        "source": identifier(config.source.table),
        "date_column": identifier(config.source.date_column or ""),
        "most": str(MOST_SLICES),
    }


def split(cells: Mapping[str, npt.NDArray[Any]]) -> Iterator[tuple[str, str, dict[str, npt.NDArray[Any]]]]:
    """Yield the column, the value and the cells of each slice."""
    names = np.array(
        [f"{column}\0{value}" for column, value in zip(cells["slice_column"], cells["slice_value"], strict=True)]
    )
    different, of = np.unique(names, return_inverse=True)
    order = np.argsort(of, kind="stable")
    bounds = np.searchsorted(of[order], np.arange(len(different) + 1))
    for number, name in enumerate(different):
        column, _, value = str(name).partition("\0")
        inside = order[bounds[number] : bounds[number + 1]]
        yield column, value, {key: values[inside] for key, values in cells.items()}


def of_evaluation(evaluation: Mapping[str, Any], column: str = "", value: str = "") -> list[Performance]:
    """Return the rows of an evaluation."""
    measures = {name: Interval(**evaluation[name]) for name in NAMES if name in evaluation}
    rows, positives = evaluation["rows"], evaluation.get("positives")
    return [_row(column, value, name, measure, rows, positives) for name, measure in measures.items()]


def measured(
    cells: Mapping[str, npt.NDArray[Any]], kind: str, threshold: float, seed: int, draws: int
) -> list[Performance]:
    """Return the rows of all slices; a slice that cannot be evaluated has one row with the reason."""
    rows: list[Performance] = []
    for column, value, own in split(cells):
        try:
            if kind == "binary":
                own = {name: values[own["outcome"] != -1] for name, values in own.items()}
                evaluation = evaluate_binary(own, threshold, resamples=draws, seed=seed)
            else:
                evaluation = evaluate_number(own, resamples=draws, seed=seed)
            rows += of_evaluation(evaluation, column, value)
        except DataError as error:
            rows.append(missing(kind, f"{error.problem[0].lower()}{error.problem[1:]}", column, value))
    return rows


def estimated(
    cells: Mapping[str, npt.NDArray[Any]], seed: int, draws: int, likelihood: Calibration
) -> list[Performance]:
    """Return the rows of all predictions, or of all slices, without outcomes."""
    rows: list[Performance] = []
    for column, value, own in split(cells):
        count = int(own["rows"].sum())
        intervals = performance.estimate(own, draws, seed, likelihood)
        rows += [_row(column, value, name, interval, count) for name, interval in intervals.items()]
    return rows


def missing(kind: str, reason: str, column: str = "", value: str = "") -> Performance:
    """Return the row of predictions that cannot be evaluated."""
    return Performance(column, value, "auc" if kind == "binary" else "rmse", None, None, None, 0, None, reason)


def _row(
    column: str, value: str, name: str, interval: Interval, rows: int, positives: int | None = None
) -> Performance:
    reason = performance.REASONS.get(name, CONSTANT) if interval.value is None else ""
    return Performance(column, value, name, interval.value, interval.low, interval.high, rows, positives, reason)


def write(client: Client, batch: Batch, kind: str, rows: Sequence[Performance]) -> None:
    """Replace the rows of a date: those of any earlier run, or those of another tool's version."""
    parameters = {"pipeline": batch.pipeline, "date": batch.date, "kind": kind, "model_version": batch.model_version}
    # A rerun of the date replaces the rows of the run before it; other tools' versions stand side by side.
    condition = _OF_RUNS if batch.run_id else _OF_TOOL
    if client.value(f"SELECT count() FROM {TABLE} WHERE {condition}", parameters):
        mutations.delete(client, TABLE, condition, parameters)
    now = datetime.now(UTC)
    common = {
        "pipeline": batch.pipeline,
        "date": batch.date,
        "kind": kind,
        "run_id": batch.run_id,
        "model_version": batch.model_version,
        "written_at": now,
    }
    client.insert_rows(TABLE, [{**common, **asdict(row)} for row in rows])


def estimates(client: Client, pipeline: str) -> dict[str, list[Performance]]:
    """Return the estimates over all predictions of a run, by run."""
    by_run: dict[str, list[Performance]] = {}
    sql = load(shipped() / "sql" / "validation" / "estimated.sql").text
    for run_id, name, value, low, high, rows, reason in client.rows(sql, {"pipeline": pipeline}):
        by_run.setdefault(run_id, []).append(Performance("", "", name, value, low, high, rows, None, reason))
    return by_run
