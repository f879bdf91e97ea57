"""Test the positions of the plots' marks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raypipe.explore import plots
from raypipe.explore.facts import ColumnProfile, Correlations, Histogram

AGE = ColumnProfile("age", "UInt8", "number", histogram=Histogram(0.0, 4.0, (5, 0, 10, 1), below=0, above=2))


def test_a_bars_height_is_its_share_of_the_tallest() -> None:
    bars = plots.bars(AGE)
    assert [(bar.title, bar.height) for bar in bars] == [
        ("0 to 1: 5 rows", plots.HEIGHT / 2),
        ("2 to 3: 10 rows", plots.HEIGHT),
        ("3 to 4: 1 rows", pytest.approx(plots.HEIGHT / 10)),
        ("above 4: 2 rows", pytest.approx(plots.HEIGHT / 5)),
    ]
    assert [bar.style for bar in bars] == ["", "", "", "outside"]
    assert all(bar.y + bar.height == pytest.approx(plots.HEIGHT) for bar in bars)


def test_a_few_rows_beside_millions_can_still_be_seen() -> None:
    column = replace(AGE, histogram=Histogram(0.0, 2.0, (10_000_000, 1), 0, 0))
    assert plots.bars(column)[1].height == 1.0


def test_a_column_without_a_histogram_has_no_bars() -> None:
    assert plots.bars(replace(AGE, histogram=None)) == []


@pytest.mark.parametrize(
    ("kind", "type_", "value", "text"),
    [
        ("time", "Date", 20484.0, "2026-01-31"),
        ("time", "Nullable(DateTime)", 1769860800.0, "2026-01-31 12:00"),
        ("time", "Date32", -25567.0, "1900-01-01"),
        ("time", "DateTime64(3)", 1e20, "1e+20"),
        ("number", "Float32", 0.123456, "0.1235"),
    ],
)
def test_an_edge_is_written_for_people(kind: str, type_: str, value: float, text: str) -> None:
    assert plots.edge(value, ColumnProfile("c", type_, kind)) == text


def test_a_matrix_is_drawn_below_its_diagonal_without_what_is_unknown() -> None:
    matrix = ((1.0, -0.5, None), (-0.5, 1.0, 0.9), (None, 0.9, 1.0))
    known = Correlations(("a", "b", "c"), matrix)
    assert [(cell.title, cell.style, cell.strength) for cell in plots.cells(known)] == [
        ("b and a: -0.50", "negative", 0.5),
        ("c and b: 0.90", "positive", 0.9),
    ]
    assert plots.strongest(known) == [("c", "b", 0.9), ("b", "a", -0.5)]
