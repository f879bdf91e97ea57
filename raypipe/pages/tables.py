"""Write tables that can be read aloud, sorted and searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raypipe.pages.markup import Child, Markup, element

# A shorter table needs no search.
SEARCHED = 20


@dataclass(frozen=True)
class Column:
    """A column: its heading, and whether it holds numbers, which stand to the right."""

    label: str
    numeric: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell: the words shown, the value to sort by where the words would sort wrongly, and a class."""

    shown: Child
    key: str | int | float | None = None
    style: str = ""


def table(
    caption: str,
    columns: Sequence[Column | str],
    rows: Sequence[Sequence[Cell | Child]],
    *,
    empty: str = "Nothing yet.",
    sortable: bool = True,
    hidden: bool = False,
) -> Markup:
    """Return a table; its first column names the row.

    Args:
        empty: the sentence in place of a table without rows.
        hidden: whether the caption is for screen readers alone, where a heading says the same.
    """
    if not rows:
        return element("p", empty, class_="empty")
    heads = [column if isinstance(column, Column) else Column(column) for column in columns]
    head = [_head(column) for column in heads]
    body = [element("tr", [_cell(value, heads[at], at) for at, value in enumerate(row)]) for row in rows]
    drawn = element(
        "table",
        element("caption", caption, class_="unseen" if hidden else None),
        element("thead", element("tr", head)),
        element("tbody", body),
        data_sortable=sortable and len(rows) > 1,
        data_searchable=caption if len(rows) >= SEARCHED else None,
    )
    wide = element("div", drawn, class_="wide", tabindex=0, role="group", aria_label=caption)
    return element("div", wide, class_="listing")


def _head(column: Column) -> Markup:
    """Return the heading of a column; bars and the like have none."""
    if not column.label:
        return element("td")
    return element("th", column.label, scope="col", class_="n" if column.numeric else None)


def _cell(value: Cell | Child, column: Column, at: int) -> Markup:
    cell = value if isinstance(value, Cell) else Cell(value)
    styles = " ".join(filter(None, ("n" if column.numeric else "", cell.style)))
    name = "td" if at else "th"
    key = None if cell.key is None else str(cell.key)
    return element(name, cell.shown, scope=None if at else "row", class_=styles or None, data_key=key)


def facts(pairs: Sequence[tuple[str, Child]]) -> Markup:
    """Return labelled values as a description list."""
    items = [element("div", element("dt", label), element("dd", value)) for label, value in pairs]
    return element("dl", items, class_="facts")
