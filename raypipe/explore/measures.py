"""Measure a table's columns by aggregates: missing and distinct values, ranges and moments."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raypipe.clickhouse.column_types import bare
from raypipe.clickhouse.statements import literal
from raypipe.explore.facts import ColumnProfile
from raypipe.explore.kinds import FLAG, LIST, NUMBER, OTHER, TEXT, TIME, kind_of, sentinel
from raypipe.explore.questions import Questions, Unanswered
from raypipe.explore.sample import RowSource

LEVELS = (0.01, 0.25, 0.5, 0.75, 0.99)
# A smaller sample is aggregated over all columns at once.
FEW_ROWS = 100_000
MANY_COLUMNS = 40
_NO_NUMBER = "CAST(NULL, 'Nullable(Float64)')"


@dataclass(frozen=True)
class Measured:
    """A column's profile, and the range of its numbers for a histogram; nan without a range."""

    column: ColumnProfile
    low: float = math.nan
    high: float = math.nan


def measure(questions: Questions, source: RowSource, columns: Sequence[ColumnProfile], rows: int) -> list[Measured]:
    """Return the columns with their figures; a column that fails has an error and does not stop the others."""
    per_query = MANY_COLUMNS if rows <= FEW_ROWS else questions.limits.columns_per_query
    measurable = [column for column in columns if column.kind != OTHER] if rows else []
    measured: dict[str, Measured] = {}
    for start in range(0, len(measurable), per_query):
        measured.update(_together(questions, source, measurable[start : start + per_query]))
    return [measured.get(column.column, Measured(column)) for column in columns]


def _together(
    questions: Questions, source: RowSource, columns: Sequence[ColumnProfile]
) -> Iterator[tuple[str, Measured]]:
    expressions = ", ".join(aggregates(f"v{number}", column.type) for number, column in enumerate(columns))
    try:
        ((rows, *answers),) = questions.rows(
            f"SELECT count(), {expressions} FROM {source.relation([column.column for column in columns])}"
        )
    except Unanswered as error:
        if len(columns) > 1:
            # A single column may be at fault; alone, only that column fails.
            for column in columns:
                yield from _together(questions, source, [column])
            return
        yield columns[0].column, Measured(replace(columns[0], error=error.problem))
        return
    for column, answer in zip(columns, answers, strict=True):
        yield column.column, _read(column, int(rows), answer)


def missing(value: str, type_: str) -> str:
    """Return a predicate for the value that may mean missing; false for types without such a value."""
    kind = sentinel(type_)
    default = f"defaultValueOfTypeName({literal(bare(type_))})"
    if not kind:
        return "0"
    if kind == "[]":
        return f"empty({value})"
    if kind == "1970-01-01":
        # The default of a Date32 is 1900-01-01.
        return f"toFloat64({value}) IN (0, toFloat64({default}))"
    return f"{value} = {default}"


def aggregates(value: str, type_: str) -> str:
    """Return SQL for nulls, sentinels, not finite, distinct, low, high, mean, deviation, quantiles, lowest, highest."""
    kind = kind_of(type_)
    head = f"countIf(isNull({value})), countIf({missing(value, type_)})"
    if kind in (NUMBER, FLAG):
        number, levels = f"toFloat64({value})", ", ".join(map(str, LEVELS))
        finite = f"isFinite({number})"
        return (
            f"tuple({head}, countIf(NOT {finite}), uniq({value}),"
            f" toString(minIf({value}, {finite})), toString(maxIf({value}, {finite})),"
            f" avgIf({number}, {finite}), stddevPopStableIf({number}, {finite}),"
            f" quantilesIf({levels})({number}, {finite}), minIf({number}, {finite}), maxIf({number}, {finite}))"
        )
    if kind == TIME:
        filled = f"NOT {missing(value, type_)}"
        low, high = (f"{extreme}({value}, {filled})" for extreme in ("minIf", "maxIf"))
        return (
            f"tuple({head}, 0, uniq({value}), {_moment(low, type_)}, {_moment(high, type_)},"
            f" {_NO_NUMBER}, {_NO_NUMBER}, emptyArrayFloat64(), toFloat64({low}), toFloat64({high}))"
        )
    length = f"length({value})" if kind == LIST else f"length(toString({value}))"
    distinct = f"uniq({value})" if kind == TEXT else "CAST(NULL, 'Nullable(UInt64)')"
    return (
        f"tuple({head}, 0, {distinct}, toString(min({length})), toString(max({length})),"
        f" avg({length}), stddevPopStable({length}), emptyArrayFloat64(), {_NO_NUMBER}, {_NO_NUMBER})"
    )


def exact_times(questions: Questions, whole: RowSource, columns: Sequence[ColumnProfile]) -> list[ColumnProfile]:
    """Return the columns with the extremes of times over all rows: a sample would miss the newest."""
    times = [column for column in columns if column.kind == TIME and column.low is not None]
    if not times:
        return list(columns)
    wanted = []
    for number, column in enumerate(times):
        value = f"v{number}"
        filled = f"NOT {missing(value, column.type)}"
        wanted += [_moment(f"{extreme}({value}, {filled})", column.type) for extreme in ("minIf", "maxIf")]
    relation = whole.relation([column.column for column in times])
    (ends,) = questions.rows(f"SELECT {', '.join(wanted)} FROM {relation}")
    extremes = {column.column: ends[2 * number : 2 * number + 2] for number, column in enumerate(times)}
    return [
        replace(column, low=extremes[column.column][0], high=extremes[column.column][1])
        if column.column in extremes
        else column
        for column in columns
    ]


def _moment(value: str, type_: str) -> str:
    """Return SQL for a time as text; a DateTime without a zone counts as UTC, whatever the server's zone."""
    return f"toString({value}, 'UTC')" if bare(type_).startswith("DateTime") else f"toString({value})"


def _read(column: ColumnProfile, rows: int, answer: Sequence[Any]) -> Measured:
    nulls, sentinels, not_finite, distinct, low, high, mean, deviation, quantiles, lowest, highest = answer
    known = replace(
        column,
        nulls=int(nulls),
        sentinels=int(sentinels) if sentinel(column.type) else None,
        not_finite=int(not_finite) if column.kind == NUMBER else None,
        # The estimate may exceed the number of rows.
        distinct=None if distinct is None else min(int(distinct), rows - int(nulls)),
    )
    # An aggregate over no rows returns a default, which would look like a value.
    left_out = not_finite if column.kind in (NUMBER, FLAG) else sentinels if column.kind == TIME else 0
    if rows - nulls - left_out <= 0:
        return Measured(known)
    known = replace(
        known,
        low=low,
        high=high,
        mean=_number(mean),
        deviation=_number(deviation),
        quantiles=tuple(float(level) for level in quantiles),
    )
    return Measured(known, *(math.nan if end is None else float(end) for end in (lowest, highest)))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
