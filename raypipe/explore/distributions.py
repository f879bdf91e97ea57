"""How a table's values are spread: frequent values of columns with few, histograms of numbers and times."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from raypipe.explore.facts import Column, Histogram, Value
from raypipe.explore.kinds import FLAG, NUMBER, TEXT, TIME
from raypipe.explore.measures import Measured, missing
from raypipe.explore.questions import Questions, Unanswered
from raypipe.explore.sample import Source

MOST_DISTINCT = 10_000
MOST_VALUES = 10
LONGEST_VALUE = 200
BINS = 20
# A range this many times as wide as that of the middle 98 % is cut to the latter: a single outlier would leave one bar.
STRETCH = 3.0

Part = Callable[[int, Measured], str]


def spread(questions: Questions, source: Source, measured: Sequence[Measured]) -> list[Column]:
    """The columns with their frequent values and histograms."""
    columns = {one.column.column: one.column for one in measured}
    few = [one for one in measured if _has_few(one.column)]
    for name, rows in _asked(questions, few, lambda number, one: _frequent(number, one, source), columns):
        values = tuple(Value(value, int(count)) for value, count in rows)
        columns[name] = replace(columns[name], values=values)
    ranged = [one for one in measured if span(one) is not None]
    for name, rows in _asked(questions, ranged, lambda number, one: _bins(number, one, source), columns):
        one = next(one for one in ranged if one.column.column == name)
        columns[name] = replace(columns[name], histogram=_histogram(one, rows))
    return list(columns.values())


def _asked(
    questions: Questions, wanted: Sequence[Measured], part: Part, columns: dict[str, Column]
) -> list[tuple[str, list[tuple[str, int]]]]:
    """For each column its rows of two; a column whose query fails gets the error instead."""
    answers: list[tuple[str, list[tuple[str, int]]]] = []
    for start in range(0, len(wanted), questions.limits.columns_per_query):
        some = wanted[start : start + questions.limits.columns_per_query]
        try:
            found = _union(questions, some, part)
        except Unanswered:
            found = {}
            for one in some:
                try:
                    found.update(_union(questions, [one], part))
                except Unanswered as error:
                    columns[one.column.column] = replace(columns[one.column.column], error=error.problem)
        answers += found.items()
    return answers


def _union(questions: Questions, some: Sequence[Measured], part: Part) -> dict[str, list[tuple[str, int]]]:
    rows: list[tuple[Any, ...]] = questions.rows(
        " UNION ALL ".join(f"({part(number, one)})" for number, one in enumerate(some))
    )
    found: dict[str, list[tuple[str, int]]] = {one.column.column: [] for one in some}
    for number, value, count in rows:
        found[some[int(number)].column.column].append((value, count))
    # The parts of a UNION come in any order.
    return {name: sorted(pairs, key=lambda pair: (-pair[1], pair[0])) for name, pairs in found.items()}


def _has_few(column: Column) -> bool:
    return column.kind in (NUMBER, FLAG, TEXT) and column.distinct is not None and 0 < column.distinct <= MOST_DISTINCT


def _frequent(number: int, one: Measured, source: Source) -> str:
    text = "CAST(toString(v), 'String')"
    return (
        f"SELECT toUInt32({number}) AS i,"
        f" if(lengthUTF8({text}) > {LONGEST_VALUE}, concat(leftUTF8({text}, {LONGEST_VALUE}), '…'), {text}) AS value, n"
        f" FROM (SELECT assumeNotNull(v0) AS v, count() AS n FROM {source.relation([one.column.column])}"
        f" WHERE isNotNull(v0) GROUP BY v ORDER BY n DESC, v LIMIT {MOST_VALUES})"
    )


def span(one: Measured) -> tuple[float, float] | None:
    """From where to where a column's histogram goes; None for a column without."""
    if one.column.kind not in (NUMBER, TIME) or not (math.isfinite(one.low) and one.low < one.high):
        return None
    if len(one.column.quantiles) > 1:
        first, last = one.column.quantiles[0], one.column.quantiles[-1]
        if first < last and one.high - one.low > STRETCH * (last - first):
            return first, last
    return one.low, one.high


def _bins(number: int, one: Measured, source: Source) -> str:
    low, high = span(one) or (0.0, 1.0)
    value = "assumeNotNull(toFloat64(v0))"
    left_out = f" AND NOT ({missing('v0', one.column.type)})" if one.column.kind == TIME else ""
    # Text only where a row is a bin: to write a million numbers takes longer than to count them.
    return (
        f"SELECT toUInt32({number}) AS i, toString(bin) AS value, n"
        f" FROM (SELECT widthBucket({value}, {low!r}, {high!r}, {BINS}) AS bin, count() AS n"
        f" FROM {source.relation([one.column.column])}"
        f" WHERE isNotNull(v0) AND isFinite(toFloat64(v0)){left_out} GROUP BY bin)"
    )


def _histogram(one: Measured, rows: Sequence[tuple[str, int]]) -> Histogram:
    low, high = span(one) or (0.0, 1.0)
    counts = [0] * (BINS + 2)
    for bin_, count in rows:
        counts[int(bin_)] += int(count)
    below, *inner, above = counts
    if high >= one.high:
        # The last bin ends with the largest value, which widthBucket counts as beyond it.
        inner[-1] += above
        above = 0
    return Histogram(low, high, tuple(inner), below, above)
