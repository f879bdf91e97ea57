"""The lock of a pipeline: a table that only one process can create."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from raypipe.clickhouse.client import Client
from raypipe.errors import Busy, ServerError

TABLE_ALREADY_EXISTS = 57
REPLICA_ALREADY_EXISTS = 253


@dataclass(frozen=True)
class Owner:
    """The holder of a lock: a run, and the process that works on it."""

    run_id: str
    host: str
    pid: int
    since: str

    @classmethod
    def here(cls, run_id: str) -> Owner:
        """Return this process as the owner of a run."""
        return cls(run_id, socket.gethostname(), os.getpid(), datetime.now(UTC).isoformat(timespec="microseconds"))

    @property
    def is_dead(self) -> bool:
        """Return whether the owner's process on this host is gone; False when that cannot be known."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False

    def __str__(self) -> str:
        return f"run {self.run_id}, process {self.pid} on {self.host}, since {self.since}"


def lock_table(pipeline: str) -> str:
    """Return the name of a pipeline's lock."""
    return f"raypipe_lock_{pipeline}"


def holder(client: Client, pipeline: str) -> Owner | None:
    """Return the owner of the pipeline's lock, or None."""
    rows = client.rows(
        f"SELECT comment FROM {client.topology.system('tables')}"
        " WHERE database = {database:String} AND name = {name:String}",
        {"database": client.endpoint.database, "name": lock_table(pipeline)},
    )
    return Owner(**json.loads(rows[0][0])) if rows else None


def acquire(client: Client, pipeline: str, owner: Owner, *, take_over: bool = False) -> None:
    """Take the pipeline's lock.

    A resume takes the lock of a dead owner of the same run silently. Any other lock needs `take_over`.

    Raises:
        Busy: another owner holds the lock.
    """
    held = holder(client, pipeline)
    if held is not None and (take_over or (held.run_id == owner.run_id and held.is_dead)):
        release(client, pipeline, held)
    try:
        # Without IF NOT EXISTS, so that one of two simultaneous requests fails.
        client.run(client.topology.lock(lock_table(pipeline), json.dumps(asdict(owner))))
    except ServerError as error:
        if error.code not in (TABLE_ALREADY_EXISTS, REPLICA_ALREADY_EXISTS):
            raise
        raise _busy(pipeline, holder(client, pipeline)) from error


def require_free(client: Client, pipeline: str) -> None:
    """Refuse a new run that `acquire` would refuse, before anything is created for the run.

    Raises:
        Busy: the lock is taken.
    """
    held = holder(client, pipeline)
    if held is not None:
        raise _busy(pipeline, held)


def _busy(pipeline: str, held: Owner | None) -> Busy:
    gone = " (this process is gone)" if held is not None and held.is_dead else ""
    is_run = held is None or held.run_id != _versions_owner(pipeline)
    finish = f" finish it with `raypipe resume {held.run_id if held else 'RUN'}`," if is_run else ""
    work = "a run is at work" if is_run else "its versions are being changed"
    return Busy(
        f"The pipeline {pipeline} is locked: {work}",
        found=f"{held}{gone}",
        next_step=f"wait for it,{finish} or repeat with --take-over when it is surely dead",
    )


def require(client: Client, pipeline: str, owner: Owner) -> None:
    """Refuse to go on when the lock no longer belongs to this owner."""
    held = holder(client, pipeline)
    if held != owner:
        raise Busy(
            f"Another process took over the lock of the pipeline {pipeline} during this run",
            found=str(held) if held else "no lock",
            next_step="leave the rest to the other run; this run published nothing",
        )


def release(client: Client, pipeline: str, owner: Owner) -> None:
    """Release the lock, unless another owner has it by now."""
    if holder(client, pipeline) == owner:
        client.run(client.topology.drop(lock_table(pipeline)))


def _versions_owner(pipeline: str) -> str:
    """Return the id that stands for a run's where `held` takes the lock."""
    return f"{pipeline}_models"


@contextmanager
def held(client: Client, pipeline: str, owner: Owner | None = None, *, take_over: bool = False) -> Iterator[None]:
    """Hold the lock: no run of the pipeline is at work, and no other process changes its versions.

    Raises:
        Busy: another owner holds the lock.
    """
    # Without a run the name never changes, so that a lock is taken silently when its process died on this host.
    owner = owner or Owner.here(_versions_owner(pipeline))
    acquire(client, pipeline, owner, take_over=take_over)
    try:
        yield
    finally:
        release(client, pipeline, owner)
