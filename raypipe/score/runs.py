"""The rows of `raypipe_runs`: what ran, how far it came, and the commit point of a publication."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from raypipe.clickhouse.client import Client, content_token
from raypipe.errors import Busy, UsageError
from raypipe.score.manifest import Manifest

RUNNING = "RUNNING"
STAGED = "STAGED"
PUBLISHING = "PUBLISHING"
PUBLISHED = "PUBLISHED"
REFUSED = "REFUSED"
FAILED = "FAILED"
SUPERSEDED = "SUPERSEDED"

FINISHED = (PUBLISHED, SUPERSEDED)

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = pa.timestamp("us", tz="UTC")

SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("pipeline", pa.string()),
        ("date", pa.date32()),
        ("model_id", pa.string()),
        ("model_version", pa.string()),
        ("artifact_sha256", pa.string()),
        ("contract_sha256", pa.string()),
        ("sql_sha256", pa.string()),
        ("status", pa.string()),
        ("manifest", pa.string()),
        ("source_rows", pa.uint64()),
        ("source_checksum", pa.uint64()),
        ("slices", pa.uint32()),
        ("rows_read", pa.uint64()),
        ("rows_published", pa.uint64()),
        ("rows_rejected", pa.uint64()),
        ("replaces", pa.uint8()),
        ("owner", pa.string()),
        ("error", pa.string()),
        ("timings", pa.string()),
        ("started_at", _TIME),
        ("published_at", _TIME),
        ("updated_at", _TIME),
    ]
)


@dataclass(frozen=True)
class Run:
    """A run as `raypipe_runs` keeps it; `manifest` and `timings` are JSON text.

    `replaces` is 1 when its predictions took the place of every other run's of the date in one step, until a later
    run's are moved in beside them and committed.
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
    updated_at: datetime = field(default=NEVER)


def opened(manifest: Manifest, owner: str, attempted: Run | None = None) -> Run:
    """The row of a run that is about to begin.

    Args:
        manifest: of the run.
        owner: who works on it.
        attempted: the row that an earlier attempt left: what that swapped in stays in view, and its row's version is
            passed even by a host whose clock is behind.
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
    """Writes the run with its changes as the newest version of its row."""
    changed = _changed(run, **changes)
    _write(client, [changed])
    return changed


def commit(client: Client, run: Run, **changes: Any) -> Run:
    """Writes the row that makes a run the current one of its date.

    Where its rows were moved in beside those of earlier runs, the same block says that these no longer take the others'
    place: a reader of the view meets either.
    """
    changed = _changed(run, status=PUBLISHED, published_at=datetime.now(UTC), **changes)
    beside = [] if run.replaces else [one for one in siblings(client, run) if one.replaces]
    _write(client, [changed, *(_changed(one, replaces=0) for one in beside)])
    return changed


def _changed(run: Run, **changes: Any) -> Run:
    # The version must grow even when two changes fall into one tick of the clock.
    later = max(datetime.now(UTC), run.updated_at + timedelta(microseconds=1))
    return replace(run, **changes, updated_at=later)


def _write(client: Client, written: Sequence[Run]) -> None:
    rows = [{item.name: getattr(one, item.name) for item in fields(Run)} for one in written]
    client.insert(
        "raypipe_runs",
        pa.Table.from_pylist(rows, schema=SCHEMA),
        token=content_token(*(part for one in written for part in (one.run_id, one.updated_at.isoformat()))),
        columns=SCHEMA.names,
    )


def find(client: Client, run_id: str) -> Run:
    """The run with an id.

    Raises:
        UsageError: there is none; the message lists the latest.
    """
    found = attempted(client, run_id)
    if found is None:
        latest = ", ".join(run.run_id for run in listed(client, limit=5))
        raise UsageError("There is no such run", found=run_id, allowed=latest or "none has run yet")
    return found


def attempted(client: Client, run_id: str) -> Run | None:
    """The run with an id, or None where it has not begun."""
    return next(iter(_select(client, "run_id = {run_id:String}", {"run_id": run_id})), None)


def require_unfinished(run: Run) -> None:
    """Refuses to work on a run that is over.

    Raises:
        UsageError: it is published, or another one of its date was after it.
    """
    if run.status in FINISHED:
        raise UsageError(
            f"Run {run.run_id} needs no resuming",
            found=run.status,
            allowed="a run that is RUNNING, STAGED, PUBLISHING, REFUSED or FAILED",
            next_step=f"`raypipe run {run.pipeline} --date {run.date}` makes a new run",
        )


def require_newest(client: Client, run: Run) -> None:
    """Refuses to go on with a run behind which a later one of its date was published, whose rows it would replace.

    Raises:
        UsageError: there is such a run; it died before it could mark this one as superseded.
    """
    later = _select(
        client,
        "pipeline = {pipeline:String} AND date = {date:Date} AND status = 'PUBLISHED'"
        " AND started_at > {started_at:DateTime64(6, 'UTC')}",
        {"pipeline": run.pipeline, "date": run.date, "started_at": run.started_at},
    )
    if later:
        raise UsageError(
            f"A run that began after {run.run_id} is published for the same date",
            found=later[0].run_id,
            next_step=f"leave it; `raypipe run {run.pipeline} --date {run.date}` makes a new run",
        )


def require_own_second(client: Client, manifest: Manifest) -> None:
    """Refuses a run that began in the same second as another one of its pipeline, whose rows could be taken for its.

    Raises:
        Busy: they were planned side by side.
    """
    others = _select(
        client,
        "pipeline = {pipeline:String} AND started_at = {run_at:DateTime64(6, 'UTC')} AND run_id != {run_id:String}",
        {"pipeline": manifest.pipeline, "run_at": manifest.run_at, "run_id": manifest.run_id},
    )
    if others:
        raise Busy(
            f"Another run of the pipeline {manifest.pipeline} began in the very same second",
            found=f"{others[0].run_id} of {others[0].date}, {manifest.run_at:%Y-%m-%d %H:%M:%S} UTC",
            next_step="repeat the command",
        )


def listed(client: Client, pipeline: str | None = None, limit: int = 20) -> list[Run]:
    """The latest runs, newest first, of one pipeline or of all."""
    condition = "pipeline = {pipeline:String}" if pipeline else "1"
    return _select(client, condition, {"pipeline": pipeline} if pipeline else {}, f"LIMIT {int(limit)}")


def earlier(client: Client, manifest: Manifest) -> list[Run]:
    """Other runs of the same pipeline and date, whose rows may stand in the targets.

    Failed ones count too: a run may have died after one of its targets was written.
    """
    return [run for run in siblings(client, manifest) if run.status != SUPERSEDED]


def siblings(client: Client, run: Run | Manifest) -> list[Run]:
    """Every other run of the same pipeline and date, newest first."""
    condition = "pipeline = {pipeline:String} AND date = {date:Date} AND run_id != {run_id:String}"
    return _select(client, condition, {"pipeline": run.pipeline, "date": run.date, "run_id": run.run_id})


def at_work(client: Client, manifest: Manifest, table: str) -> list[str]:
    """The other pipelines with a run of the manifest's date that writes a table, and has not ended yet."""
    rows = client.rows(
        "SELECT DISTINCT pipeline FROM raypipe_runs FINAL WHERE pipeline != {pipeline:String} AND date = {date:Date}"
        f" AND status IN ('{RUNNING}', '{STAGED}', '{PUBLISHING}')"
        " AND arrayExists(one -> splitByChar('.', JSONExtractString(one, 'table'))[-1] = {table:String},"
        " JSONExtractArrayRaw(manifest, 'targets')) ORDER BY pipeline",
        {"pipeline": manifest.pipeline, "date": manifest.date, "table": table},
    )
    return [name for (name,) in rows]


def superseded(client: Client) -> list[tuple[Run, Run]]:
    """Published runs that a later one of their pipeline and date stands beside, each with the latest of them."""
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
    """The seconds of a run's stages."""
    document: dict[str, float] = json.loads(run.timings)
    return document
