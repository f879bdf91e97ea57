"""Swap a twin's partition into its target, for good; link partitions into twins.

ClickHouse only marks the parts that a swap replaces as outdated, and removes them minutes later. Until then a restart
brings them back: before 26.6 also where the swap was complete (ClickHouse/ClickHouse#107605).
"""

import logging
import time

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier, literal
from raypipe.clickhouse.tables import locate

log = logging.getLogger(__name__)

SETTLING_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 1.0


def replace(client: Client, target: str, twin: str, partition: str) -> None:
    """Replace a target's partition by a twin's in one step; repeating it changes nothing."""
    client.run(f"ALTER TABLE {identifier(target)} REPLACE PARTITION ID {literal(partition)} FROM {identifier(twin)}")
    settle(client, target, partition)


def move(client: Client, target: str, twin: str, partition: str) -> None:
    """Add a twin's partition to the target's in one step, and leave the twin empty."""
    client.run(f"ALTER TABLE {identifier(twin)} MOVE PARTITION ID {literal(partition)} TO TABLE {identifier(target)}")


def link(client: Client, twin: str, target: str, partition: str) -> None:
    """Link the target's partition into a twin; the target keeps it. Each repetition adds the rows once more."""
    client.run(f"ALTER TABLE {identifier(twin)} ATTACH PARTITION ID {literal(partition)} FROM {identifier(target)}")


def link_all(client: Client, twin: str, portion: str) -> None:
    """Link all rows of a portion into a twin; not to be repeated, as `link`."""
    client.run(f"ALTER TABLE {identifier(twin)} ATTACH PARTITION ALL FROM {identifier(portion)}")


def settle(client: Client, table: str, partition: str) -> bool:
    """Remove the replaced parts of a partition, and return whether all are gone.

    A query that still reads them holds them up; the rest is left to the server after SETTLING_SECONDS. Once they are
    gone, every query that began before the swap is over. A replicated table removes its parts itself.
    """
    if client.topology.cluster:
        return True
    # Dropping a partition, even one that does not exist, removes every outdated part that no query reads.
    sql = f"ALTER TABLE {identifier(table)} DROP PARTITION ID 'none'"
    pause, deadline = FIRST_PAUSE_SECONDS, time.monotonic() + SETTLING_SECONDS
    while True:
        client.run(sql)
        parts = _replaced_parts(client, table, partition)
        if not parts:
            return True
        if time.monotonic() > deadline:
            log.warning("%s: a query holds %d replaced parts; do not restart the server before it ends", table, parts)
            return False
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _replaced_parts(client: Client, table: str, partition: str) -> int:
    database, name = locate(client, table)
    return int(
        client.value(
            "SELECT count() FROM system.parts WHERE NOT active AND rows > 0 AND database = {database:String}"
            " AND table = {table:String} AND partition_id = {partition:String}",
            {"database": database, "table": name, "partition": partition},
        )
    )
