"""The command for a whole night."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated

import typer

from raypipe.cli import output
from raypipe.cli.options import LATEST, Config, Date, Debug, Json, Set, Url, endpoint_of, parse_date
from raypipe.config.load import Loaded, list_pipelines, load_pipeline, load_shared
from raypipe.config.shared import Connection
from raypipe.errors import GateRefused, UsageError
from raypipe.features import snapshots

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
        names = only or list_pipelines(config)
        loaded = {name: load_pipeline(name, config, overrides or (), url=url) for name in names}
        wanted = {name: one for name, one in loaded.items() if only or one.config.enabled}
        shared = load_shared(config, url)
        connection, timezone = _connection(wanted) or shared.connection, _timezone(wanted) or shared.timezone
        started = time.perf_counter()
        with endpoint_of(connection) as endpoint, output.progress() as progress:
            from raypipe import night

            steps = list(night.run_night(endpoint, wanted, day, timezone, progress))
        seconds = round(time.perf_counter() - started, 3)
        if json:
            days = [step.date for step in steps if step.date is not None]
            output.emit(
                {
                    "date": max(days, default=day),
                    "pipelines": [vars(step) for step in steps],
                    "failed": [step.pipeline for step in steps if step.status == "failed"],
                    "seconds": seconds,
                }
            )
        else:
            rows = [(step.pipeline, step.status, step.rows, step.seconds) for step in steps]
            output.table(("pipeline", "", "rows", "seconds"), rows, f"the night in {seconds:.0f} s")
            for step in steps:
                if step.said:
                    output.say(f"{step.pipeline} {step.status}: {step.said}")
        statuses = {step.status for step in steps}
        if "failed" in statuses:
            raise typer.Exit(output.FAILED)
        if "refused" in statuses:
            raise typer.Exit(GateRefused.exit_code)


def _connection(pipelines: Mapping[str, Loaded]) -> Connection | None:
    """The ClickHouse that all pipelines of a night name; None where there is no pipeline.

    Raises:
        UsageError: they name several, of which a night would reach one.
    """
    named = {loaded.config.connection: name for name, loaded in pipelines.items()}
    if len(named) > 1:
        raise UsageError(
            "The pipelines of a night name different connections",
            found=", ".join(f"{name}: {connection.url}" for connection, name in named.items()),
            allowed="one connection, in base.yaml",
            next_step="take `connection` out of the pipelines' files, or run them apart with --only",
        )
    return next(iter(named), None)


def _timezone(pipelines: Mapping[str, Loaded]) -> str | None:
    """The zone in which all pipelines that read the day's features cut days; None where there is none.

    Raises:
        UsageError: they name several: in another zone than the features' own, labels and features would overlap.
    """
    named = {one.config.timezone: name for name, one in pipelines.items() if snapshots.PIPELINE in one.config.after}
    if len(named) > 1:
        raise UsageError(
            "The pipelines of a night cut the days of one snapshot in different zones",
            found=", ".join(f"{name}: {timezone}" for timezone, name in named.items()),
            allowed="one timezone, in base.yaml",
            next_step="take `timezone` out of the pipelines' files",
        )
    return next(iter(named), None)
