"""Place the marks of a column's plots.

A database has thousands of columns. A bar chart of twenty rectangles takes two kilobytes of SVG; a plotting library
would take ten or more, tens of milliseconds per plot, and another dependency.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from raypipe.clickhouse.column_types import bare
from raypipe.explore.facts import ColumnProfile, Correlations
from raypipe.explore.kinds import TIME

WIDTH, HEIGHT = 160.0, 36.0
CELL = 14.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A weaker correlation is not worth a line, nor is a longer list.
WEAKEST, STRONGEST = 0.3, 10


@dataclass(frozen=True)
class Rectangle:
    """A mark, in pixels from the plot's upper left corner, with the title for a pointer over it.

    Attributes:
        style: a class of the style sheet.
        strength: the opacity, from 0 to 1.
    """

    x: float
    y: float
    width: float
    height: float
    title: str
    style: str = ""
    strength: float = 1.0


def bars(column: ColumnProfile) -> list[Rectangle]:
    """Return the bars of a column's histogram; the first and the last bar count the values outside."""
    histogram = column.histogram
    if histogram is None or not histogram.counts:
        return []
    step = (histogram.high - histogram.low) / len(histogram.counts)
    edges = [histogram.low + number * step for number in range(len(histogram.counts) + 1)]
    named = [
        (f"below {edge(edges[0], column)}", histogram.below),
        *(
            (f"{edge(low, column)} to {edge(high, column)}", count)
            for low, high, count in zip(edges, edges[1:], histogram.counts, strict=False)
        ),
        (f"above {edge(edges[-1], column)}", histogram.above),
    ]
    tallest = max(count for _, count in named) or 1
    wide = WIDTH / len(named)
    return [
        Rectangle(
            round(number * wide, 1),
            round(HEIGHT * (1 - count / tallest), 1),
            round(wide - 1, 1),
            # A few rows beside millions should remain visible.
            round(max(1.0, HEIGHT * count / tallest), 1),
            f"{title}: {count:,} rows",
            "outside" if number in (0, len(named) - 1) else "",
        )
        for number, (title, count) in enumerate(named)
        if count
    ]


def edge(value: float, column: ColumnProfile) -> str:
    """Format the edge of a histogram's bin."""
    if column.kind != TIME:
        return f"{value:.4g}"
    days = bare(column.type) in ("Date", "Date32")
    try:
        moment = EPOCH + (timedelta(days=value) if days else timedelta(seconds=value))
    except OverflowError:
        return f"{value:.4g}"
    return f"{moment:%Y-%m-%d}" if days else f"{moment:%Y-%m-%d %H:%M}"


def cells(correlations: Correlations) -> list[Rectangle]:
    """Return the lower triangle of a correlation matrix: one colour per sign, pale for weak."""
    names = correlations.columns
    return [
        Rectangle(
            column * CELL,
            row * CELL,
            CELL - 1,
            CELL - 1,
            f"{names[row]} and {names[column]}: {value:.2f}",
            "positive" if value >= 0 else "negative",
            round(abs(value), 2),
        )
        for row in range(len(names))
        for column in range(row)
        if (value := correlations.matrix[row][column]) is not None and not math.isnan(value)
    ]


def strongest(correlations: Correlations) -> list[tuple[str, str, float]]:
    """Return the pairs of columns with the strongest correlation, of either sign."""
    pairs = [
        (name, correlations.columns[other], value)
        for row, name in enumerate(correlations.columns)
        for other in range(row)
        if (value := correlations.matrix[row][other]) is not None and abs(value) >= WEAKEST
    ]
    return sorted(pairs, key=lambda pair: -abs(pair[2]))[:STRONGEST]
