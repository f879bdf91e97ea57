"""Draw charts of rows: a heat map of days, strips of nights, periods, intervals, and tables with bars."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from raypipe.pages import charts
from raypipe.pages.charts import figure, svg
from raypipe.pages.figures import day as day_text
from raypipe.pages.figures import short
from raypipe.pages.markup import Markup, coordinate, element
from raypipe.pages.scales import Days, Linear, around

ROW, NAME, LEFT = 16, 190, 4
DAY = timedelta(days=1)
# A night's width, from a few nights to a year.
WIDEST, NARROWEST = 14.0, 2.4
ROOM = 880
SHORTEST_NAME = 26


@dataclass(frozen=True)
class Cell:
    """A cell of a grid: the class of its colour, and the words for a pointer over it."""

    style: str
    title: str = ""


@dataclass(frozen=True)
class Span:
    """A labelled period; `last` is its last day."""

    label: str
    first: date
    last: date
    title: str = ""
    style: str = "main"


@dataclass(frozen=True)
class Estimate:
    """A labelled value with its interval."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""


def grid(
    caption: str,
    rows: Mapping[str, Mapping[date, Cell]],
    *,
    label: str,
    reason: str,
    first: date | None = None,
    note: str = "",
) -> Markup:
    """Return a row per name with a cell per day; days without a cell stay empty. Names stand beside the newest day.

    Neighbouring cells of one colour and without words are one rectangle, which keeps a year of nights small.
    """
    days = [day for cells in rows.values() for day in cells]
    if not days:
        return charts.empty(caption, reason)
    begin, end = first or min(days), max(days)
    count = (end - begin).days + 1
    step = min(WIDEST, max(NARROWEST, ROOM / count))
    width, height = NAME + count * step + 8, len(rows) * ROW + 24
    parts = []
    for at, (name, cells) in enumerate(rows.items()):
        shown = name if len(name) <= SHORTEST_NAME else f"{name[: SHORTEST_NAME - 1]}…"
        words = element("text", element("title", name), shown, x=LEFT + count * step + 8, y=at * ROW + 12.0)
        parts.append(words)
        parts += _cells(cells, begin, count, step, at)
    axis = Days(begin, end, LEFT + step / 2, LEFT + (count - 0.5) * step)
    most = max(2, min(12, int(count * step / 60)))
    for day, words_ in axis.ticks(most):
        anchor = "start" if axis(day) < LEFT + 20 else "middle"
        parts.append(element("text", words_, x=axis(day), y=height - 8.0, text_anchor=anchor))
    drawing = svg(label, *parts, width=width, height=height)
    return figure(
        caption, element("div", drawing, class_="wide newest", tabindex=0, role="group", aria_label=caption), note=note
    )


def _cells(cells: Mapping[date, Cell], begin: date, count: int, step: float, row: int) -> list[Markup]:
    parts: list[Markup] = []
    at = 0
    while at < count:
        cell = cells.get(begin + at * DAY)
        last = at + 1
        if cell is not None:
            while not cell.title and last < count and cells.get(begin + last * DAY) == cell:
                last += 1
            title = element("title", f"{day_text(begin + at * DAY)}: {cell.title}") if cell.title else None
            gap = 1.0 if step > 5 else 0.0
            place = {"x": LEFT + at * step, "y": row * ROW + 1, "width": (last - at) * step - gap, "height": ROW - 2}
            parts.append(element("rect", title, class_=f"cell {cell.style}", **place))
        at = last
    return parts


def spans(caption: str, periods: Sequence[Span], *, reason: str, note: str = "") -> Markup:
    """Return periods on a time axis, one row each, the newest first."""
    if not periods:
        return charts.empty(caption, reason)
    width, height = 2 * charts.WIDTH, len(periods) * 22 + 24
    x = Days(min(span.first for span in periods), max(span.last for span in periods), 8, width - 8)
    parts = []
    for at, span in enumerate(periods):
        left, right = x(span.first), x(span.last)
        if x.first == x.last:
            left, right = 8, width - 8
        bar = {"x": left, "y": at * 22 + 2, "width": max(right - left, 3.0), "height": 18}
        title = element("title", span.title or span.label)
        parts.append(element("rect", title, class_=f"span {span.style}", rx=2, **bar))
        wide = len(span.label) * charts.LETTER
        place, anchor = _beside(left, right, wide, width)
        inside = " inside" if anchor == "start" and place < right and span.style == "main" else ""
        parts.append(element("text", span.label, class_=f"span{inside}", x=place, y=at * 22 + 15, text_anchor=anchor))
    for day, words in x.ticks(6):
        anchor = "start" if x(day) < 40 else "end" if x(day) > width - 40 else "middle"
        parts.append(element("text", words, x=x(day), y=height - 6, text_anchor=anchor))
    label = f"{caption}. " + "; ".join(f"{s.label}, {day_text(s.first)} to {day_text(s.last)}" for s in periods[:5])
    drawing = svg(label, *parts, width=width, height=height)
    return figure(
        caption, element("div", drawing, class_="wide newest", tabindex=0, role="group", aria_label=caption), note=note
    )


def _beside(left: float, right: float, wide: float, width: float) -> tuple[float, str]:
    """Return the place of a span's label: inside, behind it, or in front of it."""
    if right - left > wide + 12:
        return left + 6, "start"
    if right + wide + 8 < width:
        return right + 6, "start"
    return left - 6, "end"


def intervals(
    caption: str,
    estimates: Sequence[Estimate],
    *,
    reason: str,
    reference: float | None = None,
    shown: Callable[[float | None], str] = short,
    note: str = "",
) -> Markup:
    """Return a dot with its interval per row, beside a line at the reference."""
    known = [item for item in estimates if item.value is not None and math.isfinite(item.value)]
    if not known:
        return charts.empty(caption, reason)
    name, height = 176, len(known) * 24 + 24
    ends = [value for item in known for value in (item.value, item.low, item.high) if value is not None]
    finite = [value for value in (*ends, *(() if reference is None else (reference,))) if math.isfinite(value)]
    x = around(finite, name, charts.WIDTH - 14)
    parts = [element("text", shown(value), x=x(value), y=height - 6, text_anchor="middle") for value in x.ticks(3)]
    if reference is not None:
        parts.append(element("line", class_="ideal", x1=x(reference), x2=x(reference), y1=2, y2=height - 20))
    for at, item in enumerate(known):
        parts += _estimate(item, x, at * 24 + 14, name, shown)
    label = f"{caption}. " + "; ".join(f"{item.label} {shown(item.value)}" for item in known[:8])
    return figure(caption, svg(label, *parts, height=height), note=note)


def _estimate(item: Estimate, x: Linear, y: float, name: float, shown: Callable[[float | None], str]) -> list[Markup]:
    words = item.label if len(item.label) <= 27 else f"{item.label[:26]}…"
    parts = [element("text", element("title", item.label), words, x=name - 10, y=y + 4, text_anchor="end")]
    span = ""
    if item.low is not None and item.high is not None and math.isfinite(item.low) and math.isfinite(item.high):
        span = f" ({shown(item.low)} to {shown(item.high)})"
        parts.append(element("line", class_="whisker main", x1=x(item.low), x2=x(item.high), y1=y, y2=y))
    title = element("title", f"{item.label}: {shown(item.value)}{span}{f', {item.note}' if item.note else ''}")
    return [*parts, element("circle", title, class_="dot main", cx=x(item.value or 0.0), cy=y, r=4)]


def bar(value: float | None, largest: float) -> Markup:
    """Return a bar for a cell of a table; nothing for a value that is unknown or 0."""
    if value is None or not math.isfinite(value) or not value or largest <= 0:
        return Markup("")
    width = coordinate(max(100 * abs(value) / largest, 1.0))
    mark = element("rect", class_="bar" if value > 0 else "bar minus", width=width, height=10)
    return element("svg", mark, viewBox="0 0 100 10", width=100, height=10, aria_hidden="true")
