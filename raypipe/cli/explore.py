"""Define `raypipe explore`."""

import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import typer

from raypipe.cli import output
from raypipe.cli.options import Options, command
from raypipe.errors import RaypipeError, UsageError
from raypipe.explore import expectations, page
from raypipe.explore.facts import DatabaseProfile, Limits
from raypipe.explore.profile import profile
from raypipe.explore.table_section import failures
from raypipe.pages.figures import size

SAMPLE_ROWS = Limits().sample_rows


@command()
def explore(
    options: Options,
    table: list[str] | None = typer.Option(None, metavar="TABLE", help="Profile this table alone. May be repeated."),
    sample_rows: int = typer.Option(SAMPLE_ROWS, min=1000, metavar="N", help="Sample about N rows of a larger table."),
    page_file: Path | None = typer.Option(None, "--output", metavar="FILE", help="Write the report as one HTML page."),
    expect: bool = typer.Option(False, "--expect", help="Print an `expect` for each table, as YAML to paste."),
) -> None:
    """Profile every table: ranges, gaps, keys, relations, hazards.

    It only reads, and each query is bounded in time and memory. A table that cannot be read is reported, and the others
    are profiled all the same.

    Example: raypipe explore --output report.html
    """
    if page_file is not None:
        _require_writable(page_file)
    with options.client() as client, output.progress() as progress:
        report = profile(
            client,
            table or (),
            taken_at=datetime.now(UTC),
            limits=Limits(sample_rows=sample_rows),
            progress=progress,
        )
    if page_file is not None:
        _write(page_file, page.render(report))
    if expect:
        document = {item.table: expectations.proposed(item) for item in report.tables}
        options.show(document, _print_expectations, report)
        return
    options.show(asdict(report), _print, report, page_file)


def _print_expectations(report: DatabaseProfile) -> None:
    output.say("\n\n".join(expectations.yaml(table) for table in report.tables))


def _require_writable(file: Path) -> None:
    """Refuse a file that could not be written at the end."""
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
            "The report was not written completely",
            found=f"{file}: {error.strerror}",
            next_step="free some space and repeat the command, or name another file with --output",
        ) from error


def _print(report: DatabaseProfile, page_file: Path | None) -> None:
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
    covered = sum(1 for relation in report.relations if relation.coverage)
    output.say(f"{covered} of {len(report.relations)} guessed references have values that the other table knows")
    failed = [(table.table, subject, reason) for table in report.tables for subject, reason in failures(table)]
    failed += [("", failure.what, failure.error) for failure in report.errors]
    if failed:
        output.table(("table", "unknown", "reason"), failed)
    output.say(f"report: {page_file}" if page_file else "next: raypipe explore --output report.html")
