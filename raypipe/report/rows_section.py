"""Show published rows by name, and the explanations of a few readers."""

from __future__ import annotations

from raypipe.pages import tables
from raypipe.pages.figures import day as day_text
from raypipe.pages.figures import short, signed, three
from raypipe.pages.grids import bar
from raypipe.pages.markup import Child, Markup
from raypipe.pages.page import multiples, section
from raypipe.pages.tables import Cell, Column
from raypipe.report.facts import Facts
from raypipe.report.model import Model
from raypipe.report.names import brief, words
from raypipe.report.published import Published

LONGEST = 60


def explained(model: Model, facts: Facts) -> Markup | None:
    """Return the explanations of the highest scores; None without any."""
    if not model.explanations:
        return None
    names = facts.names.display_names([item.entity for item in model.explanations])
    drawn = []
    for item in model.explanations:
        largest = max((abs(value) for value in item.contributions.values()), default=0.0)
        rows = [
            (words(feature), bar(value, largest), Cell(signed(value, 2), value))
            for feature, value in item.contributions.items()
        ]
        who = names.get(item.entity) or f"reader {brief(item.entity)}"
        caption = f"{who}, {facts.names.of('brand_id', item.brand_id)}: {three(item.score)}"
        columns = ("feature", "", Column("moves the score by", True))
        drawn.append(
            tables.table(caption, columns, rows, empty=f"{caption}: no feature moved the score.", sortable=False)
        )
    about = "The highest scores of the newest night, and the features that moved them most, in the model's own units."
    return section("Explanations", multiples(*drawn), anchor="explanations", about=about)


def published(model: Model, facts: Facts) -> Markup | None:
    """Return the first published rows; None without a run."""
    if model.rows is None:
        return None
    named = _by_name(model.rows, model.loaded.config.entity.id, facts)
    numeric = [all(isinstance(value, (int, float)) for value in column) for column in zip(*named.rows, strict=True)]
    columns = [
        Column(words(name), is_number) for name, is_number in zip(named.columns, numeric or [False] * 99, strict=False)
    ]
    rows = [[_shown(value) for value in row] for row in named.rows]
    command = f"raypipe show {model.pipeline}"
    caption = f"The first published rows of {day_text(model.rows.run.date)}; {command} shows more"
    return section(
        "Published rows", tables.table(caption, columns, rows, empty="The run published no row."), anchor="rows"
    )


def _by_name(rows: Published, key: str, facts: Facts) -> Published:
    """Put readers' names in the place of their ids; an id without a name is shortened."""
    named = rows.named()
    if key not in named.columns:
        return named
    at = named.columns.index(key)
    names = facts.names.display_names([str(row[at]) for row in named.rows]) if key == "user_id" else {}
    shown = tuple((*row[:at], names.get(str(row[at])) or brief(str(row[at])), *row[at + 1 :]) for row in named.rows)
    columns = tuple("reader" if name == "user_id" else name for name in named.columns)
    return Published(named.run, columns, shown)


def _shown(value: object) -> Cell | Child:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return Cell(f"{value:,}", value)
    if isinstance(value, float):
        return Cell(short(value), value)
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
