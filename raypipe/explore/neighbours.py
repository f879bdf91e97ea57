"""Draw a table with its neighbours: left the tables that it refers to, right the tables that refer to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raypipe.explore.facts import Relation
from raypipe.pages.charts import LETTER, svg
from raypipe.pages.figures import plural, share
from raypipe.pages.markup import Markup, element

ROW, HEIGHT, WIDE, GAP, MARGIN = 30, 22, 210, 70, 4
# More neighbours on a side are counted, not drawn.
MOST = 12
HOLDS = 0.99


def draw(table: str, relations: Sequence[Relation], anchors: Mapping[str, str]) -> Markup | None:
    """Return the drawing of a table's references with at least one known value; None without any.

    Args:
        anchors: the id of each table's section; a neighbour's box leads there.
    """
    parents = _by_table([item for item in relations if item.table == table and item.parent != table], "parent")
    children = _by_table([item for item in relations if item.parent == table and item.table != table], "table")
    if not parents and not children:
        return None
    rows = max(min(len(parents), MOST + 1), min(len(children), MOST + 1), 1)
    width, height = 3 * WIDE + 2 * GAP + 2 * MARGIN, rows * ROW + MARGIN
    middle = (height - HEIGHT) / 2
    parts = [*_side(parents, MARGIN, anchors, rows, middle, leads_left=True)]
    parts += _side(children, MARGIN + 2 * (WIDE + GAP), anchors, rows, middle, leads_left=False)
    parts.append(_box(table, MARGIN + WIDE + GAP, middle, None, chosen=True))
    refers = f"{table} refers to {plural(len(parents), 'table')}: {', '.join(parents) or 'none'}"
    label = f"{refers}. Tables that refer to it: {', '.join(children) or 'none'}."
    return element(
        "div",
        svg(label, *parts, width=width, height=height, has_links=True),
        class_="wide",
        tabindex=0,
        role="group",
        aria_label=label,
    )


def _by_table(relations: Sequence[Relation], side: str) -> dict[str, list[Relation]]:
    found: dict[str, list[Relation]] = {}
    for relation in relations:
        if relation.coverage:
            found.setdefault(getattr(relation, side), []).append(relation)
    return dict(sorted(found.items()))


def _side(
    tables: Mapping[str, Sequence[Relation]],
    x: float,
    anchors: Mapping[str, str],
    rows: int,
    middle: float,
    *,
    leads_left: bool,
) -> list[Markup]:
    shown = list(tables.items())[:MOST]
    more = len(tables) - len(shown)
    parts = []
    top = (rows - len(shown) - bool(more)) * ROW / 2
    for at, (name, relations) in enumerate(shown):
        y = top + at * ROW + MARGIN
        start, end = (x + WIDE, x + WIDE + GAP) if leads_left else (x, x - GAP)
        bend, own, other = (start + end) / 2, y + HEIGHT / 2, middle + HEIGHT / 2
        line = f"M{start:.0f},{own:.1f}C{bend:.0f},{own:.1f} {bend:.0f},{other:.1f} {end:.0f},{other:.1f}"
        words = "\n".join(_reference(item) for item in relations)
        holds = all((item.coverage or 0) >= HOLDS for item in relations)
        parts.append(
            element("path", element("title", words), class_="reference" if holds else "reference broken", d=line)
        )
        parts.append(_box(name, x, y, anchors.get(name)))
    if more:
        parts.append(element("text", f"and {more} more", x=x + 8.0, y=top + len(shown) * ROW + MARGIN + 15.0))
    return parts


def _reference(item: Relation) -> str:
    names = f"{item.table}.{item.column} → {item.parent}.{item.parent_column}"
    return f"{names}: {share(item.coverage)} of values"


def _box(name: str, x: float, y: float, anchor: str | None, *, chosen: bool = False) -> Markup:
    most = int((WIDE - 14) / LETTER)
    shown = name if len(name) <= most else f"{name[: most - 1]}…"
    style = " chosen" if chosen else ""
    box = element("rect", class_=f"box{style}", x=float(x), y=float(y), width=WIDE, height=HEIGHT, rx=3)
    words = element("text", element("title", name), shown, class_=style.strip() or None, x=x + 7.0, y=y + 15.0)
    return element("a", box, words, href=f"#{anchor}") if anchor else Markup(box + words)
