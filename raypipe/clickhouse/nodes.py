"""Look at the nodes of a cluster: which answer, which have caught up, and where their tables differ.

A command works on the node of its URL, so that it reads what it has written. That node has to have caught up before it
begins. The other replicas have to have a run's rows before readers see the run's commit.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.leftovers import KINDS
from raypipe.clickhouse.statements import quoted
from raypipe.clickhouse.tables import locate
from raypipe.clickhouse.topology import LIVE
from raypipe.errors import ConfigError, ServerError, Transient, Unreachable

log = logging.getLogger(__name__)

SKEW_SECONDS = 30.0
PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0

_NODES = """
SELECT shard_num, concat(host_name, ':', toString(port)), is_local
FROM system.clusters WHERE cluster = {cluster:String} ORDER BY shard_num, replica_num
"""
# Of a table function, the server would compute the clock on one node for all; of a view it does not.
_ANSWERS = "SELECT _shard_num, version, at FROM %s"
_ANSWER = "view(SELECT version() AS version, toUnixTimestamp64Micro(now64(6)) / 1e6 AS at)"


@dataclass(frozen=True)
class Node:
    """A node of a cluster.

    Attributes:
        number: its place among the nodes, from 1.
        name: `host:port` of the native protocol, as the cluster's configuration has it.
        is_here: whether it is the node of this connection.
        version: of its ClickHouse; '' where it does not answer.
        clock: its time in seconds since 1970.
    """

    number: int
    shard: int
    name: str
    is_here: bool
    version: str = ""
    clock: float = 0.0

    @property
    def answers(self) -> bool:
        """Return whether the node answers."""
        return bool(self.version)


def listed(client: Client) -> list[Node]:
    """Return the nodes of the client's cluster, those that do not answer among them; none of a single server."""
    cluster = client.topology.cluster
    if cluster is None:
        return []
    names = client.rows(_NODES, {"cluster": cluster})
    answers = {
        int(number): (str(version), float(clock))
        for number, version, clock in client.rows(_ANSWERS % client.topology.all_nodes(_ANSWER), settings=LIVE)
    }
    return [
        Node(number, int(shard), name, bool(is_local), *answers.get(number, ("", 0.0)))
        for number, (shard, name, is_local) in enumerate(names, start=1)
    ]


def require_usable(client: Client) -> None:
    """Refuse a cluster on which a command could not finish, before anything is written.

    Raises:
        Unreachable: too few replicas answer.
        ServerError: Keeper is gone, or this node has not caught up in time.
        ConfigError: versions, clocks or tables of the nodes differ.
    """
    nodes = listed(client)
    _require_quorum(client, nodes)
    live = [node for node in nodes if node.answers]
    _require_equal(client, live)
    _require_writable(client, live)
    apart = next(differences(client, live), None)
    if apart is not None:
        raise ConfigError(
            f"The table {apart.table} is not the same on every node of the cluster {client.topology.cluster}",
            found=str(apart),
            allowed="replicas of one table",
            next_step="`raypipe migrate --check` lists all differences; correct the table on the node that is named",
        )
    catch_up(client)


def _require_quorum(client: Client, nodes: Sequence[Node]) -> None:
    silent = [node for node in nodes if not node.answers]
    if not silent:
        return
    for shard in {node.shard for node in silent}:
        replicas = [node for node in nodes if node.shard == shard]
        answering = sum(node.answers for node in replicas)
        quorum = client.endpoint.quorum
        needed = len(replicas) // 2 + 1 if isinstance(quorum, str) else quorum
        if answering < needed:
            names = ", ".join(node.name for node in silent if node.shard == shard)
            raise Unreachable(
                f"{names} of the cluster {client.topology.cluster} does not answer",
                found=f"{answering} of {len(replicas)} replicas of shard {shard}",
                allowed=f"at least {needed} (connection.quorum: {quorum})",
                next_step="start the node, or lower connection.quorum; docs/config.md says what that costs",
            )
    for node in silent:
        log.warning("%s of the cluster %s does not answer; the others go on", node.name, client.topology.cluster)


def _require_equal(client: Client, live: Sequence[Node]) -> None:
    first = live[0]
    for node in live:
        if node.version != first.version:
            raise ConfigError(
                f"The nodes of the cluster {client.topology.cluster} have different versions of ClickHouse",
                found=f"{first.version} on {first.name}, {node.version} on {node.name}",
                allowed="one version",
                next_step="finish the upgrade",
            )
        skew = abs(node.clock - first.clock)
        if skew > SKEW_SECONDS:
            raise ConfigError(
                f"The clocks of the nodes of the cluster {client.topology.cluster} differ",
                found=f"{skew:.0f} s between {first.name} and {node.name}",
                allowed=f"at most {SKEW_SECONDS:.0f} s",
                next_step="synchronise both by NTP",
            )


def _require_writable(client: Client, live: Sequence[Node]) -> None:
    replicas = client.topology.all_nodes("system.replicas")
    readonly = client.rows(
        f"SELECT _shard_num, table, zookeeper_exception FROM {replicas}"
        " WHERE database = {database:String} AND is_readonly ORDER BY ALL",
        {"database": client.endpoint.database},
        LIVE,
    )
    if readonly:
        number, table, reason = readonly[0]
        names = {node.number: node.name for node in live}
        raise ServerError(
            f"The table {table} is read-only on {names.get(int(number), number)}",
            found=reason or "no session with Keeper",
            allowed="replicas that are connected to Keeper",
            next_step="start Keeper (or ZooKeeper), and wait until system.replicas shows no is_readonly",
        )


class Difference(NamedTuple):
    """A difference of a table between two nodes."""

    table: str
    what: str
    here: str
    there: str
    node: str

    def __str__(self) -> str:
        return f"{self.table}: {self.what} is {self.there} on {self.node}, {self.here} here"


_TABLES = f"""
SELECT _shard_num, name, engine, partition_key, sorting_key
FROM %s
WHERE database = {{database:String}} AND NOT match(name, '^raypipe_({"|".join(KINDS)})_')
    AND (match(engine, '^(Replicated|Shared)') OR match(name, '^(raypipe|ml)_'))
"""
_COLUMNS = """
SELECT _shard_num, table, groupArray((position, concat(name, ' ', type, ' ', toString(default_kind), ' ', default_expression)))
FROM %s
WHERE database = {database:String}
GROUP BY _shard_num, table
"""
_PATHS = "SELECT _shard_num, table, zookeeper_path FROM %s WHERE database = {database:String}"


def differences(client: Client, live: Sequence[Node] | None = None) -> Iterator[Difference]:
    """Yield where a table of the client's database is missing on a node, or differs from that of this node.

    Tables that are neither replicated nor raypipe's own may be on some nodes only.
    """
    live = [node for node in listed(client) if node.answers] if live is None else live
    copies = _copies(client)
    here = next((node for node in live if node.is_here), live[0] if live else None)
    for table, by_node in sorted(copies.items()):
        for node in live:
            if here is None or node is here:
                continue
            own, other = by_node.get(here.number, {}), by_node.get(node.number, {})
            for what in ("engine", "partition key", "sorting key", "columns", "path in Keeper"):
                is_same_shard = here.shard == node.shard
                first, second = own.get(what, "missing"), other.get(what, "missing")
                if first != second and (what != "path in Keeper" or is_same_shard):
                    what = "table" if "missing" in (first, second) else what
                    yield Difference(table, what, _shown(first), _shown(second), node.name)
                    break


def _shown(value: str) -> str:
    return value or "none"


def _copies(client: Client) -> Mapping[str, Mapping[int, Mapping[str, str]]]:
    """Return the tables of the client's database by name, then by the number of the node."""
    bound = {"database": client.endpoint.database}
    every = client.topology.all_nodes
    copies: dict[str, dict[int, dict[str, str]]] = defaultdict(dict)
    for number, table, engine, partition, sorting in client.rows(_TABLES % every("system.tables"), bound, LIVE):
        copies[table][int(number)] = {"engine": engine, "partition key": partition, "sorting key": sorting}
    for number, table, columns in client.rows(_COLUMNS % every("system.columns"), bound, LIVE):
        if int(number) in copies.get(table, {}):
            copies[table][int(number)]["columns"] = ", ".join(text.strip() for _, text in sorted(columns))
    for number, table, path in client.rows(_PATHS % every("system.replicas"), bound, LIVE):
        if int(number) in copies.get(table, {}):
            copies[table][int(number)]["path in Keeper"] = path
    return copies


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
    for (table,) in client.rows(_BEHIND, {"database": client.endpoint.database}):
        try:
            client.run(
                f"SYSTEM SYNC REPLICA {quoted(client.endpoint.database)}.{quoted(table)} LIGHTWEIGHT",
                settings={"receive_timeout": client.endpoint.wait_seconds},
            )
        except Transient as error:
            raise _behind(client, table, f"ClickHouse at {client.endpoint}", str(error.found)) from error


def _behind(client: Client, table: str, where: str, found: str) -> ServerError:
    return ServerError(
        f"The table {table} on {where} lags behind the other replicas",
        found=found,
        allowed=f"a replica that follows within {client.endpoint.wait_seconds} s (connection.wait_seconds)",
        next_step="look at system.replication_queue of that node, then repeat the command or resume the run",
    )


class Place(NamedTuple):
    """A partition of a table."""

    table: str
    partition: str


_STATES = """
SELECT _shard_num, table, partition_id, (max(max_block_number), max(toUInt64OrZero(splitByChar('_', name)[5])), sum(rows))
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
    pause, deadline = PAUSE_SECONDS, time.monotonic() + client.endpoint.wait_seconds
    while lagging := _lagging(client, wanted):
        node, table = lagging
        if time.monotonic() > deadline:
            raise _behind(client, table, node.name, f"nothing new for {client.endpoint.wait_seconds} s")
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _lagging(client: Client, wanted: Sequence[tuple[str, str, str]]) -> tuple[Node, str] | None:
    live = [node for node in listed(client) if node.answers]
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
