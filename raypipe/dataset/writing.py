"""Write a run into a table exactly once: begin, publish what the tasks have staged, or abandon.

The target changes in one statement per partition: MOVE PARTITION out of a twin, which holds all rows of the run and has
passed the gate. Before the first one an entry of `raypipe_writes` says PUBLISHING; after the last, PUBLISHED.
"""

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from raypipe.clickhouse import lock, partitions, swaps
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Lock, Owner
from raypipe.clickhouse.statements import identifier, literal
from raypipe.clickhouse.tables import Table
from raypipe.dataset import gate, journal, recovery
from raypipe.dataset.attempt import Receipt, Staging
from raypipe.dataset.journal import Entry
from raypipe.errors import Busy, RaypipeError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Write:
    """A write at work: its entry in the ledger, its lock, and the description of its target."""

    entry: Entry
    held: Lock
    target: Table

    @property
    def staging(self) -> Staging:
        """Return what a task needs to know of its staging table."""
        prefix = recovery.staging_prefix(self.entry.write_id, self.held.epoch)
        return Staging(prefix, self.target, f"run {self.entry.run} of {self.entry.target}")

    @property
    def twin(self) -> str:
        """Return the name of the table that collects the rows."""
        return recovery.twin(self.entry.write_id, self.held.epoch)


def published(client: Client, table: str, run: str) -> Entry | None:
    """Return the entry of a run whose rows are in the target, or None."""
    journal.create(client)
    entry = journal.find(client, journal.identity(table, run))
    return entry if entry is not None and entry.status == journal.PUBLISHED else None


def begin(client: Client, target: Table, run: str, *, take_over: bool) -> Write | Entry:
    """Begin a run, or return the entry of a published run; a dead attempt is finished or leaves nothing.

    Raises:
        Busy: another process writes the run.
    """
    journal.create(client)
    write_id = journal.identity(target.name, run)
    owner = Owner.here(run)
    try:
        held = _acquired(client, write_id, target.name, owner, take_over)
        done = recovery.recover(client, write_id, held.epoch)
        if done is None:
            entry = Entry(write_id, target.name, run, journal.RUNNING, owner=str(owner))
            return Write(journal.save(client, entry, held.epoch), held, target)
    except BaseException:
        lock.release(client, write_id, owner)
        raise
    lock.release(client, write_id, owner)
    return done


def _acquired(client: Client, write_id: str, table: str, owner: Owner, take_over: bool) -> Lock:
    try:
        return lock.acquire(client, write_id, owner, take_over=take_over, ledger=journal.last_epoch)
    except Busy as error:
        raise Busy(
            f"Another process writes the run {owner.run_id} into {table}",
            found=error.found,
            next_step="wait for it, or pass take_over=True to the sink when that process is surely dead",
        ) from error


def publish(client: Client, write: Write, receipts: Sequence[Receipt], rows: int, keys: Sequence[str]) -> Entry:
    """Check the staged rows, add them to the target, and return the published entry.

    Args:
        receipts: those of the tasks whose results count.
        rows: the number of rows that Ray Data has passed to these tasks.

    Raises:
        GateRefused: the staged rows are not these rows, or their keys are NULL or not distinct.
        Busy: another process took the run over.
    """
    _collect(client, write, receipts)
    gate.check(client, write.twin, write.target, write.entry, receipts, rows, keys)
    blocks = _blocks(client, write)
    lock.require(client, write.held)
    entry = journal.save(
        client,
        write.entry,
        write.held.epoch,
        status=journal.PUBLISHING,
        twin=write.twin,
        rows=rows,
        partitions=json.dumps(blocks),
        server_started=recovery.server_started(client),
    )
    journal.require_counted(client, entry)
    for partition in blocks:
        swaps.move(client, write.target.name, write.twin, partition)
    return journal.save(client, entry, write.held.epoch, status=journal.PUBLISHED)


def _collect(client: Client, write: Write, receipts: Sequence[Receipt]) -> None:
    """Move the rows of the tasks into one twin, as hard links, where no reader of the target sees them."""
    comment = literal(write.staging.comment)
    client.run(f"CREATE TABLE {identifier(write.twin)} AS {identifier(write.target.name)} COMMENT {comment}")
    tables = {f"{client.endpoint.database}.{receipt.table}": receipt.table for receipt in receipts if receipt.table}
    states = partitions.states_of_all(client, tables)
    moves = [(tables[name], partition) for name, there in states.items() for partition in there]
    with ThreadPoolExecutor(recovery.STATEMENTS) as pool:
        # The list raises what a statement raises.
        list(pool.map(lambda move: swaps.move(client, write.twin, *move), moves))


def _blocks(client: Client, write: Write) -> dict[str, int]:
    """Return the newest block of the target in each partition that the run has rows for."""
    there = partitions.states(client, write.target.name)
    return {name: there[name].block if name in there else 0 for name in sorted(partitions.states(client, write.twin))}


def finish(client: Client, write: Write) -> None:
    """Drop the tables of a published run, and release its lock; a failure is left to the doctor."""
    try:
        recovery.drop_tables(client, write.entry.write_id, write.held.epoch)
        lock.release(client, write.entry.write_id, write.held.owner)
    except RaypipeError as error:
        log.warning("the run %s is published, but its own tables remain: %s", write.entry.run, error.problem)


def abandon(client: Client, write: Write, error: BaseException) -> Entry | None:
    """Take everything back after an error; return the entry where the run is published all the same."""
    try:
        lock.require(client, write.held)
    except Busy:
        # The other process decides. It needs this twin only if an entry of this process names it.
        counted = journal.find(client, write.entry.write_id)
        is_needed = counted is not None and counted.status == journal.PUBLISHING and counted.twin == write.twin
        recovery.drop_staging(client, write.entry.write_id, write.held.epoch)
        if not is_needed:
            client.run(client.topology.drop(write.twin))
        return None
    done = recovery.recover(client, write.entry.write_id, write.held.epoch)
    if done is None:
        counted = journal.find(client, write.entry.write_id) or write.entry
        journal.save(client, counted, write.held.epoch, status=journal.FAILED, error=str(error)[:10_000])
    lock.release(client, write.entry.write_id, write.held.owner)
    return done
