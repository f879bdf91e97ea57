"""Look up how a cluster is made, and choose the settings of statements for it."""

from collections.abc import Collection

from clickhouse_connect.driver.client import Client as Driver
from clickhouse_connect.driver.exceptions import Error as DriverError
from urllib3.exceptions import HTTPError

from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.server_errors import REPLICATION
from raypipe.clickhouse.topology import Topology
from raypipe.errors import ConfigError, ServerError

_SHAPE = """
SELECT
    (SELECT uniqExact(shard_num) FROM system.clusters WHERE cluster = {cluster:String}),
    (SELECT arraySort(groupUniqArray(cluster)) FROM system.clusters),
    (SELECT engine FROM system.databases WHERE name = currentDatabase())
"""
_SILENT = """
SELECT groupArray(name) FROM
(
    SELECT concat(host_name, ':', toString(port)) AS name, row_number() OVER (ORDER BY shard_num, replica_num) AS number
    FROM system.clusters WHERE cluster = {cluster:String}
)
WHERE number NOT IN (SELECT _shard_num FROM %s)
"""
# Databases with these engines send each CREATE and DROP to every node, and refuse ON CLUSTER or a path.
SPREADING = ("Replicated", "Shared")
# By default a replicated table drops a block that equals an earlier block, although that one may be deleted by now. An
# insert with a token switches this on for itself.
FORGETTING = {
    "insert_deduplicate": 0,
    "deduplicate_insert": "disable",
    "deduplicate_insert_select": "disable",
    "insert_select_deduplicate": 0,
}


def topology(driver: Driver, endpoint: Endpoint) -> Topology:
    """Return the topology of an endpoint's cluster, or of its one server.

    Raises:
        ConfigError: the server does not know the cluster.
    """
    if endpoint.cluster is None:
        return Topology()
    ((shards, known, engine),) = driver.query(_SHAPE, parameters={"cluster": endpoint.cluster}).result_rows
    if not shards:
        raise ConfigError(
            f"ClickHouse at {endpoint} does not know the cluster {endpoint.cluster}",
            found=endpoint.cluster,
            allowed=", ".join(known) or "no cluster at all",
            next_step="correct connection.cluster, or add the cluster to <remote_servers> of every node",
        )
    return Topology(endpoint.cluster, int(shards), engine in SPREADING)


def pin(driver: Driver, endpoint: Endpoint, given: Collection[str]) -> None:
    """Make a driver send a cluster's settings with each statement.

    Args:
        given: the settings that the client sends with a value of its own.
    """
    settings = {
        "insert_quorum": endpoint.quorum,
        "insert_quorum_parallel": 1,
        "insert_quorum_timeout": endpoint.wait_seconds * 1000,
        # With growing pauses, half a minute; by default an insert waits minutes for a Keeper that is gone.
        "insert_keeper_max_retries": 8,
        # A node that is down runs what it missed once it is back; by default the others wait three minutes for it.
        "distributed_ddl_output_mode": "none_only_active",
        "distributed_ddl_task_timeout": endpoint.wait_seconds,
        **{name: value for name, value in FORGETTING.items() if name in driver.server_settings},
    }
    for name, value in settings.items():
        if name not in given:
            driver.set_client_setting(name, value)


def silent(driver: Driver, topology: Topology, error: ServerError) -> list[str]:
    """Return the nodes that do not answer, where that may be the cause of an error."""
    if topology.cluster is None or error.code not in REPLICATION:
        return []
    try:
        query = _SILENT % topology.all_nodes("system.one")
        found = driver.query(query, {"cluster": topology.cluster}, settings=dict(topology.live_settings))
        return list(found.result_rows[0][0])
    except (DriverError, HTTPError, OSError):
        # The error itself matters more.
        return []
