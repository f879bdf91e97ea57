"""Define `raypipe demo`."""

from datetime import UTC, datetime, timedelta

import typer

from raypipe.cli import output
from raypipe.cli.dates import LATEST, parse_date, parse_day
from raypipe.cli.options import Options, command
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import on_cluster
from raypipe.clickhouse.schema import migrate as migration
from raypipe.demo import publisher


@command("`raypipe demo --replace` begins again")
def demo(
    options: Options,
    users: int = typer.Option(50_000, min=100, help="Readers of the publisher."),
    days: int = typer.Option(180, min=91, help="Days of history; a fit needs 91."),
    seed: int = typer.Option(1, min=0, help="The same seed gives the same rows."),
    last_date: str = typer.Option(LATEST, metavar="DATE", help="The newest day: YYYY-MM-DD, or latest (yesterday)."),
    drift_on: str | None = typer.Option(None, metavar="DATE", help="From this day on readers behave differently."),
    replace: bool = typer.Option(False, "--replace", help="Replace existing demo data."),
) -> None:
    """Fill the database with a synthetic publisher.

    It has sessions, events, articles, features, and the truth behind them. The same seed gives the same rows. Missing
    tables are created first.

    Example: raypipe demo --users 20000, then raypipe run churn
    """
    last = parse_date(last_date, "--last-date") or (datetime.now(UTC) - timedelta(days=1)).date()
    drift = None if drift_on is None else parse_day(drift_on, "--drift-on")
    with options.endpoint(check=False) as endpoint:
        migration.migrate_at(endpoint)
        # A cluster whose tables differ is refused, too.
        on_cluster(endpoint)
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
    options.show(vars(summary), output.pairs, "demo publisher", {**vars(summary), "next": "raypipe run churn"})
