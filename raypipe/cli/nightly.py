"""`raypipe nightly`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from raypipe.cli import failures, output
from raypipe.cli.dates import LATEST, parse_date
from raypipe.cli.options import Date, Options, command, endpoint_of
from raypipe.cli.score import RESUMABLE
from raypipe.config.load import Loaded, list_pipelines, load_shared
from raypipe.config.schema import Connection
from raypipe.errors import GateRefused, UsageError
from raypipe.features import snapshots

if TYPE_CHECKING:
    from raypipe.night import Step


@command(RESUMABLE, reads="nightly")
def nightly(
    options: Options,
    date: Date = LATEST,
    only: list[str] | None = typer.Option(None, metavar="PIPELINE", help="Run this pipeline alone. May be repeated."),
) -> None:
    """Build the day's features, then run every enabled pipeline.

    Pipelines run in dependency order: `enabled` and `after` in their configs say which run, and after which others.
    A failed pipeline does not stop the others. The exit code is 1 when a pipeline failed, and 3 when a gate refused one
    and none failed.

    Example: raypipe nightly --date 2026-01-31
    """
    day = parse_date(date)
    loaded = {name: options.load(name) for name in only or list_pipelines(options.config)}
    chosen = {name: pipeline for name, pipeline in loaded.items() if only or pipeline.config.enabled}
    shared = load_shared(options.config, options.url)
    connection, timezone = _connection(chosen) or shared.connection, _timezone(chosen) or shared.timezone
    started = time.perf_counter()
    with endpoint_of(connection) as endpoint, output.progress() as progress:
        from raypipe import night

        steps = list(night.run_night(endpoint, chosen, day, timezone, progress))
    seconds = time.perf_counter() - started
    document = {
        "date": max((step.date for step in steps if step.date is not None), default=day),
        "pipelines": [vars(step) for step in steps],
        "failed": [step.pipeline for step in steps if step.status == "failed"],
        "seconds": round(seconds, 3),
    }
    options.show(document, _print, steps, seconds)
    statuses = {step.status for step in steps}
    if "failed" in statuses:
        raise typer.Exit(failures.FAILED)
    if "refused" in statuses:
        raise typer.Exit(GateRefused.exit_code)


def _print(steps: Sequence[Step], seconds: float) -> None:
    rows = [(step.pipeline, step.status, step.rows_published, step.seconds) for step in steps]
    output.table(("pipeline", "", "rows", "seconds"), rows, f"the night in {seconds:.0f} s")
    for step in steps:
        if step.reason:
            output.say(f"{step.pipeline} {step.status}: {step.reason}")


def _connection(pipelines: Mapping[str, Loaded]) -> Connection | None:
    """Return the ClickHouse of all pipelines; None where there is no pipeline.

    Raises:
        UsageError: they name several, and a night reaches only one.
    """
    named = {loaded.config.connection: name for name, loaded in pipelines.items()}
    if len(named) > 1:
        raise UsageError(
            "The pipelines of a night name different connections",
            found=", ".join(f"{name}: {connection.url}" for connection, name in named.items()),
            allowed="one connection, in base.yaml",
            next_step="remove `connection` from the pipelines' files, or run each with --only",
        )
    return next(iter(named), None)


def _timezone(pipelines: Mapping[str, Loaded]) -> str | None:
    """Return the zone of all pipelines that read the day's features; None where none does.

    Raises:
        UsageError: they name several zones, so that labels and features would overlap.
    """
    zones = {
        loaded.config.timezone: name for name, loaded in pipelines.items() if snapshots.PIPELINE in loaded.config.after
    }
    if len(zones) > 1:
        raise UsageError(
            "The pipelines of a night cut the days of one snapshot in different zones",
            found=", ".join(f"{name}: {timezone}" for timezone, name in zones.items()),
            allowed="one timezone, in base.yaml",
            next_step="remove `timezone` from the pipelines' files",
        )
    return next(iter(zones), None)
