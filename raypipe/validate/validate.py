"""Validate earlier predictions against their outcomes, once the label's horizon has passed."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, identifier, load, without_comments
from raypipe.config.load import Loaded
from raypipe.data import split
from raypipe.data.slices import unsliced
from raypipe.errors import DataError, RaypipeError
from raypipe.evaluation.metrics import METRICS, gain
from raypipe.progress import Progress
from raypipe.project import has_sql, shipped
from raypipe.registry import models
from raypipe.validate import records
from raypipe.validate.cells import evaluate_binary, evaluate_number
from raypipe.validate.records import Batch, Validation

log = logging.getLogger(__name__)

# A night validates the newest batches; `raypipe validate` validates all.
MOST_PER_NIGHT = 5
UNKNOWN_THRESHOLD = 0.5
FIRST_DAY = date(1970, 1, 1)
GIB = 1 << 30
SETTINGS = {
    "join_algorithm": "grace_hash",
    "max_bytes_in_join": GIB,
    "max_bytes_before_external_group_by": GIB,
    "max_bytes_before_external_sort": GIB,
}


@dataclass(frozen=True)
class ValidationResult:
    """The validations of a pipeline.

    Attributes:
        validations: newest date first.
        new: the number of validations made now.
        waiting: dates with unknown outcomes, and the last day that each waits for.
        remaining: the number of batches left for later.
        reason: why there is nothing to validate; otherwise empty.
    """

    validations: tuple[Validation, ...] = ()
    new: int = 0
    waiting: tuple[tuple[date, date], ...] = ()
    remaining: int = 0
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
    for number, batch in enumerate(missing[:most]):
        progress("validate", number, len(missing[:most]))
        started = datetime.now(UTC).replace(microsecond=0)
        new[batch.id] = _validate_batch(client, loaded, batch, until[batch])
        records.write(client, new[batch.id], started)
    known = {**stored, **new}
    return ValidationResult(
        tuple(known[batch.id] for batch in complete if batch.id in known),
        len(new),
        tuple(waiting),
        len(missing) - len(new),
        "" if complete else _no_outcomes(config.pipeline, day, waiting, newest),
    )


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
    unknown = [key for key in config.entity.keys if _published_as(key, config.entity.id) is None]
    if unknown:
        return (
            f"the published predictions of {config.pipeline} lack a part of the entity key: {', '.join(unknown)} of "
            f"{', '.join(config.entity.keys)} is no column of ml_model_predictions"
        )
    return ""


def _published_as(key: str, entity_id: str) -> str | None:
    if key == entity_id:
        return "entity_id"
    return key if key in ("company_id", "brand_id") else None


def _no_outcomes(pipeline: str, day: date | None, waiting: list[tuple[date, date]], newest: date) -> str:
    if not waiting:
        return f"there are no predictions of {pipeline}{f' for {day}' if day else ''}"
    first, until = waiting[0]
    return f"outcomes for {first} are not known yet: they need the snapshot of {until}, and the newest is {newest}"


def _batches(client: Client, loaded: Loaded, newest: date) -> list[Batch]:
    """Return all batches of predictions, the newest first."""
    pipeline = loaded.config.pipeline
    rows = client.rows(_statement("runs").text, {"pipeline": pipeline})
    batches = [Batch(pipeline, day, run, model, version) for day, run, model, version in rows]
    earlier = _earlier(loaded)
    if has_sql(earlier):
        sql = _statement("earlier_batches").render(earlier=_text(earlier))
        others = client.rows(sql, {"first": FIRST_DAY, "last": newest})
        batches += [Batch(pipeline, day, "", "", version) for day, version in others]
    return sorted(batches, key=lambda batch: (batch.date, batch.run_id, batch.model_version), reverse=True)


def _earlier(loaded: Loaded) -> Path:
    """Return the path of the query for predictions of other tools, which few pipelines have."""
    return loaded.sql(f"{loaded.config.pipeline}/earlier.sql")


def _text(path: Path) -> str:
    """Return the query in a file as a subquery."""
    return unsliced(without_comments(load(path).text))


def _validate_batch(client: Client, loaded: Loaded, batch: Batch, until: date) -> Validation:
    kind = loaded.config.label.kind if loaded.config.label else ""
    options = {"resamples": loaded.config.evaluate.bootstrap, "seed": loaded.config.split.seed}
    fitted, threshold = _at_the_fit(client, batch)
    sql, parameters = _outcomes(loaded, batch, until)
    query = _statement(kind).render(outcomes=sql)
    validation = Validation(batch, until)
    try:
        if kind == "binary":
            cells = _columns(client, query, {**parameters, "threshold": threshold})
            unknown = cells["outcome"] == -1
            validation = replace(validation, left_out=int(cells["rows"][unknown].sum()))
            known = {name: values[~unknown] for name, values in cells.items()}
            evaluation = evaluate_binary(known, threshold, **options)
        else:
            cells = _columns(client, query, parameters)
            validation = replace(validation, left_out=int(cells["missing"].sum()))
            evaluation = evaluate_number(cells, **options)
    except DataError as error:
        value = f" (found {error.found})" if error.found else ""
        return replace(validation, reason=f"not judged: {error.problem[0].lower()}{error.problem[1:]}{value}")
    return _compare(replace(validation, evaluation=evaluation), fitted, "auc" if kind == "binary" else "rmse")


def _compare(validation: Validation, fitted: Mapping[str, Any], metric: str) -> Validation:
    """Add the loss since the fit, where both have the metric."""
    now, then = validation.evaluation[metric], fitted.get(metric) or {}
    if now["value"] is None:
        positives, rows = validation.evaluation.get("positives", 0), validation.evaluation["rows"]
        reason = f"every outcome is the same ({positives} of {rows} are positive), so there is no AUC"
        return replace(validation, reason=reason)
    if then.get("value") is None:
        return validation
    best, worst = ("high", "low") if METRICS[metric].higher_is_better else ("low", "high")
    before, after = then.get(worst), now[best]
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


def _outcomes(loaded: Loaded, batch: Batch, until: date) -> tuple[str, dict[str, Any]]:
    """Return the query of a batch's predictions with their outcomes, and its parameters."""
    entity = loaded.config.entity
    keys = ", ".join(f"toString({identifier(key)})" for key in entity.keys)
    parameters = split.parameters(batch.date, until, loaded.config)
    if batch.run_id:
        columns = (_published_as(key, entity.id) or key for key in entity.keys)
        published = ", ".join(f"toString({identifier(column)})" for column in columns)
        predictions = _statement("published").render(keys=published)
        parameters |= {"pipeline": batch.pipeline, "run_id": batch.run_id}
    else:
        predictions = _statement("earlier").render(keys=keys, earlier=_text(_earlier(loaded)))
        parameters |= {"first": batch.date, "last": batch.date, "model_version": batch.model_version}
    labels = _text(loaded.sql(f"{loaded.config.pipeline}/labels.sql"))
    return _statement("outcomes").render(predictions=predictions, keys=keys, labels=labels), parameters


def _columns(client: Client, query: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    table = client.table(query, parameters, SETTINGS)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _statement(name: str) -> Statement:
    return load(shipped() / "sql" / "validation" / f"{name}.sql")
