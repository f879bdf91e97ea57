"""Profile a single table in bounded time and memory, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from raypipe.clickhouse.client import Client
from raypipe.explore import hazards, keys, sample
from raypipe.explore.correlations import correlate
from raypipe.explore.distributions import spread
from raypipe.explore.facts import ColumnProfile, Failure, LabelBalance, Limits, Newest, Sample, TableProfile
from raypipe.explore.inventory import Described
from raypipe.explore.kinds import FLAG, NUMBER, TIME
from raypipe.explore.measures import exact_times, measure
from raypipe.explore.questions import Questions, Unanswered
from raypipe.explore.sample import ReadPlan

T = TypeVar("T")

ZEROS_AND_ONES = ({"0", "1"}, {"false", "true"})
NO_COLUMNS = "not read: it shows no columns; it is a view with parameters, or the user may not see it"


def examine(
    client: Client, described: Described, limits: Limits, taken_at: datetime
) -> tuple[TableProfile, ReadPlan | None]:
    """Return a table's profile and the plan of its reading; None if it could not be read.

    Args:
        client: connected to its database.
        described: the server's description.
        limits: the bounds of the table and of each query.
        taken_at: later values of time columns do not count as the newest.
    """
    table = described.profile
    questions = Questions(client, limits)
    if table.engine in sample.NOT_READ:
        return _unread(table, f"not read: {sample.NOT_READ[table.engine]}"), None
    if not table.columns:
        return _unread(table, NO_COLUMNS), None
    plan = sample.plan(client.endpoint.database, table.table, table.engine, table.rows, most_rows(table, limits))
    try:
        ((read,),) = questions.rows(f"SELECT count() FROM {plan.source.relation([table.columns[0].column])}")
    except Unanswered as error:
        failed = replace(_unread(table, "not read"), errors=(Failure("reading", error.problem),))
        return replace(failed, seconds=round(questions.seconds, 3)), None
    if plan.method == "first rows" and read < plan.source.first:
        plan, table = replace(plan, method="whole"), replace(table, rows=read)
    columns = spread(questions, plan.source, measure(questions, plan.source, table.columns, read))
    errors: list[Failure] = []
    if plan.method == "granules":
        columns = _or(columns, errors, "newest and oldest times", lambda: exact_times(questions, plan.whole, columns))
    tried = keys.examine(questions, plan, table.sorting_key, columns, table.rows, read, errors) if read else []
    share = min(1.0, read / table.rows) if table.rows else None
    correlations = _or(None, errors, "correlations", lambda: correlate(questions, plan.source, columns, read))
    profile = replace(
        table,
        sample=Sample(plan.method, read, share, sample.about(plan.method, read, table.rows)),
        newest=newest(columns, taken_at),
        columns=tuple(columns),
        keys=tuple(tried),
        correlations=correlations,
        targets=tuple(targets(columns)),
        hazards=tuple(hazards.find(table, described.engine_full, columns, tried, read)),
        errors=tuple(errors),
        seconds=round(questions.seconds, 3),
    )
    return profile, plan


def most_rows(table: TableProfile, limits: Limits) -> int:
    """Return the number of rows to read at most: fewer if rows are large."""
    if not table.rows or not table.bytes_uncompressed:
        return limits.sample_rows
    return max(1, min(limits.sample_rows, limits.sample_bytes * table.rows // table.bytes_uncompressed))


def _or(default: T, errors: list[Failure], what: str, ask: Callable[[], T]) -> T:
    """Return the answer, or the default after noting the error."""
    try:
        return ask()
    except Unanswered as error:
        errors.append(Failure(what, error.problem))
        return default


def newest(columns: Sequence[ColumnProfile], taken_at: datetime) -> Newest | None:
    """Return the time column with the newest value that is not after the report; expiries are no sign of freshness."""
    until = f"{taken_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    known = [
        (column.high, column.column)
        for column in columns
        if column.kind == TIME and column.high is not None and column.high <= until
    ]
    return Newest(max(known)[1], max(known)[0]) if known else None


def targets(columns: Sequence[ColumnProfile]) -> list[LabelBalance]:
    """Return the balance of each column of zeros and ones, which might be a label."""
    balances = []
    for column in columns:
        counts = {value.value: value.rows for value in column.values}
        whole_numbers = column.kind == FLAG or (column.kind == NUMBER and "Int" in column.type)
        if counts and whole_numbers and any(counts.keys() <= allowed for allowed in ZEROS_AND_ONES):
            filled = sum(counts.values())
            ones = counts.get("1", counts.get("true", 0))
            balances.append(LabelBalance(column.column, filled, ones, ones / filled))
    return balances


def _unread(table: TableProfile, reason: str) -> TableProfile:
    return replace(table, sample=Sample("none", 0, None, reason))
