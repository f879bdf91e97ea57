"""Test the charts: marks where the values are, words where there are none."""

from __future__ import annotations

import math
import re
from datetime import date, timedelta

import pytest

from raypipe.pages import charts, grids
from raypipe.pages.charts import Mark, Point, Series
from raypipe.pages.grids import Cell, Estimate, Span
from raypipe.pages.markup import Markup

FIRST = date(2026, 1, 1)
NOTHING = [Point(FIRST, None), Point(FIRST + timedelta(1), math.nan)]


def days(*values: float | None) -> list[Point]:
    return [Point(FIRST + timedelta(at), value) for at, value in enumerate(values)]


def require_drawable(html: Markup) -> None:
    """Require that no coordinate is NaN or infinite."""
    assert not re.search(r"\b(nan|inf|None)\b", html, re.IGNORECASE)


@pytest.mark.parametrize("points", [[], NOTHING], ids=["none", "all NaN"])
def test_a_chart_without_values_is_a_sentence(points: list[Point]) -> None:
    html = charts.lines("AUC", [Series("measured", points)], reason="no outcomes yet")
    assert "no outcomes yet" in html
    assert "<svg" not in html


def test_missing_values_break_the_line_instead_of_falling_to_zero() -> None:
    html = charts.lines("AUC", [Series("measured", days(0.8, 0.81, None, math.nan, 0.79, 0.8))])
    require_drawable(html)
    assert len(re.findall(r'<path class="line main"', html)) == 2


def test_a_single_day_is_a_dot_with_its_whisker() -> None:
    html = charts.lines("AUC", [Series("measured", [Point(FIRST, 0.8, 0.7, 0.9)])])
    require_drawable(html)
    assert html.count("<circle") == 1
    assert "whisker" in html
    assert "1 Jan 2026, measured: 0.8 (0.7 to 0.9)" in html


def test_dots_of_a_year_do_not_hide_the_line() -> None:
    html = charts.lines("rows", [Series("rows", days(*(float(at % 9) for at in range(365))))])
    assert "<circle" not in html


def test_a_screen_reader_hears_the_first_and_the_last_value() -> None:
    html = charts.lines("AUC", [Series("measured", days(0.8, 0.7))], marks=[Mark("alert", 0.75)])
    assert 'aria-label="AUC. measured: 0.8 on 1 Jan 2026, 0.7 on 2 Jan 2026"' in html
    assert "alert" in html


def test_columns_are_as_tall_as_their_counts_and_a_few_rows_stay_visible() -> None:
    html = charts.columns("scores", [("a", 1_000_000.0), ("b", 1.0), ("c", 0.0)])
    heights = [float(height) for height in re.findall(r'height="([\d.]+)"><title>', html)]
    assert heights == [126.0, 1.0]
    assert "no rows yet" in charts.columns("scores", [("a", 0.0)])


def test_a_curve_without_points_says_why() -> None:
    html = charts.curve("lift", [], across="rows", along="positives", reason="there is no positive outcome")
    assert "there is no positive outcome" in html
    require_drawable(charts.curve("lift", [(0.0, 0.0)], across="rows", along="positives", reason=""))


def test_neighbouring_cells_without_words_are_one_rectangle() -> None:
    cells = {FIRST + timedelta(at): Cell("good") for at in range(90)}
    html = grids.grid("nights", {"churn": cells}, label="", reason="")
    assert html.count('class="cell good"') == 1
    cells[FIRST + timedelta(40)] = Cell("bad", "failed")
    html = grids.grid("nights", {"churn": cells}, label="", reason="")
    assert (html.count('class="cell good"'), html.count('class="cell bad"')) == (2, 1)
    assert "10 Feb 2026: failed" in html
    assert "no night yet" in grids.grid("nights", {}, label="", reason="no night yet")


def test_intervals_leave_out_what_is_unknown() -> None:
    known = [Estimate("a", 0.5, 0.4, 0.6), Estimate("b", None), Estimate("c", math.nan), Estimate("d", 0.3)]
    html = grids.intervals("AUC", known, reason="", reference=0.5)
    require_drawable(html)
    assert html.count("<circle") == 2
    assert "nobody" in grids.intervals("AUC", [Estimate("b", None)], reason="nobody")


def test_a_period_of_one_day_fills_the_axis() -> None:
    require_drawable(grids.spans("champions", [Span("v1", FIRST, FIRST)], reason=""))
    assert "none yet" in grids.spans("champions", [], reason="none yet")


def test_a_bar_of_nothing_is_nothing() -> None:
    assert [grids.bar(value, 1.0) for value in (None, math.nan, 0.0)] == ["", "", ""]
    assert grids.bar(0.5, 0.0) == ""
    assert 'width="50"' in grids.bar(-0.5, 1.0)
