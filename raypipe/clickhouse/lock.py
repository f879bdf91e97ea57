"""One scoring run a pipeline at a time: a table that only one can create."""

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
    """Who holds a lock: the run, and the process that works on it."""

    run_id: str
    host: str
    pid: int
    since: str

    @classmethod
    def here(cls, run_id: str) -> Owner:
        """This process, as the owner of a run."""
        return cls(run_id, socket.gethostname(), os.getpid(), datetime.now(UTC).isoformat(timespec="microseconds"))

    @property
    def is_dead(self) -> bool:
        """Whether the owner ran on this host and its process is gone; False when that cannot be known."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    def __str__(self) -> str:
        return f"run {self.run_id}, process {self.pid} on {self.host}, since {self.since}"


def lock_table(pipeline: str) -> str:
    """The name of a pipeline's lock."""
    return f"raypipe_lock_{pipeline}"


def holder(client: Client, pipeline: str) -> Owner | None:
    """Who holds the pipeline's lock, or None."""
    rows = client.rows(
        f"SELECT comment FROM {client.topology.system('tables')}"
        " WHERE database = {database:String} AND name = {name:String}",
        {"database": client.endpoint.database, "name": lock_table(pipeline)},
    )
    return Owner(**json.loads(rows[0][0])) if rows else None


def acquire(client: Client, pipeline: str, owner: Owner, *, take_over: bool = False) -> None:
    """Takes the pipeline's lock.

    A lock whose owner worked on the same run and is dead is taken silently: that is a resume. Any other
    needs `take_over`.

    Raises:
        Busy: somebody else holds it.
    """
    held = holder(client, pipeline)
    if held is not None and (take_over or (held.run_id == owner.run_id and held.is_dead)):
        release(client, pipeline, held)
    try:
        # Without IF NOT EXISTS, so that of two who ask at once one fails.
        client.run(client.topology.lock(lock_table(pipeline), json.dumps(asdict(owner))))
    except ServerError as error:
        if error.code not in (TABLE_ALREADY_EXISTS, REPLICA_ALREADY_EXISTS):
            raise
        raise _busy(pipeline, holder(client, pipeline)) from error


def require_free(client: Client, pipeline: str) -> None:
    """Refuses what `acquire` would for a new run, before anything is made for it.

    Raises:
        Busy: somebody holds the lock.
    """
    held = holder(client, pipeline)
    if held is not None:
        raise _busy(pipeline, held)


def _busy(pipeline: str, held: Owner | None) -> Busy:
    gone = " (that process is gone)" if held is not None and held.is_dead else ""
    is_run = held is None or held.run_id != _held_as(pipeline)
    finish = f" finish it with `raypipe resume {held.run_id if held else 'RUN'}`," if is_run else ""
    return Busy(
        f"The pipeline {pipeline} is {'being scored already' if is_run else 'locked: its versions are worked on'}",
        found=f"{held}{gone}",
        next_step=f"wait for it,{finish} or, when it is surely dead, repeat with --take-over",
    )


def require(client: Client, pipeline: str, owner: Owner) -> None:
    """Refuses to go on when the lock is not this owner's any more."""
    held = holder(client, pipeline)
    if held != owner:
        raise Busy(
            f"The lock of the pipeline {pipeline} was taken over while this run worked",
            found=str(held) if held else "no lock at all",
            next_step="leave the rest to the other run; nothing was published by this one",
        )


def release(client: Client, pipeline: str, owner: Owner) -> None:
    """Gives the lock back, unless somebody else has it by now."""
    if holder(client, pipeline) == owner:
        client.run(client.topology.drop(lock_table(pipeline)))


def _held_as(pipeline: str) -> str:
    """What stands for a run's id in a lock that no run holds."""
    return f"{pipeline}_models"


@contextmanager
def held(client: Client, pipeline: str, *, take_over: bool = False) -> Iterator[None]:
    """Inside, no run of the pipeline is at work, and nobody else promotes, rolls back or prunes its versions.

    Raises:
        Busy: somebody else holds the lock.
    """
    # Always the same name, so that the lock of such a process that died on this host is taken silently.
    owner = Owner.here(_held_as(pipeline))
    acquire(client, pipeline, owner, take_over=take_over)
    try:
        yield
    finally:
        release(client, pipeline, owner)
