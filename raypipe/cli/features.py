"""Define `raypipe features`."""

import time
from datetime import UTC, datetime

import typer

from raypipe.cli import output
from raypipe.cli.dates import LATEST, parse_date, parse_day
from raypipe.cli.options import Options, TakeOver, command
from raypipe.config.load import load_shared
from raypipe.errors import UsageError
from raypipe.features import snapshots


@command("finished days stay; repeat the command for the others")
def features(
    options: Options,
    date: str = typer.Option(LATEST, metavar="DATE", help="The day: YYYY-MM-DD, or latest with sessions."),
    first: str | None = typer.Option(None, "--from", metavar="DATE", help="Compute every day from this to --date."),
    backfill: int | None = typer.Option(
        None, "--backfill", min=1, metavar="N", help="Compute the N days up to --date, as far back as sessions go."
    ),
    replace: bool = typer.Option(False, "--replace", help="Compute existing days anew, every column."),
    take_over: TakeOver = False,
) -> None:
    """Compute the snapshots of customer_user_features that are missing.

    ml_features gets what the users read and did before. Days are cut in the `timezone` of base.yaml. An existing day
    stays as it is, except that empty ml_features are filled. Each day is swapped in whole; an interrupted command
    leaves the days that it finished, and goes on with the others when it is repeated. A fit learns from snapshots of
    past days: --backfill computes them, reading each source once for all days.

    Example: raypipe features --backfill 90
    """
    if first is not None and backfill is not None:
        raise UsageError(
            "--from and --backfill both name the first day",
            found=f"--from {first} --backfill {backfill}",
            allowed="one of them",
            next_step="leave one of them out",
        )
    last = parse_date(date)
    since = None if first is None else parse_day(first, "--from")
    timezone = load_shared(options.config, options.url).timezone
    with options.client() as client, output.progress() as progress:
        started = time.perf_counter()
        now = datetime.now(UTC).replace(microsecond=0)
        if backfill is not None:
            since, last = snapshots.backfilled(client, last, backfill, run_at=now, timezone=timezone)
        result = snapshots.compute(
            client,
            last,
            since,
            run_at=now,
            timezone=timezone,
            progress=progress,
            replace=replace,
            take_over=take_over,
        )
    seconds = round(time.perf_counter() - started, 3)
    document = {"days": [vars(day) for day in result.days], "features": result.features, "seconds": seconds}
    options.show(document, _print, result)


def _print(result: snapshots.BuiltSnapshots) -> None:
    rows = [(day.date, day.status, day.rows, sum(day.unreadable.values()), day.seconds) for day in result.days]
    output.table(("day", "", "users", "unreadable JSON", "seconds"), rows)
    output.say('next: raypipe sql "SELECT feature_name, description FROM ml_model_features FINAL"')
