"""The command that profiles a database."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from raypipe.cli import output
from raypipe.cli.options import Config, Debug, Json, Url, client_of
from raypipe.errors import RaypipeError, UsageError
from raypipe.explore import page
from raypipe.explore.facts import DatabaseProfile, Limits
from raypipe.explore.figures import size
from raypipe.explore.profile import profile

app = typer.Typer()

SAMPLE_ROWS = Limits().sample_rows


@app.command()
def explore(
    table: Annotated[
        list[str] | None,
        typer.Option(
            "--table", metavar="TABLE", help="Only this table, and references among those named. May be repeated."
        ),
    ] = None,
    sample_rows: Annotated[
        int,
        typer.Option("--sample-rows", min=1000, metavar="N", help="A larger table is judged by about N of its rows."),
    ] = SAMPLE_ROWS,
    page_file: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Write the whole report there, as one HTML page."),
    ] = None,
    config: Config = None,
    url: Url = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Profile every table of the database: rows, missing values, ranges, keys, relationships, hazards.

    Reads only, each query bounded in time and memory. A table that cannot be read is reported, and the rest goes on.

    Example: raypipe explore --output report.html
    """
    with output.reported(debug):
        if page_file is not None:
            _require_writable(page_file)
            page.require()
        with client_of(config, url) as client, output.progress() as progress:
            found = profile(
                client,
                table or (),
                taken_at=datetime.now(UTC),
                limits=Limits(sample_rows=sample_rows),
                progress=progress,
            )
        if page_file is not None:
            _write(page_file, page.render(found))
        if json:
            output.emit(asdict(found))
        else:
            _show(found, page_file)


def _require_writable(file: Path) -> None:
    """Refuses before the work what would fail after it."""
    is_new = not os.path.lexists(file)
    try:
        with file.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise UsageError(
            "The report cannot be written there",
            found=f"{file} ({error.strerror})",
            allowed="a file in a folder that exists and may be written to",
            next_step="create the folder, or correct --output",
        ) from error
    if is_new:
        file.unlink()


def _write(file: Path, html: str) -> None:
    try:
        file.write_text(html, encoding="utf-8")
    except OSError as error:
        raise RaypipeError(
            "The report could not be written to its end",
            found=f"{file}: {error.strerror}",
            next_step="free some space and repeat the command, or name another file with --output",
        ) from error


def _show(report: DatabaseProfile, page_file: Path | None) -> None:
    rows = [
        (
            table.table,
            table.engine,
            table.rows,
            size(table.bytes),
            len(table.columns),
            table.newest.value if table.newest else "",
            table.sample.method,
            ", ".join(hazard.hazard for hazard in table.hazards),
        )
        for table in report.tables
    ]
    names = ("table", "engine", "rows", "size", "columns", "newest value", "read", "hazards")
    output.table(names, rows, title=f"{report.database}, {report.seconds:.1f} s")
    held = sum(1 for relation in report.relations if relation.coverage)
    output.say(f"{held} of {len(report.relations)} references guessed have values that are known to the other table")
    failed = [(table.table, what, why) for table in report.tables for what, why in page.failures(table)]
    failed += [("", failure.what, failure.error) for failure in report.errors]
    if failed:
        output.table(("table", "not found out", "why"), failed)
    output.say(f"report: {page_file}" if page_file else "next: raypipe explore --output report.html")
