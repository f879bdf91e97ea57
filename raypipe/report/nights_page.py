"""Write the page of the nights: whether the last night is complete, what changed, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from statistics import median

from raypipe.pages import charts, figures, grids, tables
from raypipe.pages.charts import Point, Series
from raypipe.pages.figures import day as day_text
from raypipe.pages.figures import duration
from raypipe.pages.grids import Cell as Mark
from raypipe.pages.markup import Child, Markup, element
from raypipe.pages.page import answers, code, folded, multiples, section, state
from raypipe.pages.tables import Cell, Column
from raypipe.report import answers as answering
from raypipe.report import nights
from raypipe.report.answers import Action
from raypipe.report.events import Event
from raypipe.report.facts import Facts
from raypipe.report.nights import Night
from raypipe.score.runs import Run

# The nights whose median is the usual number of rows.
USUAL = 14
STRIP_DAYS = 92
SHOWN_EVENTS, MOST_EVENTS = 20, 400
KEY = (("good", "published"), ("watch", "refused or at work"), ("bad", "failed or interrupted"), ("none", "not run"))


def content(facts: Facts) -> list[Child]:
    """Return the content of the page."""
    found = answering.actions(facts)
    won = answering.who_won(facts)
    shown = [
        answering.complete(facts),
        answering.what_to_do(found),
        answering.models_good(facts),
        answering.changed(facts.events),
        *([won] if won else []),
    ]
    return [
        answers(shown),
        _to_do(found),
        _last_night(facts),
        _strips(facts),
        _multiples(facts),
        _alerts(facts),
        changes(facts.events),
        _all(facts),
    ]


def _to_do(found: Sequence[Action]) -> Markup | None:
    if not found:
        return None
    rows = [
        (
            Cell(state(action.state, action.pipeline), action.pipeline),
            Cell(action.why, None, "words"),
            code(action.command) if action.command else "see its page",
        )
        for action in found
    ]
    listed = tables.table("What to do, the most urgent first", ("subject", "why", "type"), rows, hidden=True)
    return section("What to do", listed, anchor="to-do")


def _last_night(facts: Facts) -> Markup:
    if not facts.nights:
        return section("Last night", "No run yet.", anchor="last-night")
    night = facts.nights[0]
    names = sorted({*facts.expected, *night.runs})
    rows = [_night_row(name, night, facts) for name in names]
    columns = (
        "pipeline", "state", Column("rows", True), Column("usual", True), Column("no score", True),
        Column("took", True), "version", "published (UTC)", "if it failed",
    )  # fmt: skip
    listed = tables.table(f"Pipelines of the night of {day_text(night.day)}", columns, rows, hidden=True)
    fresh = [
        (f"newest in {table}", day_text(newest) if newest else "empty") for table, newest in facts.freshness.items()
    ]
    return section(
        f"The night of {day_text(night.day)}", tables.facts(fresh) if fresh else None, listed, anchor="last-night"
    )


def _night_row(name: str, night: Night, facts: Facts) -> tuple[Cell | Child, ...]:
    run = night.runs.get(name)
    link = element("a", name, href=f"{name}.html") if name in facts.models else name
    if run is None:
        missing = state("bad", "did not run") if name in facts.expected else state("open", "did not run")
        return (link, missing, "–", usual(name, facts.nights[1:]), "–", "–", "–", "–", code(nights.remedy(night, name)))
    words, colour = nights.STATES.get(run.status, (run.status.lower(), "watch"))
    is_published = name in night.published
    return (
        Cell(link, name),
        Cell(state(colour, words), words),
        Cell(f"{run.rows_published:,}", run.rows_published) if is_published else "–",
        usual(name, facts.nights[1:]),
        Cell(f"{run.rows_rejected:,}", run.rows_rejected),
        Cell(duration(nights.seconds(run)), nights.seconds(run)),
        run.model_version,
        f"{day_text(run.published_at)[:-5]} {run.published_at:%H:%M}" if is_published else "–",
        "" if is_published else Cell([nights.why(night, name), " ", code(nights.remedy(night, name))], None, "words"),
    )


def usual(name: str, history: Sequence[Night]) -> Cell | Child:
    """Return the median rows of a pipeline's earlier nights, as a cell."""
    counts = [night.published[name].rows_published for night in history if name in night.published][:USUAL]
    return Cell(f"{round(median(counts)):,}", round(median(counts))) if counts else "–"


def _strips(facts: Facts) -> Markup | None:
    if not facts.nights:
        return None
    recent = [night for night in facts.nights if (facts.nights[0].day - night.day).days < STRIP_DAYS]
    pipelines = sorted({name for night in recent for name in night.runs})
    days = [night.day for night in recent]
    begin = min(days)
    rows = {name: {day: Mark("none") for day in _days(begin, days[0])} for name in pipelines}
    for night in recent:
        for name, run in night.runs.items():
            words, colour = nights.STATES.get(run.status, ("", "watch"))
            title = "" if colour == "good" else f"{name} {words}"
            rows[name][night.day] = Mark(colour, title)
    lacking = sum(1 for night in recent if nights.missing(night, facts.expected))
    words = f"{figures.plural(lacking, 'night')} without all expected pipelines"
    label = f"{len(recent)} nights of {len(pipelines)} pipelines; {words}"
    drawn = grids.grid("Every night by pipeline", rows, label=label, reason="no night yet")
    return section("Nights", drawn, key(KEY), anchor="nights")


def key(entries: Sequence[tuple[str, str]]) -> Markup:
    """Return the key of a grid's colours."""
    items = []
    for style, words in entries:
        mark = element("rect", class_=f"cell {style}", width=12, height=12)
        items.append(
            element("span", element("svg", mark, viewBox="0 0 12 12", width=12, height=12, aria_hidden="true"), words)
        )
    return element("p", items, class_="key")


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=at) for at in range((last - first).days + 1)]


def _multiples(facts: Facts) -> Markup | None:
    names = sorted({name for night in facts.nights for name in night.published})
    if not names:
        return None
    drawn = []
    for name in names:
        runs = [night.published[name] for night in reversed(facts.nights) if name in night.published]
        drawn.append(_rows(name, runs))
        drawn.append(_seconds(name, runs))
    return section("Rows and durations", multiples(*drawn), anchor="durations")


def _rows(name: str, runs: Sequence[Run]) -> Markup:
    points = [Point(run.date, run.rows_published) for run in runs]
    return charts.lines(f"{name}: rows published", [Series("rows", points)], zero=True)


def _seconds(name: str, runs: Sequence[Run]) -> Markup:
    points = [Point(run.date, nights.seconds(run)) for run in runs]
    return charts.lines(f"{name}: duration", [Series("duration", points)], zero=True, shown=duration)


def _alerts(facts: Facts) -> Markup | None:
    alerts = [
        (
            Cell(state("bad" if alert.is_open else "good", "open" if alert.is_open else "ended"), alert.status),
            alert.pipeline or "all",
            Cell(alert.words, None, "words"),
            Cell(day_text(alert.days[0]) if alert.days else "–", str(alert.days[0]) if alert.days else ""),
            Cell(figures.plural(len(alert.days), "night"), len(alert.days)),
        )
        for alert in facts.alerts
    ]
    checks = [
        (
            Cell(state("bad" if check.is_refused else "watch", "refused" if check.is_refused else "warning"), ""),
            check.pipeline,
            Cell(check.words, None, "words"),
            Cell(day_text(check.day), str(check.day)),
        )
        for check in facts.checks
    ]
    if not alerts and not checks:
        return section("Alerts", "No alert, and no unmet expectation of the inputs.", anchor="alerts")
    return section(
        "Alerts",
        tables.table("Alerts", ("state", "pipeline", "alert", "since", "lasted"), alerts, empty="No alert."),
        tables.table("Unmet expectations", ("state", "pipeline", "expectation", "date"), checks) if checks else None,
        anchor="alerts",
    )


def changes(events: Sequence[Event], *, single: bool = False) -> Markup:
    """Return the table of changes; of a single pipeline without its name."""
    rows = []
    for event in events[:MOST_EVENTS]:
        when = Cell(element("time", day_text(event.day), datetime=str(event.day)), str(event.day))
        what = Cell(
            [state(event.state, ""), event.words],
            event.words,
            "words",
        )
        rows.append((when, what) if single else (when, event.pipeline, what))
    columns = ("date", "what changed") if single else ("date", "subject", "what changed")
    more = f"The newest {MOST_EVENTS} of {len(events)}." if len(events) > MOST_EVENTS else ""
    listed = tables.table(
        "What changed, the newest first",
        columns,
        rows[:SHOWN_EVENTS],
        empty="Nothing: no new version, no failure, no alert, no jump in rows.",
        hidden=True,
    )
    older = tables.table("Older changes", columns, rows[SHOWN_EVENTS:], hidden=True) if rows[SHOWN_EVENTS:] else None
    earlier = folded(f"{figures.plural(len(rows) - SHOWN_EVENTS, 'older change')}", older) if older else None
    return section("What changed", listed, earlier, anchor="changes", about=more)


def _all(facts: Facts) -> Markup | None:
    if len(facts.nights) < 2:
        return None
    rows = [
        (
            Cell(day_text(night.day), str(night.day)),
            Cell(f"{len(night.published)} of {len(facts.expected | set(night.published))}", len(night.published)),
            Cell(f"{night.rows:,}", night.rows),
            Cell(duration(night.seconds), night.seconds),
            ", ".join(
                f"{name} {nights.why(night, name)}" for name in sorted(night.runs.keys() - night.published.keys())
            ),
        )
        for night in facts.nights
    ]
    columns = ("night", Column("published", True), Column("rows", True), Column("work", True), "without a publication")
    return section(
        "All nights",
        folded(f"{len(rows)} nights", tables.table("All nights", columns, rows, hidden=True)),
        anchor="all",
    )
