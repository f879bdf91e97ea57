"""The rows of `raypipe_runs`: the runs, their states, and the commit point of a publication."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from raypipe.clickhouse.client import Client, content_token
from raypipe.errors import Busy, UsageError
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


def opened(manifest: Manifest, owner: str, attempted: Run | None = None) -> Run:
    """Return the row of a run that is about to begin.

    Swapped rows of an earlier attempt stay in view. The new row is later than the attempt's row, even where this host's
    clock is behind.
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
        owner=owner,
        started_at=manifest.run_at,
        updated_at=attempted.updated_at if attempted else NEVER,
    )


def save(client: Client, run: Run, **changes: Any) -> Run:
    """Write the run with its changes as the newest version of its row."""
    changed = _changed(run, **changes)
    _write(client, [changed])
    return changed


def commit(client: Client, run: Run, **changes: Any) -> Run:
    """Write the row that makes a run the current run of its date.

    Where its rows were moved in beside those of earlier runs, the same block sets their `replaces` to 0, so a reader
    of the view sees one run or the other.
    """
    changed = _changed(run, status=PUBLISHED, published_at=datetime.now(UTC), **changes)
    beside = [] if run.replaces else [sibling for sibling in siblings(client, run) if sibling.replaces]
    _write(client, [changed, *(_changed(sibling, replaces=0) for sibling in beside)])
    return changed


def _changed(run: Run, **changes: Any) -> Run:
    # updated_at must grow even when two changes fall into one tick of the clock.
    later = max(datetime.now(UTC), run.updated_at + timedelta(microseconds=1))
    return replace(run, **changes, updated_at=later)


def _write(client: Client, runs: Sequence[Run]) -> None:
    token = content_token(*(part for run in runs for part in (run.run_id, run.updated_at.isoformat())))
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
        " AND started_at > {started_at:DateTime64(6, 'UTC')}",
        {"pipeline": run.pipeline, "date": run.date, "started_at": run.started_at},
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


def earlier(client: Client, manifest: Manifest) -> list[Run]:
    """Return the other runs of the same pipeline and date whose rows may be in the targets.

    Failed runs count, too: a run may have died after it wrote one of its targets.
    """
    return [run for run in siblings(client, manifest) if run.status != SUPERSEDED]


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
    published = sorted(
        _select(client, "status = 'PUBLISHED'", {}), key=lambda run: (run.published_at, run.run_id), reverse=True
    )
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


def timings(run: Run) -> dict[str, float]:
    """Return the seconds of a run's stages."""
    document: dict[str, float] = json.loads(run.timings)
    return document
