"""Refuse a cluster on which a command could not finish, before anything is written."""

import logging
from collections.abc import Sequence

from raypipe.clickhouse import node_tables, nodes, replication
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.nodes import Node
from raypipe.clickhouse.replication import Pauses
from raypipe.clickhouse.topology import LIVE
from raypipe.errors import ConfigError, ServerError, Unreachable

log = logging.getLogger(__name__)

SKEW_SECONDS = 30.0


def require_usable(client: Client) -> None:
    """Refuse a cluster on which a command could not finish, before anything is written.

    Raises:
        Unreachable: too few replicas answer.
        ServerError: Keeper is gone, or this node has not caught up in time.
        ConfigError: versions, clocks or tables of the nodes differ.
    """
    require_nodes(client, client.endpoint.database)
    apart = next(node_tables.differences(client), None)
    if apart is not None:
        raise ConfigError(
            f"The table {apart.table} is not the same on every node of the cluster {client.topology.cluster}",
            found=str(apart),
            allowed="replicas of one table",
            next_step="`raypipe migrate --check` lists all differences; correct the table on the node that is named",
        )
    replication.catch_up(client)


def require_nodes(client: Client, database: str) -> None:
    """Refuse a cluster whose nodes cannot work together, whatever tables they have; the database may be missing."""
    listed = nodes.listed(client)
    _require_quorum(client, listed)
    live = [node for node in listed if node.answers]
    _require_equal(client, live)
    _require_writable(client, live, database)


def _require_quorum(client: Client, listed: Sequence[Node]) -> None:
    silent = [node for node in listed if not node.answers]
    if not silent:
        return
    for shard in {node.shard for node in silent}:
        replicas = [node for node in listed if node.shard == shard]
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


_READONLY = """
SELECT _shard_num, table, zookeeper_exception FROM %s
WHERE database = {database:String} AND (is_readonly OR zookeeper_exception != '')
ORDER BY ALL
"""


def _require_writable(client: Client, live: Sequence[Node], database: str) -> None:
    """Refuse tables that are read-only, as they are without Keeper, and for some seconds once it is back."""
    readonly = _READONLY % client.topology.all_nodes("system.replicas")
    names = {node.number: node.name for node in live}
    pauses = Pauses(client.endpoint.wait_seconds)
    while rows := client.rows(readonly, {"database": database}, LIVE):
        number, table, reason = rows[0]
        where = f"The table {table} is read-only on {names.get(int(number), number)}"
        if pauses.is_first:
            log.warning("%s", where)
        if not pauses.next():
            raise ServerError(
                where,
                found=reason or "no session with Keeper",
                allowed="replicas that are connected to Keeper",
                next_step="start Keeper (or ZooKeeper), then repeat the command",
            )
