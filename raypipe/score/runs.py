"""The rows of `raypipe_runs`: the runs, their states, and the commit point of a publication.

The epochs of the pipeline's lock order the runs and the versions of their rows. No clock does: a host's may be wrong.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from raypipe.clickhouse.client import Client, content_token
from raypipe.clickhouse.lock import STEP_BITS
from raypipe.errors import Busy, DataError, UsageError
from raypipe.score.manifest import Manifest

RUNNING = "RUNNING"
STAGED = "STAGED"
PUBLISHING = "PUBLISHING"
PUBLISHED = "PUBLISHED"
REFUSED = "REFUSED"
FAILED = "FAILED"
INTERRUPTED = "INTERRUPTED"
SUPERSEDED = "SUPERSEDED"

AT_WORK = (RUNNING, STAGED, PUBLISHING)
FINISHED = (PUBLISHED, SUPERSEDED)

NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Run:
    """A run as `raypipe_runs` keeps it; `manifest` and `timings` are JSON text.

    `sequence` is the epoch of the run's latest attempt: of two runs of a date, the higher sequence is the later run.
    `version` decides which row of the run counts: the epoch of the row's writer, then the step of that writer.

    `replaces` is 1 when its predictions replaced those of every other run of the date in one step. It becomes 0 when a
    later run is moved in beside them and committed.
    """

    run_id: str
    pipeline: str
    date: date
    model_id: str
    model_version: str
    artifact_sha256: str
    contract_sha256: str
    sql_sha256: str
    status: str
    manifest: str
    source_rows: int
    source_checksum: int
    slices: int
    rows_read: int = 0
    rows_published: int = 0
    rows_rejected: int = 0
    replaces: int = 0
    sequence: int = 0
    version: int = 0
    owner: str = ""
    error: str = ""
    timings: str = "{}"
    started_at: datetime = NEVER
    published_at: datetime = NEVER
    updated_at: datetime = NEVER

    @property
    def run_at(self) -> datetime:
        """Return the timestamp that the run's published rows have, as the manifest's `run_at`."""
        return self.started_at


def opened(manifest: Manifest, owner: str, epoch: int, attempted: Run | None = None) -> Run:
    """Return the row of a run that is about to begin; swapped rows of an earlier attempt stay in view.

    An attempt makes the run the latest of its date: it removes what other runs have left, however they ended.
    """
    return Run(
        manifest.run_id,
        manifest.pipeline,
        manifest.date,
        manifest.model_id,
        manifest.model_version,
        manifest.artifact_sha256,
        manifest.contract_sha256,
        manifest.sql_sha256,
        RUNNING,
        manifest.to_json(),
        manifest.source_rows,
        manifest.source_checksum,
        len(manifest.slicing.slices),
        replaces=attempted.replaces if attempted else 0,
        sequence=epoch,
        version=epoch << STEP_BITS,
        owner=owner,
        started_at=manifest.run_at,
        updated_at=datetime.now(UTC),
    )


def begin(client: Client, run: Run) -> None:
    """Write the first row of an attempt."""
    _write(client, [run])


def save(client: Client, run: Run, epoch: int, **changes: Any) -> Run:
    """Write the run with its changes; a row that a higher epoch has written counts all the same.

    Args:
        epoch: the writer's, by the lock that it holds.
    """
    changed = _changed(run, epoch, **changes)
    _write(client, [changed])
    return changed


def commit(client: Client, run: Run, epoch: int, **changes: Any) -> Run:
    """Write the row that makes a run the current run of its date.

    Where its rows were moved in beside those of earlier runs, the same block sets their `replaces` to 0, so a reader
    of the view sees one run or the other.

    Raises:
        Busy: another process has taken the run over; its row counts.
    """
    changed = _changed(run, epoch, status=PUBLISHED, published_at=datetime.now(UTC), **changes)
    beside = [] if run.replaces else [sibling for sibling in siblings(client, run) if sibling.replaces]
    _write(client, [changed, *(_changed(sibling, epoch, replaces=0) for sibling in beside)])
    counted = find(client, run.run_id)
    if counted.version > changed.version:
        raise Busy(
            f"Another process took over the run {run.run_id} before its commit",
            found=f"{counted.status} by {counted.owner}",
            next_step="leave the rest to the other process; `raypipe runs` shows what becomes of the run",
        )
    return changed


def _changed(run: Run, epoch: int, **changes: Any) -> Run:
    first = epoch << STEP_BITS
    is_own = run.version >> STEP_BITS == epoch
    return replace(run, **changes, version=run.version + 1 if is_own else first, updated_at=datetime.now(UTC))


def _write(client: Client, runs: Sequence[Run]) -> None:
    token = content_token(*(part for run in runs for part in (run.run_id, run.version, run.updated_at.isoformat())))
    client.insert_rows("raypipe_runs", [vars(run) for run in runs], token=token)


def find(client: Client, run_id: str) -> Run:
    """Return the run with an id.

    Raises:
        UsageError: the run does not exist; the message lists the latest runs.
    """
    run = attempted(client, run_id)
    if run is None:
        latest = ", ".join(run.run_id for run in listed(client, limit=5))
        raise UsageError("There is no such run", found=run_id, allowed=latest or "no run exists yet")
    return run


def attempted(client: Client, run_id: str) -> Run | None:
    """Return the run with an id, or None where it has not begun."""
    return next(iter(_select(client, "run_id = {run_id:String}", {"run_id": run_id})), None)


def require_unfinished(run: Run) -> None:
    """Refuse to work on a finished run.

    Raises:
        UsageError: the run is published, or was superseded by a later run of its date.
    """
    if run.status in FINISHED:
        raise UsageError(
            f"Run {run.run_id} is finished and cannot be resumed",
            found=run.status,
            allowed=", ".join((*AT_WORK, REFUSED, FAILED, INTERRUPTED)),
            next_step=f"start a new run with `raypipe run {run.pipeline} --date {run.date}`",
        )


def require_newest(client: Client, run: Run) -> None:
    """Refuse to resume a run when a later run of its date is published, whose rows it would replace.

    Raises:
        UsageError: there is a later run, which died before it could mark this run as superseded.
    """
    later = _select(
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
    others = _select(
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


def listed(client: Client, pipeline: str | None = None, limit: int = 20) -> list[Run]:
    """Return the latest runs of one pipeline or of all, newest first."""
    condition = "pipeline = {pipeline:String}" if pipeline else "1"
    return _select(client, condition, {"pipeline": pipeline} if pipeline else {}, f"LIMIT {int(limit)}")


def earlier(client: Client, run: Run) -> list[Run]:
    """Return the earlier runs of the same pipeline and date whose rows may be in the targets.

    Failed runs count, too: a run may have died after it wrote one of its targets.
    """
    others = [other for other in siblings(client, run) if other.sequence < run.sequence]
    return [other for other in others if other.status != SUPERSEDED]


def siblings(client: Client, run: Run | Manifest) -> list[Run]:
    """Return every other run of the same pipeline and date, newest first."""
    condition = "pipeline = {pipeline:String} AND date = {date:Date} AND run_id != {run_id:String}"
    return _select(client, condition, {"pipeline": run.pipeline, "date": run.date, "run_id": run.run_id})


def at_work(client: Client, manifest: Manifest, table: str) -> list[str]:
    """Return the other pipelines with a run at work that writes a table for the manifest's date."""
    rows = client.rows(
        "SELECT DISTINCT pipeline FROM raypipe_runs FINAL WHERE pipeline != {pipeline:String} AND date = {date:Date}"
        f" AND status IN {AT_WORK}"
        " AND arrayExists(target -> splitByChar('.', JSONExtractString(target, 'table'))[-1] = {table:String},"
        " JSONExtractArrayRaw(manifest, 'targets')) ORDER BY pipeline",
        {"pipeline": manifest.pipeline, "date": manifest.date, "table": table},
    )
    return [name for (name,) in rows]


def superseded(client: Client) -> list[tuple[Run, Run]]:
    """Return the published runs that have a later published run of their date, each with the latest."""
    published = sorted(_select(client, "status = 'PUBLISHED'", {}), key=lambda run: run.sequence, reverse=True)
    latest: dict[tuple[str, date], Run] = {}
    for run in published:
        latest.setdefault((run.pipeline, run.date), run)
    pairs = [(run, latest[run.pipeline, run.date]) for run in published]
    return [(run, newest) for run, newest in pairs if run is not newest]


def _select(client: Client, condition: str, parameters: Mapping[str, Any], tail: str = "") -> list[Run]:
    names = [item.name for item in fields(Run)]
    table = client.table(
        f"SELECT {', '.join(names)} FROM raypipe_runs FINAL WHERE {condition} ORDER BY started_at DESC {tail}",
        parameters,
    )
    return [Run(**{**row, "date": _day(row["date"])}) for row in table.to_pylist()]


def _day(value: Any) -> date:
    # ClickHouse sends a Date as days since 1970 where Arrow's date type is switched off.
    return value if isinstance(value, date) else date(1970, 1, 1) + timedelta(days=int(value))


def tables(run: Run) -> tuple[str, ...]:
    """Return the targets that a run's manifest names, whichever version of raypipe wrote the manifest.

    Raises:
        DataError: the manifest names no targets in a form that this version knows.
    """
    try:
        return tuple(str(target["table"]) for target in json.loads(run.manifest)["targets"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"This version of raypipe cannot read the targets of the run {run.run_id}",
            found=run.manifest[:100],
            next_step=f"run its date again: `raypipe run {run.pipeline} --date {run.date}`",
        ) from error


def timings(run: Run) -> dict[str, float]:
    """Return the seconds of a run's stages."""
    document: dict[str, float] = json.loads(run.timings)
    return document
