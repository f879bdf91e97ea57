"""The rows of `raypipe_runs`: the runs, their states, and the commit point of a publication.

The epochs of the pipeline's lock order the runs and the versions of their rows. No clock does: a host's may be wrong.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from raypipe.clickhouse.client import Client, content_token
from raypipe.clickhouse.lock_ledger import STEP_BITS
from raypipe.errors import Busy, DataError, UsageError
from raypipe.score.manifest import Manifest

LEDGER = "raypipe_runs"

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

    `previous` names, by target, the tables that keep the committed run's rows while this run is swapped in; `published`
    has the partition and the number of its rows, by target. Both are JSON text.
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
    previous: str = "{}"
    published: str = "{}"
    sequence: int = 0
    version: int = 0
    owner: str = ""
    error: str = ""
    timings: str = "{}"
    started_at: datetime = NEVER
    published_at: datetime = NEVER
    updated_at: datetime = NEVER

    def _repr_html_(self) -> str:
        """Show the run in a notebook."""
        from raypipe.pages import notebook

        pairs = [
            ("date", str(self.date)),
            ("rows", f"{self.rows_published:,}"),
            ("no score", f"{self.rows_rejected:,}"),
            ("version", self.model_version),
            ("started", f"{self.started_at:%Y-%m-%d %H:%M:%S} UTC"),
            ("slices", f"{self.slices:,}"),
        ]
        state = "good" if self.status in FINISHED else "watch" if self.status in AT_WORK else "bad"
        return notebook.card(f"{self.pipeline}: run {self.run_id}", state, self.status, pairs, self.error)

    @property
    def run_at(self) -> datetime:
        """Return the timestamp that the run's published rows have, as the manifest's `run_at`."""
        return self.started_at


def opened(manifest: Manifest, owner: str, epoch: int, attempted: Run | None = None) -> Run:
    """Return the row of a run that is about to begin; readers keep what an earlier attempt keeps for them.

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
        previous=attempted.previous if attempted else "{}",
        sequence=epoch,
        version=epoch << STEP_BITS,
        owner=owner,
        started_at=manifest.run_at,
        updated_at=datetime.now(UTC),
    )


def begin(client: Client, run: Run) -> None:
    """Write the first row of an attempt."""
    _write(client, run)


def save(client: Client, run: Run, epoch: int, **changes: Any) -> Run:
    """Write the run with its changes; a row that a higher epoch has written counts all the same.

    Args:
        epoch: the writer's, by the lock that it holds.
    """
    changed = _changed(run, epoch, **changes)
    _write(client, changed)
    return changed


def commit(client: Client, run: Run, epoch: int, **changes: Any) -> Run:
    """Write the row that makes a run the current run of its date.

    Raises:
        Busy: another process has taken the run over; its row counts.
    """
    changed = _changed(run, epoch, status=PUBLISHED, published_at=datetime.now(UTC), **changes)
    _write(client, changed)
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


def _write(client: Client, run: Run) -> None:
    token = content_token(run.run_id, run.version, run.updated_at.isoformat())
    client.insert_rows(LEDGER, [vars(run)], token=token)


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
    return next(iter(select(client, "run_id = {run_id:String}", {"run_id": run_id})), None)


def listed(client: Client, pipeline: str | None = None, limit: int = 20) -> list[Run]:
    """Return the latest runs of one pipeline or of all, newest first."""
    condition = "pipeline = {pipeline:String}" if pipeline else "1"
    return select(client, condition, {"pipeline": pipeline} if pipeline else {}, f"LIMIT {int(limit)}")


def earlier(client: Client, run: Run) -> list[Run]:
    """Return the earlier runs of the same pipeline and date whose rows may be in the targets.

    Failed runs count, too: a run may have died after it wrote one of its targets.
    """
    others = [other for other in siblings(client, run) if other.sequence < run.sequence]
    return [other for other in others if other.status != SUPERSEDED]


def committed(client: Client, run: Run) -> Run | None:
    """Return the other run that readers see of the run's date, or None."""
    published = [other for other in siblings(client, run) if other.status == PUBLISHED]
    return max(published, key=lambda other: other.sequence, default=None)


def kept(client: Client, run: Run, committed: Run) -> set[str]:
    """Return the targets in which a run after the committed run, or this run, keeps the committed run's rows."""
    later = [other for other in (run, *siblings(client, run)) if other.sequence > committed.sequence]
    return {target for other in later for target in json.loads(other.previous)}


def siblings(client: Client, run: Run | Manifest) -> list[Run]:
    """Return every other run of the same pipeline and date, newest first."""
    condition = "pipeline = {pipeline:String} AND date = {date:Date} AND run_id != {run_id:String}"
    return select(client, condition, {"pipeline": run.pipeline, "date": run.date, "run_id": run.run_id})


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


def end_former(client: Client, run: Run, epoch: int) -> None:
    """End former owners' runs of the date, so that a commit of theirs that comes late has no effect.

    Args:
        epoch: the owner's; a row of a lower epoch does not count.
    """
    for other in siblings(client, run):
        if other.status in AT_WORK:
            save(client, other, epoch, status=FAILED, error=f"{run.run_id} took over the lock of the pipeline")


def superseded(client: Client) -> list[tuple[Run, Run]]:
    """Return the published runs that have a later published run of their date, each with the latest."""
    published = select(client, "status = 'PUBLISHED'", {})
    latest = committed_by_day(published)
    pairs = [(run, latest[run.pipeline, run.date]) for run in published]
    return [(run, newest) for run, newest in pairs if run is not newest]


def history(client: Client) -> list[Run]:
    """Return every run without its manifest, newest first."""
    return select(client, "1", {}, columns={"manifest": "''"})


def committed_by_day(history: Iterable[Run]) -> dict[tuple[str, date], Run]:
    """Return the committed run of each pipeline and date: the published run with the highest sequence."""
    published = [run for run in history if run.status == PUBLISHED]
    return {(run.pipeline, run.date): run for run in sorted(published, key=lambda run: run.sequence)}


def select(
    client: Client,
    condition: str,
    parameters: Mapping[str, Any],
    tail: str = "",
    columns: Mapping[str, str] | None = None,
) -> list[Run]:
    """Return the runs for which a condition holds, newest first; `columns` has expressions in place of columns."""
    names = [item.name for item in fields(Run)]
    expressions = ", ".join(f"{(columns or {}).get(name, name)} AS {name}" for name in names)
    table = client.table(
        f"SELECT {expressions} FROM raypipe_runs FINAL WHERE {condition} ORDER BY started_at DESC {tail}",
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
