"""Define `raypipe migrate`."""

import typer

from raypipe.cli import failures, output
from raypipe.cli.options import Options, command, needed_tables
from raypipe.clickhouse.schema import migrate as migration


@command()
def migrate(
    options: Options,
    check: bool = typer.Option(False, "--check", help="Report the missing tables and the differences alone."),
) -> None:
    """Create missing tables; report how existing tables differ.

    The tables are those that the configured pipelines read or write, and raypipe's own. An existing table is never
    altered, and the command may be repeated. The exit code is 1 when a table differs so that runs would fail.

    Example: raypipe migrate --check
    """
    with options.endpoint(check=False) as endpoint:
        needed = needed_tables(options)
        if check:
            report = migration.plan_at(endpoint, needed.declarations)
        else:
            report = migration.migrate_at(endpoint, needed.declarations, needed.targets)
    differences = [vars(difference) for difference in report.differences]
    document = {"created": report.created, "present": report.present, "differences": differences, "check": check}
    options.show(document, _print, report, check)
    if report.problems:
        raise typer.Exit(failures.FAILED)


def _print(report: migration.Migration, check: bool) -> None:
    output.say(f"{len(report.created)} tables {'would be ' * check}created, {len(report.present)} exist")
    if report.differences:
        rows = [(item.severity, item.table, item.what, item.found, item.expected) for item in report.differences]
        output.table(("severity", "table", "difference", "found", "raypipe's own"), rows)
