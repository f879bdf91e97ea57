"""Take a write over from its former owner, dead or alive: finish a publication that has begun, drop everything else.

The twin is the fence. A former owner moves rows out of a twin that it names. Once every twin has another name, and no
statement names the old one, nothing moves any more. Then the twin tells which rows were moved.
"""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from raypipe.clickhouse import swaps
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier, literal
from raypipe.dataset import journal
from raypipe.dataset.journal import Entry
from raypipe.errors import Busy, DataError

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 1.0
# How many statements on tables of a write are sent at once; each waits for the disk more than it works.
STATEMENTS = 8
# The server's uptime is in whole seconds, and its clock may be set a little meanwhile.
SAME_START_SECONDS = 5

_TABLES = (
    "SELECT name FROM system.tables WHERE database = {database:String} AND match(name, {pattern:String}) ORDER BY name"
)
_STATEMENTS = """
SELECT count() FROM system.processes
WHERE position(query, {name:String}) > 0 AND position(query, 'system.processes') = 0
"""
_PARTS = """
SELECT name FROM system.parts
WHERE active AND database = {database:String} AND table = {table:String} AND partition_id = {partition:String}
    AND max_block_number > {block:UInt64}
ORDER BY name
"""


def twin(write_id: str, epoch: int) -> str:
    """Return the name of the twin of a write that the owner of an epoch fills."""
    return f"raypipe_twin_{write_id}_e{epoch}"


def staging_prefix(write_id: str, epoch: int) -> str:
    """Return the beginning of the names of an owner's staging tables."""
    return f"raypipe_staging_{write_id}_e{epoch}_"


def recover(client: Client, write_id: str, epoch: int) -> Entry | None:
    """Bring a write to rest: return its entry where the run is in the target, else None, and leave nothing.

    Args:
        epoch: of the caller's lock. The caller's own twin is taken away as well.
    """
    fenced = _fence(client, write_id, epoch)
    entry = journal.find(client, write_id)
    if entry is not None and entry.status == journal.PUBLISHING:
        if entry.twin not in fenced:
            raise _lost(entry)
        entry = _finished(client, entry, fenced[entry.twin], epoch)
    drop_tables(client, write_id, epoch)
    return entry if entry is not None and entry.status == journal.PUBLISHED else None


def _lost(entry: Entry) -> DataError:
    return DataError(
        f"The run {entry.run} was being added to {entry.target}, and the rows that were not there yet are gone",
        found=f"no table {entry.twin}, which another program has dropped",
        allowed=f"{entry.rows} rows of the run in {entry.target}",
        next_step=f"delete the run's rows from {entry.target}, then its entry: DELETE FROM {journal.TABLE} WHERE"
        f" write_id = '{entry.write_id}'; then write the run again",
    )


def drop_tables(client: Client, write_id: str, epoch: int) -> None:
    """Drop every twin and staging table of a write, up to an epoch."""
    names = _tables(client, f"^raypipe_(twin|staging)_{write_id}_e")
    _drop(client, [name for name in names if int(name.partition(f"{write_id}_e")[2].partition("_")[0]) <= epoch])


def drop_staging(client: Client, write_id: str, epoch: int) -> None:
    """Drop the staging tables of one owner."""
    _drop(client, _tables(client, f"^{staging_prefix(write_id, epoch)}"))


def _drop(client: Client, names: Sequence[str]) -> None:
    with ThreadPoolExecutor(STATEMENTS) as pool:
        list(pool.map(lambda name: client.run(client.topology.drop(name)), names))


def server_started(client: Client) -> str:
    """Return when the server started, by its own clock."""
    return str(client.value("SELECT toString(now('UTC') - uptime())"))


def _fence(client: Client, write_id: str, epoch: int) -> dict[str, str]:
    """Rename the twins of a write, and return their present names by the names that their makers gave them."""
    fenced = {}
    for name in _tables(client, f"^raypipe_twin_{write_id}_e[0-9]+"):
        made, _, _ = name.partition("_taken")
        taken = f"{made}_taken{epoch}"
        if name != taken:
            client.run(f"RENAME TABLE {identifier(name)} TO {identifier(taken)}")
        _await_statements(client, name)
        fenced[made] = taken
    return fenced


def _await_statements(client: Client, name: str) -> None:
    """Wait until no statement that names a table is at work: its sender may be dead."""
    pause, deadline = FIRST_PAUSE_SECONDS, time.monotonic() + client.endpoint.timeout_seconds
    while client.value(_STATEMENTS, {"name": f"`{name}`"}):
        if time.monotonic() > deadline:
            raise Busy(
                "A statement of the former owner is still at work",
                found=f"a statement on {name}",
                next_step="look at system.processes, then write the run again",
            )
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _finished(client: Client, entry: Entry, present: str, epoch: int) -> Entry:
    """Move the rest of a publication that has begun; where no row was moved, nothing has begun."""
    if not _is_same_server(client, entry):
        _drop_arrived(client, entry, present)
    if int(client.value(f"SELECT count() FROM {identifier(present)}")) == entry.rows > 0:
        return entry
    for partition in entry.blocks:
        swaps.move(client, entry.target, present, partition)
    log.warning("%s: the publication of the run %s was finished", entry.target, entry.run)
    return journal.save(client, entry, epoch, status=journal.PUBLISHED, error="")


def _is_same_server(client: Client, entry: Entry) -> bool:
    """Return whether the server has not restarted since; then a partition was moved whole or not at all."""
    seconds = client.value(
        "SELECT abs(dateDiff('second', toDateTime({before:String}, 'UTC'), now('UTC') - uptime()))",
        {"before": entry.server_started},
    )
    return int(seconds) <= SAME_START_SECONDS


def _drop_arrived(client: Client, entry: Entry, present: str) -> None:
    """Drop the parts of the twin whose rows are in the target already.

    MOVE PARTITION first adds each part to the target, then removes all from the twin. A server that ends in between has
    some parts, or all, in both. In the target they may have been merged since, so their rows are compared.
    """
    for partition, block in entry.blocks.items():
        newer = [name for (name,) in client.rows(_PARTS, _place(client, entry.target, partition, block))]
        if not newer:
            continue
        for part in _arrived(client, entry.target, present, partition, newer):
            log.warning("%s: the rows of %s had arrived before the server ended", entry.target, part)
            client.run(f"ALTER TABLE {identifier(present)} DROP PART {literal(part)}")


def _arrived(client: Client, target: str, present: str, partition: str, newer: list[str]) -> list[str]:
    row = "sipHash128(formatRowNoNewline('TSV', *))"
    rows = client.rows(
        f"SELECT part FROM (SELECT _part AS part, {row} AS row FROM {identifier(present)}"
        " WHERE _partition_id = {partition:String}) GROUP BY part HAVING countIf(row NOT IN"
        f" (SELECT {row} FROM {identifier(target)} WHERE _part IN {{newer:Array(String)}})) = 0",
        {"partition": partition, "newer": newer},
    )
    return [part for (part,) in rows]


def _place(client: Client, table: str, partition: str, block: int) -> dict[str, object]:
    return {"database": client.endpoint.database, "table": table, "partition": partition, "block": block}


def _tables(client: Client, pattern: str) -> list[str]:
    return [name for (name,) in client.rows(_TABLES, {"database": client.endpoint.database, "pattern": pattern})]
