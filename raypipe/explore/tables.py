"""One table's profile: what it can be asked in bounded time and memory, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from raypipe.clickhouse.client import Client
from raypipe.explore import hazards, keys, sample
from raypipe.explore.correlations import correlate
from raypipe.explore.distributions import spread
from raypipe.explore.facts import Column, Failure, Limits, Newest, Sample, Table, Target
from raypipe.explore.inventory import Stands
from raypipe.explore.kinds import FLAG, NUMBER, TIME
from raypipe.explore.measures import exact_times, measure
from raypipe.explore.questions import Questions, Unanswered
from raypipe.explore.sample import Plan

T = TypeVar("T")

ZEROS_AND_ONES = ({"0", "1"}, {"false", "true"})


def examine(client: Client, stands: Stands, limits: Limits, taken_at: datetime) -> tuple[Table, Plan | None]:
    """A table's profile, and how it was read; None where it could not be.

    Args:
        client: whose database holds it.
        stands: what the server says of it.
        limits: what the table and each query may take.
        taken_at: later values of time columns are not taken for its newest rows'.
    """
    questions = Questions(client, limits)
    if stands.engine in sample.NOT_READ:
        reason = f"not read: {sample.NOT_READ[stands.engine]}"
        return _unread(stands, reason), None
    if not stands.columns:
        return _unread(
            stands, "not read: it shows no columns, as a view with parameters, or one the user may not see"
        ), None
    plan = sample.plan(client.endpoint.database, stands.table, stands.engine, stands.rows, most_rows(stands, limits))
    try:
        ((read,),) = questions.rows(f"SELECT count() FROM {plan.source.relation([stands.columns[0].column])}")
    except Unanswered as error:
        failed = replace(_unread(stands, "not read"), errors=(Failure("reading", error.problem),))
        return replace(failed, seconds=round(questions.seconds, 3)), None
    if plan.method == "first rows" and read < plan.source.first:
        plan, stands = replace(plan, method="whole"), replace(stands, rows=read)
    measured = measure(questions, plan.source, stands.columns, read)
    columns = spread(questions, plan.source, measured)
    errors: list[Failure] = []
    if plan.method == "granules":
        columns = _or(columns, errors, "newest and oldest times", lambda: exact_times(questions, plan.whole, columns))
    tried = keys.examine(questions, plan, stands.sorting_key, columns, stands.rows, read, errors) if read else []
    correlations = _or(None, errors, "correlations", lambda: correlate(questions, plan.source, columns, read))
    table = replace(
        _unread(stands, ""),
        sample=Sample(
            plan.method,
            read,
            min(1.0, read / stands.rows) if stands.rows else None,
            sample.about(plan.method, read, stands.rows),
        ),
        newest=newest(columns, taken_at),
        columns=tuple(columns),
        keys=tuple(tried),
        correlations=correlations,
        targets=tuple(targets(columns)),
        hazards=tuple(hazards.find(stands, columns, tried, read)),
        errors=tuple(errors),
        seconds=round(questions.seconds, 3),
    )
    return table, plan


def most_rows(stands: Stands, limits: Limits) -> int:
    """How many of a table's rows are read at most: fewer where they are large."""
    if not stands.rows or not stands.bytes_uncompressed:
        return limits.sample_rows
    return max(1, min(limits.sample_rows, limits.sample_bytes * stands.rows // stands.bytes_uncompressed))


def _or(default: T, errors: list[Failure], what: str, ask: Callable[[], T]) -> T:
    """What is asked for; without an answer the default, and the error is noted."""
    try:
        return ask()
    except Unanswered as error:
        errors.append(Failure(what, error.problem))
        return default


def newest(columns: Sequence[Column], taken_at: datetime) -> Newest | None:
    """The time column with the newest value that is not after the report: an expiry says nothing about freshness."""
    until = f"{taken_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    known = [
        (column.high, column.column)
        for column in columns
        if column.kind == TIME and column.high is not None and column.high <= until
    ]
    return Newest(max(known)[1], max(known)[0]) if known else None


def targets(columns: Sequence[Column]) -> list[Target]:
    """The balance of each column of zeros and ones: how a label would be spread."""
    found = []
    for column in columns:
        counts = {value.value: value.rows for value in column.values}
        whole_numbers = column.kind == FLAG or (column.kind == NUMBER and "Int" in column.type)
        if counts and whole_numbers and any(counts.keys() <= allowed for allowed in ZEROS_AND_ONES):
            filled = sum(counts.values())
            ones = counts.get("1", counts.get("true", 0))
            found.append(Target(column.column, filled, ones, ones / filled))
    return found


def _unread(stands: Stands, why: str) -> Table:
    return Table(
        table=stands.table,
        engine=stands.engine,
        comment=stands.comment,
        rows=stands.rows,
        bytes=stands.bytes,
        bytes_uncompressed=stands.bytes_uncompressed,
        parts=stands.parts,
        written_at=stands.written_at,
        partition_key=stands.partition_key,
        sorting_key=stands.sorting_key,
        sample=Sample("none", 0, None, why),
        columns=stands.columns,
    )
