"""The commands around the database: tables, demo data, health, queries and the embedded engine."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from raypipe import doctor as examination
from raypipe.cli import output
from raypipe.cli.options import (
    LATEST,
    Config,
    Debug,
    Json,
    Url,
    client_of,
    endpoint_of,
    needed_of,
    parse_date,
    parse_day,
)
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import EMBEDDED
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema import migrate as migration
from raypipe.clickhouse.statements import without_comments
from raypipe.clickhouse.tables import describe
from raypipe.config.load import load_shared
from raypipe.demo import publisher
from raypipe.errors import UsageError

app = typer.Typer()

_YIELDS_ROWS = re.compile(r"[\s(]*(SELECT|WITH|FROM|SHOW|DESCRIBE|DESC|EXPLAIN|EXISTS|CHECK)\b", re.IGNORECASE)
_ICON = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}


@app.command()
def migrate(
    check: Annotated[bool, typer.Option("--check", help="Only say what would be created and what differs.")] = False,
    config: Config = None,
    url: Url = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Create the database and the missing tables; never alter a table that exists, but say how it differs.

    The tables are those that the configured pipelines read or write, and raypipe's own. May be repeated.
    Exits with 1 when a table differs in a way on which runs would fail.

    Example: raypipe migrate --check
    """
    with output.reported(debug), endpoint_of(load_shared(config, url).connection, check=False) as endpoint:
        act = migration.plan_at if check else migration.migrate_at
        report = act(endpoint, needed_of(config, url).declarations)
        if json:
            differences = [vars(item) for item in report.differences]
            output.emit(
                {"created": report.created, "present": report.present, "differences": differences, "check": check}
            )
        else:
            verb = "would be created" if check else "created"
            output.say(f"{len(report.created)} tables {verb}, {len(report.present)} were there already")
            if report.differences:
                rows = [
                    (item.severity, item.table, item.what, item.found, item.expected) for item in report.differences
                ]
                output.table(("severity", "table", "what", "found", "raypipe's own"), rows)
        if report.problems:
            raise typer.Exit(output.FAILED)


@app.command()
def demo(
    users: Annotated[int, typer.Option(min=100, help="Readers of the publisher.")] = 50_000,
    days: Annotated[int, typer.Option(min=91, help="Days of history; a fit needs 90 and a day.")] = 120,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same rows.")] = 1,
    last_date: Annotated[
        str,
        typer.Option(
            "--last-date", metavar="DATE", help="The newest day of the data: YYYY-MM-DD, or latest, which is yesterday."
        ),
    ] = LATEST,
    drift_on: Annotated[
        str | None,
        typer.Option("--drift-on", metavar="DATE", help="From this day on readers behave differently: YYYY-MM-DD."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the demo data that is there.")] = False,
    config: Config = None,
    url: Url = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Fill the database with a synthetic publisher: sessions, events, articles, features and the truth behind them.

    The same seed gives the same rows. Tables that are missing are created first.

    Example: raypipe demo --users 20000, then raypipe run churn
    """
    with output.reported(debug, "`raypipe demo --replace` begins again"):
        last = parse_date(last_date, "--last-date") or (datetime.now(UTC) - timedelta(days=1)).date()
        drift = None if drift_on is None else parse_day(drift_on, "--drift-on")
        with endpoint_of(load_shared(config, url).connection, check=False) as endpoint:
            migration.migrate_at(endpoint)
            with Client(endpoint) as client, output.progress() as progress:
                summary = publisher.build(
                    client,
                    users=users,
                    days=days,
                    seed=seed,
                    last_date=last,
                    drift_on=drift,
                    replace=replace,
                    progress=progress,
                )
        if json:
            output.emit(vars(summary))
        else:
            output.table(
                ("demo publisher", ""), [(name.replace("_", " "), value) for name, value in vars(summary).items()]
            )
            output.say("next: raypipe run churn")


@app.command()
def doctor(
    clean: Annotated[bool, typer.Option("--clean", help="Drop what dead runs left behind.")] = False,
    config: Config = None,
    url: Url = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Check the connection, version, grants, tables, leftovers, Ray and disk; exit 1 when a run would fail.

    It changes nothing, except that --clean drops what dead runs left behind.

    Example: raypipe doctor --url https://scoring@clickhouse.example:8443/analytics
    """
    with output.reported(debug):
        connection = load_shared(config, url).connection
        with endpoint_of(connection, check=False) as endpoint:
            dropped = _clean(endpoint) if clean else ()
            embedded = connection.url.startswith(EMBEDDED)
            checks = examination.examine(endpoint, needed_of(config, url), embedded=embedded)
        if json:
            output.emit({"checks": [vars(check) for check in checks], "dropped": dropped})
        else:
            if clean:
                output.say(f"dropped: {', '.join(dropped) or 'nothing to drop'}")
            output.table(
                ("check", "", "found", "next"), [(c.name, _ICON[c.status], c.detail, c.next_step) for c in checks]
            )
        if any(check.status == "problem" for check in checks):
            raise typer.Exit(output.FAILED)


def _clean(endpoint: Endpoint) -> tuple[str, ...]:
    from raypipe.score.run import retire_superseded

    with Client(endpoint) as client:
        dropped = examination.clean(client)
        if describe(client, "raypipe_runs") is None:
            return dropped
        return (*dropped, *(f"rows of {run_id}" for run_id in retire_superseded(client)))


@app.command()
def sql(
    query: Annotated[str, typer.Argument(metavar="SELECT", help="The statement, in quotes.")],
    config: Config = None,
    url: Url = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Run one statement on the configured ClickHouse, and print what it yields.

    Example: raypipe sql "SELECT status, count() FROM raypipe_runs FINAL GROUP BY status" --json
    """
    with output.reported(debug), client_of(config, url) as client:
        columns: list[str] = []
        rows: list[tuple[object, ...]] = []
        if _YIELDS_ROWS.match(without_comments(query)):
            columns, rows = client.named_rows(query)
        else:
            # Sent once: repeated after a lost answer it could take effect twice.
            client.run(query)
        if json:
            output.emit({"columns": columns, "rows": rows})
        elif columns:
            output.table(columns, rows)
        else:
            output.say("done")


@app.command()
def server(
    config: Config = None,
    url: Url = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Keep the embedded engine up in the foreground, for your own tools; Ctrl-C ends it.

    Other commands start the engine by themselves and share this one while it runs.

    Example: raypipe server --url chdb:.raypipe/clickhouse
    """
    with output.reported(debug):
        address = load_shared(config, url).connection.url
        if not address.startswith(EMBEDDED):
            raise UsageError(
                "There is nothing to serve: only the embedded engine is started by raypipe",
                found=address,
                allowed="chdb:PATH",
                next_step="name a folder with --url chdb:PATH; a ClickHouse server runs by itself",
            )
        from raypipe.clickhouse.embedded import serve

        serve(Path(address.removeprefix(EMBEDDED)), lambda endpoint: _announce(endpoint, json))


def _announce(endpoint: Endpoint, json: bool) -> None:
    if json:
        output.emit({"url": str(endpoint), "password_file": endpoint.password_file})
        return
    output.say(f"ClickHouse answers at {endpoint}; its password is in {endpoint.password_file}")
    curl = shutil.which("curl")
    if curl:
        output.say(
            f'try: curl -u "{endpoint.user}:$(cat {endpoint.password_file})" "{endpoint.url}/?query=SELECT+version()"'
        )
