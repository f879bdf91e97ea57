"""The lock of a pipeline: a table that only one process can create, with a higher number for each owner.

The number is the owner's epoch, and the order of a pipeline's runs: no clock decides it. Whoever takes over raises the
epoch. It then drops the lower locks and the twins of lower epochs, so that a former owner has nothing left to swap.
"""

from __future__ import annotations

import json
import logging
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

from raypipe.clickhouse import lock_ledger, nodes, processes, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.processes import Process
from raypipe.errors import Busy, ServerError

TABLE_ALREADY_EXISTS = 57
REPLICA_ALREADY_EXISTS = 253
log = logging.getLogger(__name__)

LastEpoch = Callable[[Client, str], int]


@dataclass(frozen=True)
class Owner:
    """The holder of a lock: a run, and the process that works on it.

    Attributes:
        boot, namespace, started: tell the process from another of its host's name and number; empty where unknown.
        days: the first and the last day that a build of features may change, as `2026-01-01 2026-01-31`; empty for any.
    """

    run_id: str
    host: str = ""
    pid: int = 0
    since: str = ""
    boot: str = ""
    namespace: str = ""
    started: str = ""
    days: str = ""

    @classmethod
    def here(cls, run_id: str, days: str = "") -> Owner:
        """Return this process as the owner of a run."""
        here, since = processes.here(), datetime.now(UTC).isoformat(timespec="microseconds")
        return cls(run_id, socket.gethostname(), here.pid, since, here.boot, here.namespace, here.started, days)

    @classmethod
    def from_json(cls, text: str) -> Owner:
        """Read the comment of a lock; another version of raypipe may have written other fields."""
        try:
            document = dict(json.loads(text))
        except (TypeError, ValueError):
            document = {}
        known = {item.name: document[item.name] for item in fields(cls) if item.name in document}
        return cls(**{"run_id": "", **known})

    @property
    def is_dead(self) -> bool:
        """Return whether the owner's process is gone; False where that cannot be known from here."""
        process = Process(self.pid, self.boot, self.namespace, self.started)
        return self.host == socket.gethostname() and process.is_gone

    @property
    def process(self) -> str:
        """Return the owner's process for a message."""
        return f"process {self.pid} on {self.host}, since {self.since}"

    @property
    def is_alive(self) -> bool:
        """Return whether the owner's process works on this machine; False where that cannot be known from here."""
        process = Process(self.pid, self.boot, self.namespace, self.started)
        return self.host == socket.gethostname() and process.is_near and not process.is_gone

    def __str__(self) -> str:
        return f"run {self.run_id}, {self.process}"


@dataclass(frozen=True)
class Lock:
    """A pipeline's lock, and the epoch of its owner."""

    pipeline: str
    epoch: int
    owner: Owner

    @property
    def table(self) -> str:
        """Return the name of the lock's table."""
        return f"raypipe_lock_{self.pipeline}_e{self.epoch}"


def standing(client: Client, pipeline: str) -> list[Lock]:
    """Return the pipeline's locks, the holder's last; there are several while one is taken over."""
    rows = client.rows(
        f"SELECT name, comment FROM {client.topology.all_nodes('system.tables')}"
        " WHERE database = {database:String} AND startsWith(name, {prefix:String})",
        {"database": client.endpoint.database, "prefix": f"raypipe_lock_{pipeline}_e"},
        client.topology.live_settings,
    )
    # `churn` and `churn_e5` are two pipelines.
    name_of = re.compile(rf"raypipe_lock_{re.escape(pipeline)}_e(\d+)")
    locks = {
        Lock(pipeline, int(match[1]), Owner.from_json(comment))
        for name, comment in rows
        if (match := name_of.fullmatch(name))
    }
    return sorted(locks, key=lambda lock: lock.epoch)


def holder(client: Client, pipeline: str) -> Owner | None:
    """Return the owner of the pipeline's lock, or None."""
    locks = standing(client, pipeline)
    return locks[-1].owner if locks else None


def acquire(
    client: Client, pipeline: str, owner: Owner, *, take_over: bool = False, ledger: LastEpoch | None = None
) -> Lock:
    """Take the pipeline's lock, with a higher epoch than every owner before.

    A resume takes the lock of a dead owner of the same run silently. Any other lock needs `take_over`. The caller
    releases the lock after any error, since an interrupt may come as soon as the lock exists.

    Args:
        ledger: returns the last epoch in the ledger that the owners write; None for `raypipe_runs`.

    Raises:
        Busy: another owner holds the lock.
    """
    last_epoch = ledger or lock_ledger.last_epoch
    locks = standing(client, pipeline)
    if locks and not (take_over or _may_be_resumed(locks[-1].owner, owner)):
        raise _busy(client, pipeline, locks[-1].owner)
    if not (locks or take_over):
        _require_seen(client, pipeline)
    epochs = [lock.epoch for lock in locks]
    lock = Lock(pipeline, 1 + max(last_epoch(client, pipeline), *epochs, 0), owner)
    _create(client, lock, take_over)
    if _is_overtaken(client, lock, last_epoch):
        # Another owner came, and perhaps went, since the first look.
        client.run(client.topology.drop(lock.table))
        return acquire(client, pipeline, owner, ledger=ledger)
    _fence(client, lock)
    return lock


def _may_be_resumed(held: Owner, owner: Owner) -> bool:
    return held.run_id == owner.run_id and held.is_dead


def _require_seen(client: Client, pipeline: str) -> None:
    """Refuse a lock while another may stand on a node that does not answer, where it cannot be seen."""
    hidden = nodes.silent(client)
    working = lock_ledger.working(client, pipeline) if hidden else ""
    if working:
        raise Busy(
            f"The lock of {pipeline} may be on {', '.join(node.name for node in hidden)}, which does not answer",
            found=f"{working} in the ledger",
            next_step="start the node, or repeat with --take-over when that run is surely dead",
        )


def _create(client: Client, lock: Lock, take_over: bool) -> None:
    # Without IF NOT EXISTS, so that one of two simultaneous requests fails.
    statement = client.topology.lock(lock.table, json.dumps(asdict(lock.owner)))
    try:
        client.run(statement)
    except ServerError as error:
        locks = standing(client, lock.pipeline)
        if lock in locks:
            # The answer was lost.
            return
        if error.code not in (TABLE_ALREADY_EXISTS, REPLICA_ALREADY_EXISTS):
            raise
        if error.code == REPLICA_ALREADY_EXISTS and take_over and not locks:
            # The node that has the lock is down.
            client.run(client.topology.forget_lock(client.endpoint.database, lock.table))
            client.run(statement)
            return
        raise _busy(client, lock.pipeline, locks[-1].owner if locks else None) from error


def _is_overtaken(client: Client, lock: Lock, last_epoch: LastEpoch) -> bool:
    later = any(other.epoch > lock.epoch for other in standing(client, lock.pipeline))
    return later or last_epoch(client, lock.pipeline) >= lock.epoch


def _fence(client: Client, lock: Lock) -> None:
    """Take from former owners what they need in order to publish: first their locks, then their twins.

    A former owner fills its twin before it looks for its lock. It finds no lock, or its twin is dropped here.
    """
    for other in standing(client, lock.pipeline):
        if other.epoch < lock.epoch:
            client.run(client.topology.drop(other.table))
    if nodes.silent(client):
        # The node drops the lock of the last owner as soon as it is back.
        client.run(client.topology.drop(Lock(lock.pipeline, lock.epoch - 1, lock.owner).table))
    twins.drop_former(client, lock.pipeline, lock.epoch)


def require_free(client: Client, pipeline: str) -> None:
    """Refuse a new run that `acquire` would refuse, before anything is created for the run.

    Raises:
        Busy: the lock is taken.
    """
    held = holder(client, pipeline)
    if held is not None:
        raise _busy(client, pipeline, held)


def _busy(client: Client, pipeline: str, held: Owner | None) -> Busy:
    if held is None:
        return Busy(
            f"The pipeline {pipeline} was locked a moment ago",
            found="an owner that has finished by now",
            next_step="repeat the command",
        )
    gone = " (this process is gone)" if held.is_dead else ""
    finish = f" finish it with `raypipe resume {held.run_id}`," if lock_ledger.has_row(client, held.run_id) else ""
    work = "its versions are being changed" if held.run_id == _without_run(pipeline) else "a run is at work"
    return Busy(
        f"The pipeline {pipeline} is locked: {work}",
        found=f"{_shown(pipeline, held)}{gone}",
        next_step=f"wait for it,{finish} or repeat with --take-over when it is surely dead",
    )


def _shown(pipeline: str, owner: Owner) -> str:
    return owner.process if owner.run_id == _without_run(pipeline) else str(owner)


def require(client: Client, lock: Lock) -> None:
    """Refuse to go on when the lock no longer belongs to its owner.

    Raises:
        Busy: another process took the lock over.
    """
    locks = standing(client, lock.pipeline)
    if not locks or locks[-1] != lock:
        raise Busy(
            f"Another process took over the lock of the pipeline {lock.pipeline} during this run",
            found=_shown(lock.pipeline, locks[-1].owner) if locks else "no lock",
            next_step="leave the rest to the other run: this run is not committed, and the other run decides what is"
            " published",
        )


def release(client: Client, pipeline: str, owner: Owner) -> None:
    """Release the owner's lock, if it has the lock; without Keeper, the server would wait to drop it."""
    if client.is_stranded:
        log.warning("the lock of %s stays: %s cannot drop it now", pipeline, client.endpoint)
        return
    for lock in standing(client, pipeline):
        if lock.owner == owner:
            client.run(client.topology.drop(lock.table))


def _without_run(pipeline: str) -> str:
    """Return the id that stands for a run's where `held` takes the lock."""
    return f"{pipeline}_models"


@contextmanager
def held(client: Client, pipeline: str, owner: Owner | None = None, *, take_over: bool = False) -> Iterator[Lock]:
    """Hold the lock: no run of the pipeline is at work, and no other process changes its versions.

    Raises:
        Busy: another owner holds the lock.
    """
    # Without a run the name never changes, so that a lock is taken silently when its process died on this host.
    owner = owner or Owner.here(_without_run(pipeline))
    try:
        yield acquire(client, pipeline, owner, take_over=take_over)
    finally:
        release(client, pipeline, owner)
