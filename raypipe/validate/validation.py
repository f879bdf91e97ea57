"""Earlier predictions against what happened, once the days that their label looks at are over."""

from __future__ import annotations

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
from raypipe.progress import Progress
from raypipe.project import shipped
from raypipe.registry import models
from raypipe.validate import records
from raypipe.validate.judge import judge_binary, judge_number
from raypipe.validate.records import Batch, Validation

log = logging.getLogger(__name__)

# A night judges the newest of what it finds; `raypipe validate` all.
MOST_A_NIGHT = 5
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
class Outcome:
    """What is known of a pipeline's earlier predictions.

    Attributes:
        validations: newest date first.
        new: how many of them were made just now.
        waiting: dates with predictions whose outcome is not known yet, and the last day each waits for.
        remaining: batches that were left for another time.
        said: why there is nothing to validate; '' where there is something.
    """

    validations: tuple[Validation, ...] = ()
    new: int = 0
    waiting: tuple[tuple[date, date], ...] = ()
    remaining: int = 0
    said: str = ""


def validate(
    client: Client, loaded: Loaded, day: date | None, progress: Progress, *, most: int | None = None
) -> Outcome:
    """Judges what can be judged and was not judged before, and writes it to ml_model_monitoring.

    Args:
        client: the ClickHouse.
        loaded: the pipeline's config.
        day: only predictions of this date; None for all.
        progress: told the stage, what is done and what there is to do.
        most: batches to judge at most, the newest first.
    """
    config, horizon = loaded.config, loaded.config.label.horizon_days if loaded.config.label else None
    reason = _without_outcome(loaded)
    if reason or horizon is None or config.source.date_column is None:
        return Outcome(said=reason)
    found = split.snapshots(client, config.source.table, config.source.date_column)
    newest = max(found, default=FIRST_DAY)
    batches = [one for one in _batches(client, loaded, newest) if day in (None, one.date)]
    over = [one for one in batches if one.date + timedelta(days=horizon) <= newest]
    waiting = sorted({(one.date, one.date + timedelta(days=horizon)) for one in batches if one not in over})
    stored = records.stored(client, config.pipeline)
    missing = [one for one in over if one.id not in stored]
    made: dict[str, Validation] = {}
    for number, batch in enumerate(missing[:most]):
        progress("validate", number, len(missing[:most]))
        started = datetime.now(UTC).replace(microsecond=0)
        made[batch.id] = _judged(client, loaded, batch, batch.date + timedelta(days=horizon))
        records.write(client, made[batch.id], started)
    known = {**stored, **made}
    return Outcome(
        tuple(known[one.id] for one in over if one.id in known),
        len(made),
        tuple(waiting),
        len(missing) - len(made),
        "" if over else _nothing(config.pipeline, day, waiting, newest),
    )


def tonight(client: Client, loaded: Loaded, progress: Progress) -> Outcome:
    """As part of a run: the newest batches only, and an error is a warning, as the run itself is published."""
    try:
        outcome = validate(client, loaded, None, progress, most=MOST_A_NIGHT)
    except RaypipeError as error:
        log.warning("earlier predictions of %s were not validated: %s", loaded.config.pipeline, error)
        return Outcome(said=f"earlier predictions were not validated: {error.problem}")
    if outcome.remaining:
        log.info("%s earlier batches are left: `raypipe validate %s`", outcome.remaining, loaded.config.pipeline)
    return outcome


def _without_outcome(loaded: Loaded) -> str:
    """Why the outcome of a pipeline's predictions cannot be known; '' where it can."""
    config = loaded.config
    if config.ads is not None or not loaded.sql(f"{config.pipeline}/labels.sql").is_file():
        return f"{config.pipeline} has no labels.sql, which would say what came of a prediction"
    if config.label is None or config.label.horizon_days is None or config.source.date_column is None:
        return f"{config.pipeline} has no snapshots and no horizon, so that no outcome belongs to a date"
    unknown = [key for key in config.entity.keys if _published_as(key, config.entity.id) is None]
    if unknown:
        return (
            f"the predictions of {config.pipeline} do not hold the whole entity key: {', '.join(unknown)} of "
            f"{', '.join(config.entity.keys)} is no column of ml_model_predictions"
        )
    return ""


def _published_as(key: str, entity_id: str) -> str | None:
    if key == entity_id:
        return "entity_id"
    return key if key in ("company_id", "brand_id") else None


def _nothing(pipeline: str, day: date | None, waiting: list[tuple[date, date]], newest: date) -> str:
    of = f" of {day}" if day else ""
    if not waiting:
        return f"there are no predictions of {pipeline}{of}"
    first, until = waiting[0]
    return (
        f"no outcome{of} is known yet: that of {first} is once there is a snapshot of {until}; the newest is {newest}"
    )


def _batches(client: Client, loaded: Loaded, newest: date) -> list[Batch]:
    """Everything that was predicted, the newest first."""
    pipeline = loaded.config.pipeline
    rows = client.rows(_statement("runs").text, {"pipeline": pipeline})
    batches = [Batch(pipeline, day, run, model, version) for day, run, model, version in rows]
    earlier = _earlier(loaded)
    if earlier.is_file():
        sql = _statement("earlier_batches").render(earlier=_text(earlier))
        others = client.rows(sql, {"first": FIRST_DAY, "last": newest})
        batches += [Batch(pipeline, day, "", "", version) for day, version in others]
    return sorted(batches, key=lambda one: (one.date, one.run_id, one.model_version), reverse=True)


def _earlier(loaded: Loaded) -> Path:
    """The file of a pipeline with a table that other tools wrote predictions to; most have none."""
    return loaded.sql(f"{loaded.config.pipeline}/earlier.sql")


def _text(path: Path) -> str:
    """The query in a file, fit to stand in brackets."""
    return unsliced(without_comments(load(path).text))


def _judged(client: Client, loaded: Loaded, batch: Batch, until: date) -> Validation:
    evaluate = loaded.config.evaluate
    kind = loaded.config.label.kind if loaded.config.label else ""
    fitted, threshold = _at_the_fit(client, batch)
    sql, parameters = _outcomes(loaded, batch, until)
    query = _statement(kind).render(outcomes=sql)
    bound = {**parameters, "threshold": threshold} if kind == "binary" else parameters
    cells: dict[str, Any] = _columns(client, query, bound)
    made = Validation(batch, until)
    try:
        if kind == "binary":
            left_out = cells["outcome"] == -1
            made = replace(made, left_out=int(cells["rows"][left_out].sum()))
            cells = {name: values[~left_out] for name, values in cells.items()}
            found = judge_binary(cells, threshold, resamples=evaluate.bootstrap, seed=loaded.config.split.seed)
        else:
            made = replace(made, left_out=int(cells["missing"].sum()))
            found = judge_number(cells, resamples=evaluate.bootstrap, seed=loaded.config.split.seed)
    except DataError as error:
        because = f" (found {error.found})" if error.found else ""
        return replace(made, said=f"not judged: {error.problem[0].lower()}{error.problem[1:]}{because}")
    return _compared(replace(made, evaluation=found), fitted, "auc" if kind == "binary" else "rmse")


def _compared(made: Validation, fitted: Mapping[str, Any], metric: str) -> Validation:
    """The validation beside the fit's own test, where both have the metric."""
    now, then = made.evaluation[metric], fitted.get(metric) or {}
    if now["value"] is None:
        positives, rows = made.evaluation.get("positives", 0), made.evaluation["rows"]
        return replace(made, said=f"every outcome is the same ({positives} of {rows} are positive), so no AUC")
    if then.get("value") is None:
        return made
    # A larger AUC is better, a smaller error.
    sign = 1 if metric == "auc" else -1
    lost = sign * (then["value"] - now["value"])
    best, worst = ("high", "low") if metric == "auc" else ("low", "high")
    bounds = (now[best], then.get(worst))
    worse = None not in bounds and sign * (bounds[1] - bounds[0]) > 0
    return replace(made, fitted={metric: dict(then)}, lost=round(lost, 6), worse=bool(worse))


def _at_the_fit(client: Client, batch: Batch) -> tuple[Mapping[str, Any], float]:
    """The metrics of the version on the fit's test rows, and its threshold."""
    if not batch.run_id:
        return {}, UNKNOWN_THRESHOLD
    version = next(
        (one for one in models.list_models(client, batch.pipeline) if one.version == batch.model_version), None
    )
    if version is None:
        return {}, UNKNOWN_THRESHOLD
    threshold = version.metadata.get("threshold")
    return version.evaluation.get("test") or {}, UNKNOWN_THRESHOLD if threshold is None else float(threshold)


def _outcomes(loaded: Loaded, batch: Batch, until: date) -> tuple[str, dict[str, Any]]:
    """The query of a batch's predictions with their outcomes, and what it binds."""
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
