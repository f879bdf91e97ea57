"""The command that makes snapshots of user features."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from raypipe.cli import output
from raypipe.cli.options import LATEST, Config, Debug, Json, Url, endpoint_of, parse_date, parse_day
from raypipe.clickhouse.client import Client
from raypipe.config.load import load_shared
from raypipe.features import snapshots

app = typer.Typer()


@app.command()
def features(
    date: Annotated[
        str,
        typer.Option(
            "--date",
            metavar="DATE",
            help="The day: YYYY-MM-DD, or latest, the newest with sessions that is over.",
        ),
    ] = LATEST,
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="DATE", help="Every day from this one to --date: YYYY-MM-DD."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Compute days that are there anew, every column, from the sessions.")
    ] = False,
    config: Config = None,
    url: Url = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Compute customer_user_features of a day where it is missing, and what its users read and did into ml_features.

    Days are cut in the `timezone` of base.yaml.

    A day that is there is left as it is, except that empty ml_features are filled. Each day is swapped in whole, so an
    interrupted command leaves the old day; repeat it.

    Example: raypipe features --date 2026-01-31 --from 2026-01-25
    """
    with output.reported(debug, "days that were finished stay; repeat the command for the others"):
        last = parse_date(date)
        since = None if first is None else parse_day(first, "--from")
        shared = load_shared(config, url)
        with endpoint_of(shared.connection) as endpoint, Client(endpoint) as client, output.progress() as progress:
            started = time.perf_counter()
            outcome = snapshots.compute(
                client,
                last,
                since,
                run_at=datetime.now(UTC).replace(microsecond=0),
                timezone=shared.timezone,
                progress=progress,
                replace=replace,
            )
        _show(outcome, time.perf_counter() - started, json)


def _show(outcome: snapshots.BuiltSnapshots, seconds: float, json: bool) -> None:
    if json:
        built = [vars(day) for day in outcome.days]
        output.emit({"days": built, "features": outcome.features, "seconds": round(seconds, 3)})
        return
    rows: list[tuple[Any, ...]] = [
        (day.date, day.status, day.rows, sum(day.unreadable.values()), day.seconds) for day in outcome.days
    ]
    output.table(("day", "", "users", "unreadable JSON", "seconds"), rows)
    output.say('next: raypipe sql "SELECT feature_name, description FROM ml_model_features FINAL"')
