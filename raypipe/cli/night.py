"""The command for a whole night."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from raypipe.cli import output
from raypipe.cli.options import LATEST, Config, Date, Debug, Json, Set, Url, endpoint_of, parse_date
from raypipe.config.load import list_pipelines, load_pipeline, load_shared
from raypipe.errors import UsageError

REFUSED = 3

app = typer.Typer()


@app.command()
def nightly(
    date: Date = LATEST,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="PIPELINE", help="Only this pipeline; may be repeated.")
    ] = None,
    config: Config = None,
    url: Url = None,
    overrides: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Do a whole night: the day's features, then every pipeline that is enabled, in the order of what they read.

    A pipeline that fails does not stop the others. Exit code 1 when one failed, 3 when a gate held one back and none
    failed. `enabled` and `after` in a pipeline's config say whether and behind which others it runs.

    Example: raypipe nightly --date 2026-01-31
    """
    with output.reported(debug, output.RESUMABLE):
        day = parse_date(date)
        names = list_pipelines(config)
        unknown = sorted(set(only or ()) - set(names))
        if unknown:
            raise UsageError("There is no such pipeline", found=", ".join(unknown), allowed=", ".join(names))
        loaded = {name: load_pipeline(name, config, overrides or (), url=url) for name in only or names}
        wanted = {name: one for name, one in loaded.items() if only or one.config.enabled}
        started = time.perf_counter()
        with endpoint_of(load_shared(config, url).connection) as endpoint, output.progress() as progress:
            from raypipe import schedule

            steps = list(schedule.run(endpoint, wanted, day, progress))
        seconds = round(time.perf_counter() - started, 3)
        if json:
            output.emit({"pipelines": [vars(step) for step in steps], "seconds": seconds})
        else:
            rows = [(step.name, step.status, step.rows, step.seconds) for step in steps]
            output.table(("pipeline", "", "rows", "seconds"), rows, f"the night in {seconds:.0f} s")
            for step in steps:
                if step.said:
                    output.say(f"{step.name} {step.status}: {step.said}")
        statuses = {step.status for step in steps}
        if "failed" in statuses:
            raise typer.Exit(1)
        if "refused" in statuses:
            raise typer.Exit(REFUSED)
