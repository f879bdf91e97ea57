"""Define `raypipe runs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from raypipe.cli import output
from raypipe.cli.options import Limit, Only, Options, command
from raypipe.pages.figures import UNKNOWN, duration
from raypipe.score import runs as records

if TYPE_CHECKING:
    from raypipe.report.following import Work

SHOWN = ("run_id", "date", "status", "model_version", "rows_published", "started_at", "error")
DOCUMENTED = (*SHOWN, "pipeline", "rows_rejected", "slices", "published_at")
FOLLOWED = ("pipeline", "date", "stage", "slices", "rows", "rows/s", "time left", "took", "")


@command("the runs go on; repeat the command to follow them")
def runs(
    options: Options,
    pipeline: Only = None,
    limit: Limit = 20,
    follow: bool = typer.Option(False, "--follow", help="Show runs at work until half a minute after the last."),
) -> None:
    """List the scoring runs, newest first.

    `raypipe resume` finishes a run that was interrupted or failed, and one whose process died: INTERRUPTED, FAILED, or
    RUNNING, STAGED or PUBLISHING without a process. --follow shows each pipeline of a night with its stage, slices,
    rows per second and the time that is left; with --json it prints a document per change, each on one line.

    Example: raypipe runs churn --limit 5
    """
    with options.client() as client:
        if follow:
            from raypipe.report import following

            _follow(options, following.follow(client, pipeline or ""))
            return
        listed = records.listed(client, pipeline, limit)
    if not listed:
        options.require_pipeline(pipeline)
    documents = [{name: getattr(run, name) for name in DOCUMENTED} for run in listed]
    rows = [[_first_line(document[name]) for name in SHOWN] for document in documents]
    options.show({"runs": documents}, output.table, SHOWN, rows)


def _first_line(value: object) -> object:
    return value.splitlines()[0][:80] if isinstance(value, str) and value else value


def _follow(options: Options, looks: Iterator[list[Work]]) -> None:
    if options.json:
        last = ""
        for work in looks:
            documents = [item.to_json() for item in work]
            # Seconds grow by themselves; a line per change is enough.
            state = json.dumps([[item.run_id, item.stage, item.slices_done] for item in work])
            if state != last:
                last = state
                output.emit_line({"runs": documents})
        options.has_printed = True
    elif output.out.is_terminal:
        with output.live() as show:
            for work in looks:
                show(FOLLOWED, [_row(item) for item in work])
    else:
        _lines(looks)


def _lines(looks: Iterator[list[Work]]) -> None:
    """Print a line per change, for a log or a pipe."""
    known: dict[str, tuple[str, int]] = {}
    for work in looks:
        for item in work:
            state = (item.stage, item.slices_done)
            if known.get(item.run_id) != state:
                known[item.run_id] = state
                output.say("  ".join(str(part) for part in _row(item) if part not in ("", UNKNOWN)))
        sys.stdout.flush()


def _row(item: Work) -> Sequence[object]:
    rows = f"{item.rows_done:,} of {item.rows:,}" if item.rows else UNKNOWN
    rate = UNKNOWN if item.rows_per_second is None else f"{item.rows_per_second:,.0f}/s"
    left = UNKNOWN if item.seconds_left is None else f"{duration(item.seconds_left)} left"
    slices = f"{item.slices_done}/{item.slices}" if item.slices else UNKNOWN
    note = item.error if item.is_alive else "no process; `raypipe resume` finishes it"
    return (item.pipeline, item.date or UNKNOWN, item.stage, slices, rows, rate, left, duration(item.seconds), note)
