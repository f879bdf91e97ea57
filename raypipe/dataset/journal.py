"""The rows of `raypipe_writes`: the writes of Ray Data programs, and their states."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from raypipe.clickhouse.client import Client, content_token
from raypipe.clickhouse.lock_ledger import STEP_BITS
from raypipe.clickhouse.schema.migrate import schema
from raypipe.clickhouse.tables import describe
from raypipe.errors import Busy

TABLE = "raypipe_writes"
RUNNING = "RUNNING"
PUBLISHING = "PUBLISHING"
PUBLISHED = "PUBLISHED"
FAILED = "FAILED"

NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    """A write as `raypipe_writes` keeps it.

    Attributes:
        twin: the table from which the rows are moved into the target, by the name that its maker gave it.
        partitions: JSON; see `blocks`.
        server_started: the start of the server that was to move the rows, by the server's clock.
        version: decides which row counts: the epoch of the row's writer, then the step of that writer.
    """

    write_id: str
    target: str
    run: str
    status: str
    twin: str = ""
    rows: int = 0
    partitions: str = "{}"
    server_started: str = ""
    owner: str = ""
    error: str = ""
    version: int = 0
    updated_at: datetime = NEVER

    @property
    def blocks(self) -> Mapping[str, int]:
        """Return the newest block of the target before the rows were moved, by partition; 0 for a new partition."""
        document: dict[str, int] = json.loads(self.partitions)
        return document


def identity(table: str, run: str) -> str:
    """Return the id of a write, which fits into names of tables whatever the run is called."""
    return f"write_{hashlib.sha256(f'{table} {run}'.encode()).hexdigest()[:16]}"


def create(client: Client) -> None:
    """Create the ledger where it is missing."""
    if describe(client, TABLE) is None:
        client.run(next(declaration.ddl for declaration in schema() if declaration.name == TABLE))


def find(client: Client, write_id: str) -> Entry | None:
    """Return the entry of a write, or None where it has not begun."""
    names = [item.name for item in fields(Entry)]
    rows = client.table(
        f"SELECT {', '.join(names)} FROM {TABLE} FINAL WHERE write_id = {{write_id:String}}", {"write_id": write_id}
    ).to_pylist()
    return Entry(**rows[0]) if rows else None


def last_epoch(client: Client, write_id: str) -> int:
    """Return the highest epoch that wrote an entry of a write."""
    entry = find(client, write_id)
    return entry.version >> STEP_BITS if entry else 0


def save(client: Client, entry: Entry, epoch: int, **changes: Any) -> Entry:
    """Write an entry with its changes; an entry of a higher epoch counts all the same.

    Args:
        epoch: the writer's, by the lock that it holds.
    """
    is_own = entry.version >> STEP_BITS == epoch
    version = entry.version + 1 if is_own else epoch << STEP_BITS
    changed = replace(entry, **changes, version=version, updated_at=datetime.now(UTC))
    token = content_token(entry.write_id, version, changed.updated_at.isoformat())
    client.insert_rows(TABLE, [vars(changed)], token=token)
    return changed


def require_counted(client: Client, entry: Entry) -> None:
    """Refuse to go on where another process wrote a later entry.

    Raises:
        Busy: names that process.
    """
    counted = find(client, entry.write_id)
    if counted is None or counted.version > entry.version:
        raise Busy(
            f"Another process took over the run {entry.run} of {entry.target}",
            found=f"{counted.status} by {counted.owner}" if counted else "no entry",
            next_step="leave the rest to the other process: this run adds no rows",
        )
