"""Describe the distribution of a table's values: frequent values, and histograms of numbers and times."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from raypipe.explore.facts import ColumnProfile, Histogram, Value
from raypipe.explore.kinds import FLAG, NUMBER, TEXT, TIME
from raypipe.explore.measures import Measured, missing
from raypipe.explore.questions import Questions, Unanswered
from raypipe.explore.sample import RowSource

MOST_DISTINCT = 10_000
MOST_VALUES = 10
LONGEST_VALUE = 200
BINS = 20
# A range this many times as wide as the middle 98 % is cut to them: a single outlier would leave one bar.
STRETCH = 3.0

Part = Callable[[int, Measured, RowSource], str]
# By column, its values or bins with their counts.
Counts = dict[str, list[tuple[str, int]]]


def spread(questions: Questions, source: RowSource, measured: Sequence[Measured]) -> list[ColumnProfile]:
    """Return the columns with their frequent values and histograms."""
    columns = {item.column.column: item.column for item in measured}
    few = [item for item in measured if _has_few(item.column)]
    for name, counts in _counted(questions, few, _frequent, source, columns).items():
        values = tuple(Value(value, int(count)) for value, count in counts)
        columns[name] = replace(columns[name], values=values)
    ranged = {item.column.column: item for item in measured if span(item) is not None}
    for name, counts in _counted(questions, list(ranged.values()), _bins, source, columns).items():
        columns[name] = replace(columns[name], histogram=_histogram(ranged[name], counts))
    return list(columns.values())


def _counted(
    questions: Questions, wanted: Sequence[Measured], part: Part, source: RowSource, columns: dict[str, ColumnProfile]
) -> Counts:
    """Count the values of each column; a column whose query fails gets the error instead."""
    answers: Counts = {}
    for start in range(0, len(wanted), questions.limits.columns_per_query):
        some = wanted[start : start + questions.limits.columns_per_query]
        try:
            answers |= _union(questions, some, part, source)
        except Unanswered:
            for item in some:
                name = item.column.column
                try:
                    answers |= _union(questions, [item], part, source)
                except Unanswered as error:
                    columns[name] = replace(columns[name], error=error.problem)
    return answers


def _union(questions: Questions, some: Sequence[Measured], part: Part, source: RowSource) -> Counts:
    sql = " UNION ALL ".join(f"({part(number, item, source)})" for number, item in enumerate(some))
    counts: Counts = {item.column.column: [] for item in some}
    for number, value, count in questions.rows(sql):
        counts[some[int(number)].column.column].append((value, count))
    # The parts of a UNION come in any order.
    return {name: sorted(pairs, key=lambda pair: (-pair[1], pair[0])) for name, pairs in counts.items()}


def _has_few(column: ColumnProfile) -> bool:
    return column.kind in (NUMBER, FLAG, TEXT) and column.distinct is not None and 0 < column.distinct <= MOST_DISTINCT


def _frequent(number: int, item: Measured, source: RowSource) -> str:
    text = "CAST(toString(v), 'String')"
    return (
        f"SELECT toUInt32({number}) AS i,"
        f" if(lengthUTF8({text}) > {LONGEST_VALUE}, concat(leftUTF8({text}, {LONGEST_VALUE}), '…'), {text}) AS value, n"
        f" FROM (SELECT assumeNotNull(v0) AS v, count() AS n FROM {source.relation([item.column.column])}"
        f" WHERE isNotNull(v0) GROUP BY v ORDER BY n DESC, v LIMIT {MOST_VALUES})"
    )


def span(item: Measured) -> tuple[float, float] | None:
    """Return the range of a column's histogram, or None."""
    if item.column.kind not in (NUMBER, TIME) or not (math.isfinite(item.low) and item.low < item.high):
        return None
    if len(item.column.quantiles) > 1:
        first, last = item.column.quantiles[0], item.column.quantiles[-1]
        if first < last and item.high - item.low > STRETCH * (last - first):
            return first, last
    return item.low, item.high


def _bins(number: int, item: Measured, source: RowSource) -> str:
    low, high = span(item) or (0.0, 1.0)
    value = "assumeNotNull(toFloat64(v0))"
    left_out = f" AND NOT ({missing('v0', item.column.type)})" if item.column.kind == TIME else ""
    # Bins become text only after counting: to write a million numbers takes longer than to count them.
    return (
        f"SELECT toUInt32({number}) AS i, toString(bin) AS value, n"
        f" FROM (SELECT widthBucket({value}, {low!r}, {high!r}, {BINS}) AS bin, count() AS n"
        f" FROM {source.relation([item.column.column])}"
        f" WHERE isNotNull(v0) AND isFinite(toFloat64(v0)){left_out} GROUP BY bin)"
    )


def _histogram(item: Measured, bins: Sequence[tuple[str, int]]) -> Histogram:
    low, high = span(item) or (0.0, 1.0)
    counts = [0] * (BINS + 2)
    for bin_, count in bins:
        counts[int(bin_)] += int(count)
    below, *inner, above = counts
    if high >= item.high:
        # widthBucket counts the largest value as beyond the last bin.
        inner[-1] += above
        above = 0
    return Histogram(low, high, tuple(inner), below, above)
