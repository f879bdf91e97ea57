"""Refuse a run that may not begin, or may not be resumed."""

from raypipe.clickhouse.client import Client
from raypipe.errors import Busy, UsageError
from raypipe.score import runs
from raypipe.score.manifest import Manifest
from raypipe.score.runs import Run


def require_unfinished(run: Run) -> None:
    """Refuse to work on a finished run.

    Raises:
        UsageError: the run is published, or was superseded by a later run of its date.
    """
    if run.status in runs.FINISHED:
        raise UsageError(
            f"Run {run.run_id} is finished and cannot be resumed",
            found=run.status,
            allowed=", ".join((*runs.AT_WORK, runs.REFUSED, runs.FAILED, runs.INTERRUPTED)),
            next_step=f"start a new run with `raypipe run {run.pipeline} --date {run.date}`",
        )


def require_newest(client: Client, run: Run) -> None:
    """Refuse to resume a run when a later run of its date is published, whose rows it would replace.

    Raises:
        UsageError: there is a later run, which died before it could mark this run as superseded.
    """
    later = runs.select(
        client,
        "pipeline = {pipeline:String} AND date = {date:Date} AND status = 'PUBLISHED'"
        " AND sequence >= {sequence:UInt64} AND run_id != {run_id:String}",
        {"pipeline": run.pipeline, "date": run.date, "sequence": run.sequence, "run_id": run.run_id},
    )
    if later:
        raise UsageError(
            f"A later run than {run.run_id} is published for its date",
            found=later[0].run_id,
            next_step=f"do not resume it; start a new run with `raypipe run {run.pipeline} --date {run.date}`",
        )


def require_own_second(client: Client, manifest: Manifest) -> None:
    """Refuse a run that began in the same second as another run of its pipeline: their rows could be confused.

    Raises:
        Busy: another run was planned in the same second.
    """
    others = runs.select(
        client,
        "pipeline = {pipeline:String} AND started_at = {run_at:DateTime64(6, 'UTC')} AND run_id != {run_id:String}",
        {"pipeline": manifest.pipeline, "run_at": manifest.run_at, "run_id": manifest.run_id},
    )
    if others:
        raise Busy(
            f"Another run of the pipeline {manifest.pipeline} began in the same second",
            found=f"{others[0].run_id} of {others[0].date}, {manifest.run_at:%Y-%m-%d %H:%M:%S} UTC",
            next_step="repeat the command",
        )
