"""Write the section of a table in the profile's page: its columns, keys, correlations and neighbours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from raypipe.explore import neighbours, plots
from raypipe.explore.facts import ColumnProfile, Correlations, Relation, TableProfile
from raypipe.pages import tables
from raypipe.pages.charts import svg
from raypipe.pages.figures import number, share, size
from raypipe.pages.markup import Child, Markup, element
from raypipe.pages.page import folded
from raypipe.pages.tables import Cell, Column

VALUES = 5
NAMES = 220
UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
COLUMNS: tuple[Column | str, ...] = (
    "column", "type", Column("NULL", True), Column("may be missing", True), Column("distinct", True), "range",
    Column("mean ± deviation", True), "distribution", "most frequent",
)  # fmt: skip


def failures(table: TableProfile) -> list[tuple[str, str]]:
    """Return a table's questions without an answer, with the reasons."""
    return [
        *((failure.what, failure.error) for failure in table.errors),
        *((f"column {column.column}", column.error) for column in table.columns if column.error),
    ]


def table_section(table: TableProfile, anchors: Mapping[str, str], relations: Sequence[Relation]) -> Markup:
    """Return the folded section of a table."""
    rows = f"{number(table.rows)} rows" if table.rows is not None else "rows not counted"
    summary = [table.table, " ", element("span", f"{table.engine}, {rows}", class_="quiet")]
    body = [
        element("p", table.comment) if table.comment else None,
        # A link to something inside opens what is folded; a link to the folding element does not.
        element("p", _described(table), class_="quiet", id=anchors[table.table]),
        [element("p", f"{what}: {why}", class_="error") for what, why in failures(table)],
        [
            element(
                "p",
                element("strong", hazard.hazard),
                f": {', '.join(hazard.columns)}. {hazard.message}.",
                class_="hazard",
            )
            for hazard in table.hazards
        ],
        neighbours.draw(table.table, relations, anchors),
        tables.table(
            f"Columns of {table.table}", COLUMNS, [_column(column, table) for column in table.columns], hidden=True
        ),
        _keys(table),
        _targets(table),
        _correlations(table.correlations) if table.correlations else None,
    ]
    return element("details", element("summary", summary), body, class_="table")


def _described(table: TableProfile) -> str:
    parts = [
        f"{size(table.bytes)} on disk"
        + (f", {size(table.bytes_uncompressed)} uncompressed" if table.bytes_uncompressed else "")
    ]
    if table.partition_key:
        parts.append(f"Partitions: {table.partition_key}")
    if table.sorting_key:
        parts.append(f"Sorted by {', '.join(table.sorting_key)}")
    if table.newest:
        parts.append(f"Newest: {table.newest.column} {table.newest.value}")
    parts.append(f"Judged by {table.sample.about}")
    return f"{'. '.join(parts)}. {number(table.seconds)} s."


def _column(column: ColumnProfile, table: TableProfile) -> tuple[Cell | Child, ...]:
    rows = table.sample.rows
    missing = "–" if column.sentinels is None else "0"
    if column.sentinels:
        missing = f"{share(column.sentinels, rows)} {column.sentinel}"
    if column.not_finite:
        missing += f", {share(column.not_finite, rows)} NaN or ∞"
    unit = {"text": " bytes", "list": " items"}.get(column.kind, "")
    mean = "" if column.mean is None else f"{number(column.mean)} ± {number(column.deviation)}"
    computed = column.default_kind.lower() if column.default_kind in ("MATERIALIZED", "ALIAS") else ""
    return (
        [column.column, element("span", f" {computed}", class_="quiet") if computed else None],
        column.type,
        Cell(share(column.nulls, rows), column.nulls),
        Cell(missing, column.sentinels),
        Cell(number(column.distinct), column.distinct),
        "–" if column.low is None else f"{column.low} to {column.high}{unit}",
        Cell(mean, column.mean),
        histogram(column),
        Cell(values(column, rows), None, "values"),
    )


def values(column: ColumnProfile, rows: int) -> Child:
    """Return the most frequent values with their shares; of ids only that they are ids, since nobody reads them."""
    if column.values and all(UUID.fullmatch(value.value) or not value.value for value in column.values):
        return "ids"
    parts: list[Child] = []
    for value in column.values[:VALUES]:
        share_ = element("span", share(value.rows, rows), class_="quiet")
        parts += [", " if parts else None, value.value or "''", " ", share_]
    return parts


def histogram(column: ColumnProfile) -> Markup | None:
    """Return the histogram of a column."""
    bars = plots.bars(column)
    if not bars:
        return None
    marks = []
    for bar in bars:
        place = {"x": bar.x, "y": bar.y, "width": bar.width, "height": bar.height}
        marks.append(element("rect", element("title", bar.title), class_=f"bar {bar.style}".strip(), **place))
    label = f"histogram of {column.column}"
    return svg(label, *marks, width=plots.WIDTH, height=plots.HEIGHT)


def _keys(table: TableProfile) -> Markup | None:
    if not table.keys:
        return None
    rows = []
    for key in table.keys:
        part = (
            f", one in {key.one_in}, with all their rows" if key.one_in > 1 else "" if key.whole else ", in the sample"
        )
        repeated = Cell(f"{key.repeated:,} ({share(key.repeated, key.keys)})", key.repeated)
        kind = "sorting key" if key.sorting else "candidate"
        rows.append((", ".join(key.columns), kind, Cell(f"{key.keys:,}{part}", key.keys), repeated))
    columns = ("columns", "kind", Column("keys examined", True), Column("with several rows", True))
    return tables.table("Keys", columns, rows)


def _targets(table: TableProfile) -> Markup | None:
    if not table.targets:
        return None
    rows = [
        (
            target.column,
            Cell(f"{target.ones:,} of {target.rows:,}", target.ones),
            Cell(share(target.share), target.share),
        )
        for target in table.targets
    ]
    return tables.table("Balance of zeros and ones", ("column", Column("ones", True), Column("share", True)), rows)


def _correlations(correlations: Correlations) -> Markup:
    strongest = [
        (f"{one} and {other}", Cell(f"{value:.2f}", value)) for one, other, value in plots.strongest(correlations)
    ]
    side = len(correlations.columns) * plots.CELL
    marks = []
    for cell in plots.cells(correlations):
        place = {"x": cell.x, "y": cell.y, "width": cell.width, "height": cell.height}
        title = element("title", cell.title)
        marks.append(element("rect", title, class_=cell.style, fill_opacity=f"{cell.strength:.2f}", **place))
    for at, name in enumerate(correlations.columns):
        marks.append(element("text", name, x=at * plots.CELL + 4, y=at * plots.CELL + 11))
    drawing = svg("correlations; the table lists the strongest", *marks, width=side + NAMES, height=side)
    listed = tables.table(
        "The strongest correlations", ("columns", Column("r", True)), strongest, empty="All are weak."
    )
    return folded(
        "Correlations",
        listed,
        element("div", drawing, class_="wide", tabindex=0, role="group", aria_label="Correlations"),
    )
