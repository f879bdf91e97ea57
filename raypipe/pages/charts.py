"""Draw charts with axes as SVG: lines over days with intervals, columns, and curves against a diagonal.

A chart is 340 pixels wide, so that several stand side by side on a screen and a single one fills a phone. Values that
are missing or not finite leave a gap. A chart without any value is a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from raypipe.pages.figures import day as day_text
from raypipe.pages.figures import short
from raypipe.pages.markup import Markup, coordinate, element
from raypipe.pages.scales import Days, Linear, around

WIDTH, HEIGHT = 340, 160
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 22
# Room for a label at the end of a line.
LABEL = 64
# Lines are broken where more days lie between two values.
LONGEST_GAP = timedelta(days=45)
LETTER = 6.2
# The least distance of dots on a line.
DOT = 7.0


@dataclass(frozen=True)
class Point:
    """A value of a day with its interval; None where it is unknown."""

    day: date
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """A labelled line; `style` is a class of the style sheet: main, other or estimate."""

    label: str
    points: Sequence[Point]
    style: str = "main"


@dataclass(frozen=True)
class Mark:
    """A limit, as a horizontal line with its label, or an event, as a vertical line at its day."""

    label: str
    value: float = 0.0
    day: date | None = None


def figure(caption: str, *content: Markup | None, note: str = "") -> Markup:
    """Return a figure with its caption above and a note below."""
    below = element("p", note, class_="note") if note else None
    return element("figure", element("figcaption", caption), *content, below)


def empty(caption: str, reason: str) -> Markup:
    """Return a figure that says why there is nothing to draw."""
    return figure(caption, element("p", reason, class_="empty"))


def lines(
    caption: str,
    series: Sequence[Series],
    *,
    reason: str = "no values yet",
    zero: bool = False,
    marks: Sequence[Mark] = (),
    shown: Callable[[float | None], str] = short,
    note: str = "",
) -> Markup:
    """Return values over days with their intervals, each line labelled at its end."""
    known = [point for line in series for point in line.points if _finite(point.value)]
    if not known:
        return empty(caption, reason)
    right = LABEL if len(series) > 1 else RIGHT
    days = [point.day for point in known]
    x = Days(min(days), max(days), LEFT, WIDTH - right)
    spread = [value for point in known for value in (point.value, point.low, point.high) if _finite(value)]
    limits = [mark.value for mark in marks if mark.day is None]
    y = around([*(value for value in spread if value is not None), *limits], HEIGHT - BOTTOM, TOP, zero=zero)
    parts = [*_axes(x, y, shown), *_marks(marks, x, y, right)]
    for line in series:
        parts += _line(line, x, y, shown)
    if len(series) > 1:
        parts += _labels(series, x, y)
    return figure(caption, svg(_summary(caption, series, shown), *parts), note=note)


def columns(
    caption: str,
    bars: Sequence[tuple[str, float]],
    *,
    reason: str = "no rows yet",
    ends: tuple[str, str] | None = None,
    shown: Callable[[float | None], str] = short,
    note: str = "",
) -> Markup:
    """Return a column per labelled count; `ends` labels the two ends of the axis."""
    tallest = max((count for _, count in bars if _finite(count)), default=0.0)
    if tallest <= 0:
        return empty(caption, reason)
    y = Linear(0.0, tallest, HEIGHT - BOTTOM, TOP)
    wide = (WIDTH - LEFT - RIGHT) / len(bars)
    parts = _levels(y, shown)
    for at, (label, count) in enumerate(bars):
        if count > 0:
            # A few rows beside millions should remain visible.
            top = min(y(count), y(0) - 1)
            title = element("title", f"{label}: {shown(count)}")
            place = {"x": LEFT + at * wide, "y": top, "width": max(wide - 1, 0.5), "height": y(0) - top}
            parts.append(element("rect", title, class_="bar", **place))
    first, last = ends or (bars[0][0], bars[-1][0])
    parts += [_text(first, LEFT, HEIGHT - 6, "start"), _text(last, WIDTH - RIGHT, HEIGHT - 6, "end")]
    return figure(caption, svg(f"{caption}: {_highest(bars, shown)}", *parts), note=note)


def curve(
    caption: str,
    points: Sequence[tuple[float, float]],
    *,
    across: str,
    along: str,
    reason: str,
    diagonal: bool = True,
    shown: Callable[[float | None], str] = short,
    note: str = "",
) -> Markup:
    """Return points joined by a line; `across` and `along` name the axes, and the diagonal is the ideal."""
    known = [(x, y) for x, y in points if _finite(x) and _finite(y)]
    if not known:
        return empty(caption, reason)
    highest = max(max(pair) for pair in known)
    top = highest if diagonal else max(value for _, value in known)
    x = Linear(0.0, highest if diagonal else max(value for value, _ in known), LEFT, WIDTH - RIGHT)
    y = Linear(0.0, top or 1.0, HEIGHT - BOTTOM, TOP)
    parts = _levels(y, shown)
    if diagonal:
        ideal = {"x1": x(0), "y1": y(0), "x2": x(highest), "y2": y(highest)}
        parts.append(element("line", class_="ideal", **ideal))
    parts.append(element("path", class_="line main", d=path([(x(a), y(b)) for a, b in known])))
    for a, b in known:
        title = element("title", f"{across} {shown(a)}, {along} {shown(b)}")
        parts.append(element("circle", title, class_="dot main", cx=x(a), cy=y(b), r=3))
    parts += [_text(f"{across} →", WIDTH - RIGHT, HEIGHT - 6, "end"), _text(f"↑ {along}", LEFT + 4, TOP + 8, "start")]
    first, last = known[0], known[-1]
    label = f"{caption}: {along} from {shown(first[1])} to {shown(last[1])}, for {across} {shown(first[0])} to"
    return figure(caption, svg(f"{label} {shown(last[0])}", *parts), note=note)


def svg(label: str, *parts: Markup, width: float = WIDTH, height: float = HEIGHT, has_links: bool = False) -> Markup:
    """Return a drawing with the sentence that a screen reader says; a drawing with links is a group of them."""
    box = f"0 0 {coordinate(width)} {coordinate(height)}"
    return element(
        "svg",
        *parts,
        viewBox=box,
        width=coordinate(width),
        height=coordinate(height),
        role="group" if has_links else "img",
        aria_label=label,
    )


def path(points: Sequence[tuple[float, float]]) -> str:
    """Return the path of a line through points."""
    return "M" + "L".join(f"{coordinate(x)},{coordinate(y)}" for x, y in points)


def _line(line: Series, x: Days, y: Linear, shown: Callable[[float | None], str]) -> list[Markup]:
    parts: list[Markup] = []
    for piece in _pieces(line.points):
        band = [(point.day, point.low, point.high) for point in piece if _finite(point.low) and _finite(point.high)]
        if len(band) > 1:
            lows = [(x(day), y(low or 0.0)) for day, low, _ in band]
            highs = [(x(day), y(high or 0.0)) for day, _, high in band]
            parts.append(element("path", class_=f"band {line.style}", d=f"{path([*highs, *reversed(lows)])}Z"))
        places = [(x(point.day), y(point.value or 0.0)) for point in piece]
        if len(piece) > 1:
            parts.append(element("path", class_=f"line {line.style}", d=path(places)))
        # Dots that touch would hide the line.
        if len(piece) < 2 or (places[-1][0] - places[0][0]) / (len(piece) - 1) >= DOT:
            for point, (left, top) in zip(piece, places, strict=True):
                parts += _dot(line, point, left, top, y, shown, whisker=len(band) < 2)
    return parts


def _dot(
    line: Series,
    point: Point,
    left: float,
    top: float,
    y: Linear,
    shown: Callable[[float | None], str],
    *,
    whisker: bool,
) -> list[Markup]:
    parts = []
    span = ""
    if point.low is not None and point.high is not None and _finite(point.low) and _finite(point.high):
        span = f" ({shown(point.low)} to {shown(point.high)})"
        if whisker:
            ends = {"x1": left, "x2": left, "y1": y(point.low), "y2": y(point.high)}
            parts.append(element("line", class_=f"whisker {line.style}", **ends))
    title = element("title", f"{day_text(point.day)}, {line.label}: {shown(point.value)}{span}")
    return [*parts, element("circle", title, class_=f"dot {line.style}", cx=left, cy=top, r=2.5)]


def _pieces(points: Sequence[Point]) -> list[list[Point]]:
    """Split a line where values are missing, or days far apart."""
    pieces: list[list[Point]] = [[]]
    for point in sorted(points, key=lambda point: point.day):
        if not _finite(point.value):
            pieces.append([])
        elif pieces[-1] and point.day - pieces[-1][-1].day > LONGEST_GAP:
            pieces.append([point])
        else:
            pieces[-1].append(point)
    return [piece for piece in pieces if piece]


def _labels(series: Sequence[Series], x: Days, y: Linear) -> list[Markup]:
    """Label each line at its last value; labels that would overlap move down."""
    ends = []
    for line in series:
        known = [point for point in line.points if _finite(point.value)]
        if known:
            last = max(known, key=lambda point: point.day)
            ends.append((y(last.value or 0.0), x(last.day), line))
    ends.sort(key=lambda end: end[0])
    parts, lowest = [], -math.inf
    for top, left, line in ends:
        lowest = max(top + 4, lowest + 12)
        parts.append(element("text", line.label, class_=f"label {line.style}", x=left + 6, y=lowest))
    return parts


def _axes(x: Days, y: Linear, shown: Callable[[float | None], str]) -> list[Markup]:
    parts = _levels(y, shown)
    for day, label in x.ticks():
        left = x(day)
        anchor = "start" if left < LEFT + 12 else "end" if left > WIDTH - 24 else "middle"
        parts.append(_text(label, left, HEIGHT - 6, anchor))
    return parts


def _levels(y: Linear, shown: Callable[[float | None], str]) -> list[Markup]:
    parts = []
    for value in y.ticks(3):
        parts.append(element("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y(value), y2=y(value)))
        parts.append(_text(shown(value), LEFT - 6, y(value) + 3.5, "end"))
    return parts


def _marks(marks: Sequence[Mark], x: Days, y: Linear, right: float) -> list[Markup]:
    parts = []
    for mark in marks:
        if mark.day is None:
            parts.append(element("line", class_="limit", x1=LEFT, x2=WIDTH - right, y1=y(mark.value), y2=y(mark.value)))
            end = {"x": float(WIDTH - right), "y": y(mark.value) - 4}
            parts.append(element("text", mark.label, class_="limit", text_anchor="end", **end))
        elif x.first <= mark.day <= x.last:
            title = element("title", f"{day_text(mark.day)}: {mark.label}")
            at = x(mark.day)
            parts.append(element("line", title, class_="event", x1=at, x2=at, y1=TOP, y2=HEIGHT - BOTTOM))
    return parts


def _text(words: str, x: float, y: float, anchor: str) -> Markup:
    return element("text", words, x=float(x), y=float(y), text_anchor=anchor)


def _summary(caption: str, series: Sequence[Series], shown: Callable[[float | None], str]) -> str:
    """Return the chart in a sentence per line, for a screen reader."""
    parts = []
    for line in series:
        known = sorted((point for point in line.points if _finite(point.value)), key=lambda point: point.day)
        if known:
            first, last = known[0], known[-1]
            span = f"{shown(first.value)} on {day_text(first.day)}"
            until = f", {shown(last.value)} on {day_text(last.day)}" if first is not last else ""
            parts.append(f"{line.label}: {span}{until}")
    return f"{caption}. {'; '.join(parts)}"


def _highest(bars: Sequence[tuple[str, float]], shown: Callable[[float | None], str]) -> str:
    label, count = max(bars, key=lambda bar: bar[1])
    return f"{len(bars)} columns, the highest at {label} with {shown(count)}"


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
