"""Write the profile as a self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raypipe.explore import diagram, neighbours
from raypipe.explore.facts import DatabaseProfile, Failure, Hazard, Relation, TableProfile
from raypipe.explore.table_section import failures, table_section
from raypipe.pages import tables
from raypipe.pages.charts import svg
from raypipe.pages.figures import listed, number, plural, share, size
from raypipe.pages.markup import Child, Markup, element
from raypipe.pages.page import Answer, answers, folded, page, section, state
from raypipe.pages.tables import Cell, Column

# Tables of raypipe's own come behind the user's.
OWN = "raypipe_"
# The hazards by severity: wrong results, rows that surprise, columns without information.
SEVERITY = {"summed averages": "bad", "repeated keys": "bad", "arbitrary values": "watch"}
RANK = {"bad": 0, "watch": 1, "plain": 2}
SAID = {"bad": "wrong results", "watch": "surprises", "plain": "no information"}
MOST_COLUMNS = 6


def render(report: DatabaseProfile) -> str:
    """Return the page; values of the database are escaped, and only the page's own style and script are allowed."""
    return page(f"{report.database}: data", content(report), about=_about(report))


def content(report: DatabaseProfile) -> list[Child]:
    """Return the content of the page."""
    ordered = sorted(report.tables, key=lambda table: (table.table.startswith(OWN), table.table))
    anchors = {table.table: f"t{at}" for at, table in enumerate(ordered)}
    return [
        answers([_misleading(ordered), _unread(report, ordered)]),
        _hazards(ordered, anchors),
        _failures(report.errors, ordered, anchors),
        _tables(ordered, anchors),
        _relationships(report.relations, anchors),
        section("Columns", [table_section(table, anchors, report.relations) for table in ordered], anchor="columns"),
        _limits(report),
    ]


def severity(hazard: Hazard) -> str:
    """Return the state of a hazard: bad, watch or plain."""
    return SEVERITY.get(hazard.hazard, "plain")


def _about(report: DatabaseProfile) -> str:
    columns = sum(len(table.columns) for table in report.tables)
    rows = sum(table.rows or 0 for table in report.tables)
    disk = sum(table.bytes or 0 for table in report.tables)
    return (
        f"ClickHouse {report.server}, {report.taken_at:%Y-%m-%d %H:%M} UTC. {plural(len(report.tables), 'table')} and"
        f" views, {plural(columns, 'column')}, {plural(rows, 'row')}, {size(disk)} on disk, examined in"
        f" {number(report.seconds)} s."
    )


def _misleading(ordered: Sequence[TableProfile]) -> Answer:
    question = "What would mislead me?"
    grave = [table.table for table in ordered if any(severity(hazard) == "bad" for hazard in table.hazards)]
    if grave:
        words = "Sums of averages or repeated keys give wrong results; the list below says how to read them."
        return Answer(question, "bad", f"{plural(len(grave), 'table')}: {listed(grave)}.", words)
    found = sum(len(table.hazards) for table in ordered)
    if found:
        return Answer(question, "watch", "Nothing grave.", f"{plural(found, 'hint')} below.")
    return Answer(question, "good", "Nothing that was looked for.")


def _unread(report: DatabaseProfile, ordered: Sequence[TableProfile]) -> Answer:
    question = "Was everything read?"
    failed = [table.table for table in ordered if failures(table)]
    if failed or report.errors:
        return Answer(
            question,
            "watch",
            "Not everything.",
            f"Without an answer: {listed([*failed, *(error.what for error in report.errors)])}.",
        )
    sampled = [table.table for table in ordered if table.sample.method in ("granules", "first rows")]
    if sampled:
        return Answer(question, "good", "Yes, large tables by a sample.", f"Sampled: {listed(sampled)}.")
    return Answer(question, "good", "Yes.")


def link(table: str, anchors: Mapping[str, str]) -> Child:
    """Return the name of a table as a link to its section."""
    return element("a", table, href=f"#{anchors[table]}") if table in anchors else table


def _hazards(ordered: Sequence[TableProfile], anchors: Mapping[str, str]) -> Markup | None:
    found = [(severity(hazard), table.table, hazard) for table in ordered for hazard in table.hazards]
    if not found:
        return None
    found.sort(key=lambda item: (RANK[item[0]], anchors[item[1]].zfill(6)))
    rows = [
        (
            Cell(state(grade, SAID[grade]), RANK[grade]),
            Cell(link(table, anchors), table),
            hazard.hazard,
            columns_of(hazard),
            hazard.message,
        )
        for grade, table, hazard in found
    ]
    listed_ = tables.table(
        "Hazards, the gravest first", ("severity", "table", "hazard", "columns", "what it means"), rows, hidden=True
    )
    return section("Hazards", listed_, anchor="hazards")


def columns_of(hazard: Hazard) -> Child:
    """Return the columns of a hazard; a long list is folded."""
    if len(hazard.columns) <= MOST_COLUMNS:
        return ", ".join(hazard.columns)
    return folded(plural(len(hazard.columns), "column"), ", ".join(hazard.columns))


def _failures(errors: Sequence[Failure], ordered: Sequence[TableProfile], anchors: Mapping[str, str]) -> Markup | None:
    rows: list[tuple[Child, ...]] = [("system tables", failure.what, failure.error) for failure in errors]
    rows += [(link(table.table, anchors), what, why) for table in ordered for what, why in failures(table)]
    if not rows:
        return None
    return section(
        "Questions without an answer",
        tables.table("Questions without an answer", ("table", "question", "reason"), rows, hidden=True),
        anchor="unanswered",
    )


def _tables(ordered: Sequence[TableProfile], anchors: Mapping[str, str]) -> Markup:
    rows = [
        (
            Cell(link(table.table, anchors), table.table),
            table.engine,
            Cell(number(table.rows), table.rows),
            Cell(size(table.bytes), table.bytes),
            Cell(f"{len(table.columns):,}", len(table.columns)),
            table.newest.value if table.newest else "–",
            f"{table.written_at:%Y-%m-%d %H:%M}" if table.written_at else "–",
        )
        for table in ordered
    ]
    columns = (
        "table",
        "engine",
        Column("rows", True),
        Column("size", True),
        Column("columns", True),
        "newest value",
        "last written",
    )
    shown = tables.table("Tables; raypipe's own come last", columns, rows, empty="None.")
    return section("Tables", shown, anchor="tables")


def _relationships(relations: Sequence[Relation], anchors: Mapping[str, str]) -> Markup:
    if not relations:
        return section("Relationships", "None.", anchor="relationships")
    rows = [
        (
            [link(relation.table, anchors), f".{relation.column}"],
            [link(relation.parent, anchors), f".{relation.parent_column}"],
            Cell(number(relation.values), relation.values),
            Cell(share(relation.coverage), relation.coverage),
            relation.error or share(relation.known_rows, relation.rows),
        )
        for relation in relations
    ]
    columns = (
        "column",
        "refers to",
        Column("values looked up", True),
        Column("known", True),
        "rows with a known value",
    )
    listed_ = tables.table(f"{len(relations)} references guessed and verified", columns, rows)
    counts = {
        table: sum(table in (item.table, item.parent) for item in relations if item.coverage) for table in anchors
    }
    centre = max(counts, key=lambda table: counts[table], default="")
    about = (
        "A line leads to a table that a column refers to: solid if at least 99 % of the values exist there, dashed"
        " otherwise. This is the table with most references; each table's own section draws its neighbours."
    )
    return section(
        "Relationships",
        neighbours.draw(centre, relations, anchors),
        folded("All tables at once", _diagram(relations, anchors)),
        folded(f"{plural(len(relations), 'reference')}, guessed and verified", listed_),
        anchor="relationships",
        about=about,
    )


def _diagram(relations: Sequence[Relation], anchors: Mapping[str, str]) -> Child:
    drawn = diagram.draw(relations)
    if not drawn.boxes:
        return "No reference holds."
    parts = [
        element(
            "path", element("title", line.title), class_="reference" if line.holds else "reference broken", d=line.path
        )
        for line in drawn.lines
    ]
    for box in drawn.boxes:
        place = {"x": box.x, "y": box.y, "width": box.width, "height": box.height}
        mark = element("rect", class_="box", rx=3, **place)
        words = element("text", element("title", box.table), box.label, x=box.x + 6, y=box.y + 14)
        parts.append(
            element("a", mark, words, href=f"#{anchors[box.table]}") if box.table in anchors else Markup(mark + words)
        )
    label = (
        f"{plural(len(drawn.boxes), 'table')} and {plural(len(drawn.lines), 'reference')}; the table above lists them"
    )
    drawing = svg(label, *parts, width=drawn.width, height=drawn.height, has_links=True)
    return element("div", drawing, class_="wide", tabindex=0, role="group", aria_label="All relationships")


def _limits(report: DatabaseProfile) -> Markup:
    limits = report.limits
    words = (
        f"A table with more than {limits.sample_rows:,} rows or {size(limits.sample_bytes)}, uncompressed, is judged by"
        f" a sample, described in its section. The limits of every query: {size(limits.query_bytes)} of memory,"
        f" {limits.query_seconds} s, {limits.columns_per_query} columns of a large table at once;"
        f" {limits.table_seconds} s per table. Times are UTC."
    )
    return section("How this was measured", element("p", words), anchor="limits")
