"""Validate earlier predictions against their outcomes, once the label's horizon has passed."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.config.load import Loaded
from raypipe.data import split
from raypipe.errors import DataError, RaypipeError
from raypipe.evaluation.metrics import METRICS, gain
from raypipe.progress import Progress
from raypipe.project import has_sql
from raypipe.registry import models
from raypipe.validate import queries, records, slices
from raypipe.validate.calibration import calibration
from raypipe.validate.cells import evaluate_binary, evaluate_number
from raypipe.validate.records import Batch, Validation
from raypipe.validate.slices import Performance

log = logging.getLogger(__name__)

# A night validates the newest batches; `raypipe validate` validates all.
MOST_PER_NIGHT = 5
UNKNOWN_THRESHOLD = 0.5
FIRST_DAY = date(1970, 1, 1)
# Scores with a larger calibration error at the fit are no probabilities to estimate from.
MOST_CALIBRATION_ERROR = 0.05


@dataclass(frozen=True)
class Estimate:
    """The estimated performance of a run.

    Attributes:
        until: the last day of the horizon, on which the outcomes are known.
    """

    batch: Batch
    until: date
    metrics: tuple[Performance, ...]


@dataclass(frozen=True)
class ValidationResult:
    """The validations of a pipeline.

    Attributes:
        validations: newest date first.
        new: the number of validations made now.
        waiting: dates with unknown outcomes, and the last day that each waits for.
        remaining: the number of batches left for later.
        estimates: the runs whose outcomes are not known yet, with their estimated metrics.
        reason: why there is nothing to validate; otherwise empty.
    """

    validations: tuple[Validation, ...] = ()
    new: int = 0
    waiting: tuple[tuple[date, date], ...] = ()
    remaining: int = 0
    estimates: tuple[Estimate, ...] = ()
    reason: str = ""


def validate(
    client: Client, loaded: Loaded, day: date | None, progress: Progress, *, most: int | None = None
) -> ValidationResult:
    """Validate the batches with known outcomes that were not validated before, and write ml_model_monitoring.

    Args:
        day: the date of the predictions; None for all dates.
        most: the most batches to validate, the newest first.
    """
    config, horizon = loaded.config, loaded.config.label.horizon_days if loaded.config.label else None
    reason = _unknowable(loaded)
    if reason or horizon is None or config.source.date_column is None:
        return ValidationResult(reason=reason)
    newest = max(split.snapshots(client, config.source.table, config.source.date_column), default=FIRST_DAY)
    until = {batch: batch.date + timedelta(days=horizon) for batch in _batches(client, loaded, newest)}
    chosen = [batch for batch in until if day in (None, batch.date)]
    complete = [batch for batch in chosen if until[batch] <= newest]
    waiting = sorted({(batch.date, until[batch]) for batch in chosen if until[batch] > newest})
    stored = records.stored(client, config.pipeline)
    missing = [batch for batch in complete if batch.id not in stored]
    new: dict[str, Validation] = {}
    columns = slices.columns(client, config)
    for number, batch in enumerate(missing[:most]):
        progress("validate", number, len(missing[:most]))
        started = datetime.now(UTC).replace(microsecond=0)
        new[batch.id], rows = _validate_batch(client, loaded, batch, until[batch], columns)
        slices.write(client, batch, slices.MEASURED, rows)
        # The last, as it marks the batch as validated.
        records.write(client, new[batch.id], started)
    early = {batch: until[batch] for batch in chosen if until[batch] > newest and batch.run_id}
    known = {**stored, **new}
    return ValidationResult(
        tuple(known[batch.id] for batch in complete if batch.id in known),
        len(new),
        tuple(waiting),
        len(missing) - len(new),
        _estimates(client, loaded, early, columns, most, list(known.values())),
        "" if complete else _no_outcomes(config.pipeline, day, waiting, newest),
    )


def _estimates(
    client: Client,
    loaded: Loaded,
    early: Mapping[Batch, date],
    columns: Sequence[str],
    most: int | None,
    known: Sequence[Validation],
) -> tuple[Estimate, ...]:
    """Estimate the runs that have no estimate yet, the newest first, and return all estimates."""
    config = loaded.config
    if config.label is None or config.label.kind != "binary" or not early:
        return ()
    stored = slices.estimates(client, config.pipeline)
    for batch in [batch for batch in early if batch.run_id not in stored][:most]:
        rows = _estimate_batch(client, loaded, batch, early[batch], columns, known)
        slices.write(client, batch, slices.ESTIMATED, rows)
        whole = [row for row in rows if not row.slice_column]
        stored[batch.run_id] = sorted(whole, key=lambda row: row.metric)
    estimated = (batch for batch in early if batch.run_id in stored)
    return tuple(Estimate(batch, early[batch], tuple(stored[batch.run_id])) for batch in estimated)


def validate_newest(client: Client, loaded: Loaded, progress: Progress) -> ValidationResult:
    """Validate the newest batches at the end of a published run, where an error is only a warning."""
    try:
        result = validate(client, loaded, None, progress, most=MOST_PER_NIGHT)
    except RaypipeError as error:
        log.warning("earlier predictions of %s were not validated: %s", loaded.config.pipeline, error)
        return ValidationResult(reason=f"earlier predictions were not validated: {error.problem}")
    if result.remaining:
        log.info("%s earlier batches are left: `raypipe validate %s`", result.remaining, loaded.config.pipeline)
    return result


def _unknowable(loaded: Loaded) -> str:
    """Return why the outcomes of a pipeline's predictions cannot be known, or an empty text."""
    config = loaded.config
    if config.ads is not None or not has_sql(loaded.sql(f"{config.pipeline}/labels.sql")):
        return f"{config.pipeline} has no labels.sql, and so no outcomes"
    if config.label is None or config.label.horizon_days is None or config.source.date_column is None:
        return f"{config.pipeline} has no snapshots or no horizon, so that its outcomes have no date"
    if config.label.kind == "classes":
        return f"predictions of classes, as of {config.pipeline}, are not compared with their outcomes"
    unknown = [key for key in config.entity.keys if queries.published_as(key, config.entity.id) is None]
    if unknown:
        return (
            f"the published predictions of {config.pipeline} lack a part of the entity key: {', '.join(unknown)} of "
            f"{', '.join(config.entity.keys)} is no column of ml_model_predictions"
        )
    return ""


def _no_outcomes(pipeline: str, day: date | None, waiting: list[tuple[date, date]], newest: date) -> str:
    if not waiting:
        return f"there are no predictions of {pipeline}{f' for {day}' if day else ''}"
    first, until = waiting[0]
    return f"outcomes for {first} are not known yet: they need the snapshot of {until}, and the newest is {newest}"


def _batches(client: Client, loaded: Loaded, newest: date) -> list[Batch]:
    """Return all batches of predictions, the newest first."""
    pipeline = loaded.config.pipeline
    batches = [Batch(pipeline, day, run, model, version) for day, run, model, version in queries.runs(client, pipeline)]
    if has_sql(queries.earlier(loaded)):
        others = queries.batches_of_tools(client, loaded, FIRST_DAY, newest)
        batches += [Batch(pipeline, day, "", "", version) for day, version in others]
    return sorted(batches, key=lambda batch: (batch.date, batch.run_id, batch.model_version), reverse=True)


def _validate_batch(
    client: Client, loaded: Loaded, batch: Batch, until: date, columns: Sequence[str]
) -> tuple[Validation, list[Performance]]:
    """Return a batch's validation, and its rows of raypipe_performance."""
    config = loaded.config
    kind, seed = config.label.kind if config.label else "", config.split.seed
    options = {"resamples": config.evaluate.bootstrap, "seed": seed}
    fitted, threshold = _at_the_fit(client, batch)
    query = queries.with_outcomes(loaded, batch, until)
    parameters = {"threshold": threshold} if kind == "binary" else {}
    validation = Validation(batch, until)
    try:
        cells = query.cells(client, kind, **parameters)
        if kind == "binary":
            unknown = cells["outcome"] == -1
            validation = replace(validation, left_out=int(cells["rows"][unknown].sum()))
            known = {name: values[~unknown] for name, values in cells.items()}
            evaluation = evaluate_binary(known, threshold, **options)
        else:
            validation = replace(validation, left_out=int(cells["missing"].sum()))
            evaluation = evaluate_number(cells, **options)
    except DataError as error:
        value = f" (found {error.found})" if error.found else ""
        reason = f"not judged: {error.problem[0].lower()}{error.problem[1:]}{value}"
        return replace(validation, reason=reason), [slices.missing(kind, reason)]
    validation = _compare(replace(validation, evaluation=evaluation), fitted, "auc" if kind == "binary" else "rmse")
    rows = [*slices.of_evaluation(evaluation), *_gap(validation)]
    if columns:
        own = query.sliced(client, kind, loaded, columns, **parameters)
        rows += slices.measured(own, kind, threshold, seed, config.evaluate.bootstrap)
    return validation, rows


def _estimate_batch(
    client: Client, loaded: Loaded, batch: Batch, until: date, columns: Sequence[str], known: Sequence[Validation]
) -> list[Performance]:
    """Return the rows of a run's estimated performance; one row with the reason where there is no estimate."""
    config = loaded.config
    fitted, threshold = _at_the_fit(client, batch)
    error = (fitted.get("ece") or {}).get("value")
    if error is None or error > MOST_CALIBRATION_ERROR:
        found = "is unknown" if error is None else f"was {error:.3f}"
        reason = f"not estimated: the calibration error of version {batch.model_version} at its fit {found}"
        return [slices.missing("binary", reason)]
    likelihood = calibration(_reliability(batch, fitted, known))
    options = (config.split.seed, config.evaluate.bootstrap, likelihood)
    query = queries.without_outcomes(loaded, batch, until)
    cells = query.cells(client, "binary", threshold=threshold)
    usable = {name: values[(cells["lowest"] >= 0) & (cells["highest"] <= 1)] for name, values in cells.items()}
    if not len(usable["rows"]):
        return [slices.missing("binary", "not estimated: no prediction is a probability")]
    rows = slices.estimated(usable, *options)
    if columns:
        rows += slices.estimated(query.sliced(client, "binary", loaded, columns, threshold=threshold), *options)
    return rows


def _reliability(batch: Batch, fitted: Mapping[str, Any], known: Sequence[Validation]) -> Sequence[Mapping[str, Any]]:
    """Return the reliability of a version's newest predictions with outcomes, or of the test rows of its fit."""
    own = [item for item in known if item.batch.model_version == batch.model_version and item.batch.run_id]
    newest = max((item for item in own if item.rows), key=lambda item: item.batch.date, default=None)
    evaluation = newest.evaluation if newest else fitted
    return evaluation.get("reliability") or []


def _gap(validation: Validation) -> Iterator[Performance]:
    """Yield the distance from the interval at the fit to the interval now, 0 where they meet."""
    for metric, then in validation.fitted.items():
        before, after = _nearest(metric, then, validation.evaluation[metric])
        if before is not None and after is not None:
            distance = max(gain(metric, before, after), 0.0)
            yield Performance("", "", "performance_gap", distance, None, None, validation.rows)


def _nearest(metric: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the worst end of the interval at the fit, and the best end of the interval now."""
    best, worst = ("high", "low") if METRICS[metric].higher_is_better else ("low", "high")
    return then.get(worst), now.get(best)


def _compare(validation: Validation, fitted: Mapping[str, Any], metric: str) -> Validation:
    """Add the loss since the fit, where both have the metric."""
    now, then = validation.evaluation[metric], fitted.get(metric) or {}
    if now["value"] is None:
        positives, rows = validation.evaluation.get("positives", 0), validation.evaluation["rows"]
        reason = f"every outcome is the same ({positives} of {rows} are positive), so there is no AUC"
        return replace(validation, reason=reason)
    if then.get("value") is None:
        return validation
    before, after = _nearest(metric, then, now)
    worse = before is not None and after is not None and gain(metric, before, after) > 0
    lost = round(gain(metric, then["value"], now["value"]), 6)
    return replace(validation, fitted={metric: dict(then)}, lost=lost, worse=worse)


def _at_the_fit(client: Client, batch: Batch) -> tuple[Mapping[str, Any], float]:
    """Return the version's metrics on the test rows of its fit, and its threshold."""
    versions = models.list_models(client, batch.pipeline) if batch.run_id else []
    version = next((version for version in versions if version.version == batch.model_version), None)
    if version is None:
        return {}, UNKNOWN_THRESHOLD
    threshold = version.metadata.get("threshold")
    return version.evaluation.get("test") or {}, UNKNOWN_THRESHOLD if threshold is None else float(threshold)
