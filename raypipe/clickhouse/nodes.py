"""List the nodes of a cluster, and which of them answer."""

from dataclasses import dataclass

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.topology import LIVE

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


def silent(client: Client) -> list[Node]:
    """Return the nodes of the client's cluster that do not answer."""
    return [node for node in listed(client) if not node.answers]
