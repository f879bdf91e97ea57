"""Wait for replicas: for this node before a command begins, for the others before readers could tell.

A command works on the node of its URL, so that it reads what it has written. The other replicas have to have a run's
rows before readers see the row of the ledger that names them.
"""

import time
from collections.abc import Iterable, Sequence

from raypipe.clickhouse import nodes
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock_ledger import UNKNOWN_TABLE
from raypipe.clickhouse.nodes import Node
from raypipe.clickhouse.statements import quoted
from raypipe.clickhouse.tables import locate
from raypipe.clickhouse.topology import LIVE
from raypipe.errors import ServerError, Transient

PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0

_BEHIND = """
SELECT table FROM system.replicas
WHERE database = {database:String} AND (queue_size > merges_in_queue OR log_pointer <= log_max_index)
ORDER BY table
"""


def catch_up(client: Client) -> None:
    """Wait until this node has what the other replicas have: a command reads and writes on this node alone.

    Raises:
        ServerError: a table has not caught up in time.
    """
    if client.topology.cluster is None:
        return
    # The server reads its queue, then Keeper's log: the first look misses an entry that moves into the queue meanwhile.
    looks = [client.rows(_BEHIND, {"database": client.endpoint.database}) for _ in range(2)]
    for table in sorted({table for look in looks for (table,) in look}):
        try:
            client.run(
                f"SYSTEM SYNC REPLICA {quoted(client.endpoint.database)}.{quoted(table)} LIGHTWEIGHT",
                settings={"receive_timeout": client.endpoint.wait_seconds},
            )
        except Transient as error:
            raise _behind(client, table, f"ClickHouse at {client.endpoint}", str(error.found)) from error
        except ServerError as error:
            # A table of another run, dropped since the look.
            if error.code != UNKNOWN_TABLE:
                raise


def _behind(client: Client, table: str, where: str, found: str) -> ServerError:
    return ServerError(
        f"The table {table} on {where} lags behind the other replicas",
        found=found,
        allowed=f"a replica that follows within {client.endpoint.wait_seconds} s (connection.wait_seconds)",
        next_step="look at system.replication_queue of that node, then repeat the command or resume the run",
    )


_STATES = """
SELECT _shard_num, table, partition_id,
    (max(max_block_number), max(toUInt64OrZero(splitByChar('_', name)[5])), sum(rows))
FROM %s
WHERE active AND (database, table, partition_id) IN {places:Array(Tuple(String, String, String))}
GROUP BY ALL
"""


def settle(client: Client, places: Iterable[tuple[str, str]]) -> None:
    """Wait until every replica that answers has the same rows of these partitions, each a table and an id.

    A reader of another replica may see the ledger's next row before the rows that it names.

    Raises:
        ServerError: names the node and the table that has not followed in time.
    """
    wanted = [(*locate(client, table), partition) for table, partition in places]
    if client.topology.cluster is None or not wanted:
        return
    pauses = Pauses(client.endpoint.wait_seconds)
    while lagging := _lagging(client, wanted):
        node, table = lagging
        if not pauses.next():
            raise _behind(client, table, node.name, f"other rows than here after {client.endpoint.wait_seconds} s")


def _lagging(client: Client, wanted: Sequence[tuple[str, str, str]]) -> tuple[Node, str] | None:
    live = [node for node in nodes.listed(client) if node.answers]
    sql = _STATES % client.topology.all_nodes("system.parts")
    states = {
        (int(number), table, partition): state
        for number, table, partition, state in client.rows(sql, {"places": wanted}, LIVE)
    }
    for _, table, partition in wanted:
        for node in live:
            others = [states.get((other.number, table, partition)) for other in live if other.shard == node.shard]
            newest = max((state for state in others if state is not None), default=None)
            if states.get((node.number, table, partition)) != newest:
                return node, table
    return None


class Pauses:
    """Pauses of growing length, until their time is over."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._pause = PAUSE_SECONDS
        self.is_first = True

    def next(self) -> bool:
        """Pause, and return whether there is time for another look."""
        if time.monotonic() > self._deadline:
            return False
        time.sleep(self._pause)
        self._pause, self.is_first = min(2 * self._pause, LONGEST_PAUSE_SECONDS), False
        return True
