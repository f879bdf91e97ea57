"""Write the report: a folder of static pages, from the tables of one database."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.config.load import Loaded
from raypipe.errors import UsageError
from raypipe.explore import page as data_page
from raypipe.explore.facts import DatabaseProfile, Limits
from raypipe.explore.profile import profile
from raypipe.pages.figures import day as day_text
from raypipe.pages.page import Link, answers, code, page
from raypipe.progress import Progress, silent
from raypipe.report import (
    alerts,
    drift,
    events,
    experiments,
    model,
    model_page,
    nights,
    nights_page,
    performance,
)
from raypipe.report import (
    answers as answering,
)
from raypipe.report.facts import Facts
from raypipe.report.names import Names, words
from raypipe.report.source import Source
from raypipe.score import runs

# A report covers a year; older rows stay in the tables.
DAYS = 366
INDEX, EXPERIMENTS, DATA = "index.html", "experiments.html", "data.html"
# The profile of the source tables has to fit into the report's seconds.
DATA_LIMITS = Limits(sample_rows=20_000, columns_per_query=40, table_seconds=2, query_seconds=2)


@dataclass(frozen=True)
class Report:
    """A written report: its first page, its pages, and their bytes in all."""

    index: Path
    pages: tuple[str, ...]
    bytes: int


def write(
    client: Client,
    pipelines: Mapping[str, Loaded],
    folder: Path,
    *,
    at: datetime,
    has_data: bool = True,
    progress: Progress = silent,
) -> Report:
    """Write the pages of pipelines into a folder; pages of an earlier report are replaced.

    Args:
        at: the moment of the report, UTC.
        has_data: whether the source tables are profiled, too.

    Raises:
        UsageError: the folder cannot be written to.
    """
    require_writable(folder)
    facts = read(client, pipelines, at, progress)
    pages = _pages(facts, _profile(client, pipelines, at) if has_data else None)
    written = 0
    for name, html in pages.items():
        _replace(folder / name, html)
        written += len(html.encode())
    return Report(folder / INDEX, tuple(pages), written)


def require_writable(folder: Path) -> None:
    """Create the folder, or refuse a place where nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            "The report cannot be written there",
            found=f"{folder} ({error.strerror})",
            allowed="a folder that exists or can be created",
            next_step="correct --out",
        ) from error
    if not os.access(folder, os.W_OK):
        raise UsageError(
            "The report cannot be written there",
            found=f"{folder} (no permission)",
            allowed="a folder that may be written to",
            next_step="correct --out",
        )


def read(client: Client, pipelines: Mapping[str, Loaded], at: datetime, progress: Progress = silent) -> Facts:
    """Read the facts of pipelines."""
    shown = {name: loaded for name, loaded in pipelines.items() if loaded.config.baselines is None}
    history = [night for night in nights.nights(_history(client, shown)) if night.runs]
    last = history[0].day if history else at.date()
    source = Source(client, last - timedelta(days=DAYS - 1), last)
    history = [night for night in history if night.day >= source.first]
    names = Names(source)
    expected = nights.expected(history, [name for name, loaded in shown.items() if loaded.config.enabled])
    newest = model.newest_runs(history)
    models = {}
    for number, (name, loaded) in enumerate(shown.items()):
        progress("read", number, len(shown))
        models[name] = model.read(source, loaded, newest.get(name))
    drifts = drift.read(source, names, {name: loaded.config.monitor.reference for name, loaded in shown.items()})
    found_alerts = [item for item in alerts.read_alerts(source, names) if item.pipeline in ("", *shown)]
    checks = [item for item in alerts.read_checks(source) if item.pipeline in shown]
    tests = experiments.read(source)
    refitted = {name for name, loaded in shown.items() if loaded.config.model.refit == "nightly" or loaded.config.ads}
    changes = [
        *events.of_nights(history, shown, refitted),
        *(event for name in models.keys() - refitted for event in events.of_champions(name, models[name].periods)),
        *(event for name, item in drifts.items() if name in shown for event in drift.events(name, item)),
        *alerts.events(found_alerts, checks),
        *experiments.events(tests),
    ]
    return Facts(
        source,
        at,
        shown,
        names,
        tuple(history),
        frozenset(expected),
        _freshness(source, shown),
        models,
        drifts,
        performance.read(source, names),
        tuple(found_alerts),
        tuple(checks),
        tuple(tests),
        tuple(events.newest_first(event for event in changes if event.day >= source.first)),
    )


def _history(client: Client, pipelines: Mapping[str, Loaded]) -> list[runs.Run]:
    return [run for run in runs.history(client) if run.pipeline in pipelines]


def _freshness(source: Source, pipelines: Mapping[str, Loaded]) -> dict[str, date | None]:
    """Return the newest date of each source table."""
    columns = {loaded.config.source.table: loaded.config.source.date_column for loaded in pipelines.values()}
    newest: dict[str, date | None] = {}
    for table, column in sorted(columns.items()):
        if column and table in source.tables:
            sql = f"SELECT toDate(max({identifier(column)})) AS newest, count() AS rows FROM {identifier(table)}"
            ((day, rows),) = source.client.rows(sql)
            newest[table] = day if rows else None
    return newest


def _profile(client: Client, pipelines: Mapping[str, Loaded], at: datetime) -> DatabaseProfile | None:
    """Profile the source tables of the pipelines."""
    known = Source(client, at.date(), at.date()).tables
    tables = sorted({loaded.config.source.table for loaded in pipelines.values()} & known)
    return profile(client, tables, taken_at=at, limits=DATA_LIMITS) if tables else None


def _pages(facts: Facts, data: DatabaseProfile | None) -> dict[str, str]:
    """Return the pages by the names of their files."""
    first = min((night.day for night in facts.nights), default=facts.source.first)
    about = (
        f"Database {facts.source.client.endpoint.database}, nights from {day_text(first)} to"
        f" {day_text(facts.source.last)}, written {facts.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
    )
    links = _links(facts, data)
    pages = {INDEX: page("Nights", nights_page.content(facts), links=links, here=INDEX, about=about)}
    for name, item in facts.models.items():
        described = f"{item.loaded.config.description} {about}".strip()
        file = f"{name}.html"
        pages[file] = page(name, model_page.content(facts, item), links=links, here=file, about=described)
    if facts.experiments:
        content = [
            answers([experiments.answer(item) for item in facts.experiments]) if len(facts.experiments) > 1 else None,
            *(experiments.show(item) for item in facts.experiments),
        ]
        pages[EXPERIMENTS] = page("Experiments", content, links=links, here=EXPERIMENTS, about=about)
    if data is not None:
        explored = [
            "The source tables of the pipelines. ",
            code("raypipe explore --output data.html"),
            " profiles every table. ",
        ]
        pages[DATA] = page("Data", data_page.content(data), links=links, here=DATA, about=[*explored, about])
    return pages


def _links(facts: Facts, data: DatabaseProfile | None) -> list[Link]:
    links = [Link("Nights", INDEX, answering.complete(facts).state)]
    links += [
        Link(words(name), f"{name}.html", answering.still_good(item, facts).state)
        for name, item in facts.models.items()
    ]
    links += [Link("experiments", EXPERIMENTS)] if facts.experiments else []
    return links + ([Link("data", DATA)] if data is not None else [])


def _replace(path: Path, html: str) -> None:
    """Write a page at once, so that a reader never opens half of it."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(html, encoding="utf-8")
    fresh.replace(path)
