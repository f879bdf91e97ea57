"""Define `raypipe nightly`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from raypipe.alerts.messages import lines
from raypipe.cli import failures, output
from raypipe.cli.alerts import document as alerts_document
from raypipe.cli.dates import LATEST, parse_date
from raypipe.cli.options import Date, Options, TakeOver, command, endpoint_of
from raypipe.cli.score import RESUMABLE
from raypipe.config.load import list_pipelines, load_shared
from raypipe.errors import GateRefused, UsageError
from raypipe.features import snapshots

if TYPE_CHECKING:
    from raypipe.alerts.alerts import Review
    from raypipe.night import Step


class FailOn(StrEnum):
    """A state that gives the night an exit code of its own."""

    ALERT = "alert"


@command(RESUMABLE, reads="nightly", fits=True)
def nightly(
    options: Options,
    date: Date = LATEST,
    only: list[str] | None = typer.Option(None, metavar="PIPELINE", help="Run this pipeline alone. May be repeated."),
    take_over: TakeOver = False,
    fail_on: FailOn | None = typer.Option(None, help="End with exit code 4 if nothing failed and an alert is open."),
) -> None:
    """Build the day's features, then run every enabled pipeline.

    Pipelines run in dependency order: `enabled` and `after` in their configs say which run, and after which others.
    A failed pipeline does not stop the others. What a pipeline publishes is verified, as `raypipe verify` does. The
    exit code is 1 when a pipeline failed, and 3 when a gate or the verification refused one and none failed.
    Alerts are compared at the end, and sent to their receivers; a receiver that does not answer is a warning.

    Example: raypipe nightly --date 2026-01-31
    """
    day = parse_date(date)
    loaded = {name: options.load(name) for name in only or list_pipelines(options.config)}
    chosen = {name: pipeline for name, pipeline in loaded.items() if only or pipeline.config.enabled}
    shared = load_shared(options.config, options.url)
    configs = {name: pipeline.config for name, pipeline in chosen.items()}
    connections = {config.connection: name for name, config in configs.items()}
    connection = _shared(connections, "name different connections", "connection") or shared.connection
    # Labels and features of different zones would overlap.
    zones = {config.timezone: name for name, config in configs.items() if snapshots.PIPELINE in config.after}
    timezone = _shared(zones, "cut the days of one snapshot in different zones", "timezone") or shared.timezone
    started = time.perf_counter()
    with endpoint_of(connection) as endpoint, output.progress() as progress:
        from raypipe import night

        steps = list(night.run_night(endpoint, chosen, day, timezone, progress, take_over=take_over))
        seconds = time.perf_counter() - started
        reviewed = night.review(endpoint, chosen, steps, seconds)
    document = {
        "date": max((step.date for step in steps if step.date is not None), default=day),
        "pipelines": [vars(step) for step in steps],
        "failed": [step.pipeline for step in steps if step.status == "failed"],
        "seconds": round(seconds, 3),
        "alerts": alerts_document(reviewed),
    }
    options.show(document, _print, steps, seconds, reviewed)
    statuses = {step.status for step in steps}
    if "failed" in statuses:
        raise typer.Exit(failures.FAILED)
    if "refused" in statuses:
        raise typer.Exit(GateRefused.exit_code)
    if fail_on is FailOn.ALERT and reviewed.open:
        raise typer.Exit(failures.ALERT)


def _print(steps: Sequence[Step], seconds: float, reviewed: Review) -> None:
    counts = Counter(alert.place.pipeline for alert in reviewed.open)
    rows = [
        (
            *(step.pipeline, step.status, step.rows_published, step.verified, _refit(step), step.seconds),
            counts[step.pipeline] or None,
        )
        for step in steps
    ]
    columns = ("pipeline", "", "rows", "verified", "refit", "seconds", "alerts")
    output.table(columns, rows, f"the night in {seconds:.0f} s")
    for step in steps:
        if step.reason:
            output.say(f"{step.pipeline} {step.status}: {step.reason}")
        if step.refit and not step.refit["error"]:
            output.say(f"{step.pipeline} was fitted, {step.refit['reason']}")
        output.warn([f"{step.pipeline}: {warning}" for warning in step.warnings])
    for line in lines([*reviewed.open, *reviewed.resolved]):
        output.say(line)
    output.warn(reviewed.warnings)


def _refit(step: Step) -> str:
    """Return the trigger of the fit of a step and its outcome, in a few words."""
    if step.refit is None:
        return ""
    outcome = "failed" if step.refit["error"] else "champion" if step.refit["promoted"] else "challenger"
    return f"{step.refit['trigger']}: {outcome}"


def _shared(values: Mapping[Any, str], problem: str, key: str) -> Any:
    """Return the value that all pipelines share; None if none sets it.

    Raises:
        UsageError: the pipelines have several values.
    """
    if len(values) > 1:
        raise UsageError(
            f"The pipelines of a night {problem}",
            found=", ".join(f"{name}: {getattr(value, 'url', value)}" for value, name in values.items()),
            allowed=f"one {key}, in base.yaml",
            next_step=f"remove `{key}` from the pipelines' files, or run each with --only",
        )
    return next(iter(values), None)
