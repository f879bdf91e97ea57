"""Look up how a cluster is made, and choose the settings of statements for it."""

import logging
from collections.abc import Collection, Mapping

from clickhouse_connect.driver.client import Client as Driver
from clickhouse_connect.driver.exceptions import Error as DriverError
from urllib3.exceptions import HTTPError

from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.server_errors import REPLICATION, translated
from raypipe.clickhouse.topology import Topology
from raypipe.errors import ConfigError, ServerError

log = logging.getLogger(__name__)

_SHAPE = """
SELECT
    (SELECT count() FROM system.clusters WHERE cluster = {cluster:String}),
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
# A server with this setting sends conditions to the shards, subqueries among them, which run there.
PUSHING = "allow_push_predicate_ast_for_distributed_subqueries"
# The tables at home have their rows on this node alone, so that the shards need the results of subqueries.
OVER_SHARDS = {"prefer_global_in_and_join": 1, PUSHING: 0}
# By default a replicated table drops a block that equals an earlier block, although that one may be deleted by now. An
# insert with a token switches this on for itself.
FORGETTING = {
    "insert_deduplicate": 0,
    "deduplicate_insert": "disable",
    "deduplicate_insert_select": "disable",
    "insert_select_deduplicate": 0,
}


def joined(driver: Driver, endpoint: Endpoint, given: Collection[str]) -> Topology:
    """Return the topology of an endpoint's cluster or server; make the driver send the settings of a cluster.

    Args:
        driver: is closed after an error.
        given: the settings that the client sends with a value of its own.

    Raises:
        ConfigError: the server does not know the cluster.
    """
    if endpoint.sharding is not None:
        _pin(driver, OVER_SHARDS, given)
    if endpoint.cluster is None:
        return Topology()
    try:
        with translated(str(endpoint)):
            topology = _topology(driver, endpoint)
        _pin(driver, _of_replicas(endpoint), given)
    except BaseException:
        driver.close()
        raise
    return topology


def _topology(driver: Driver, endpoint: Endpoint) -> Topology:
    ((nodes, known, engine),) = driver.query(_SHAPE, parameters={"cluster": endpoint.cluster}).result_rows
    if not nodes:
        raise ConfigError(
            f"ClickHouse at {endpoint} does not know the cluster {endpoint.cluster}",
            found=endpoint.cluster,
            allowed=", ".join(known) or "no cluster at all",
            next_step="correct connection.cluster, or add the cluster to <remote_servers> of every node",
        )
    return Topology(endpoint.cluster, engine in SPREADING)


def _of_replicas(endpoint: Endpoint) -> Mapping[str, object]:
    """Return the settings of every statement on a replicated cluster."""
    return {
        "insert_quorum": endpoint.quorum,
        "insert_quorum_parallel": 1,
        "insert_quorum_timeout": endpoint.wait_seconds * 1000,
        # With growing pauses, half a minute; by default an insert waits minutes for a Keeper that is gone.
        "insert_keeper_max_retries": 8,
        # A node that is down runs what it missed once it is back; by default the others wait three minutes for it.
        "distributed_ddl_output_mode": "none_only_active",
        "distributed_ddl_task_timeout": endpoint.wait_seconds,
        # A Replicated database otherwise reports a CREATE as done before the table has started on the other nodes. An
        # insert that comes between waits in vain for its quorum.
        "database_replicated_enforce_synchronous_settings": 1,
        **FORGETTING,
    }


def _pin(driver: Driver, settings: Mapping[str, object], given: Collection[str]) -> None:
    """Make a driver send the settings that its server knows with each statement."""
    for name, value in settings.items():
        if name not in given and name in driver.server_settings:
            driver.set_client_setting(name, value)


def name_silent(driver: Driver, topology: Topology, error: ServerError) -> None:
    """Add the nodes that do not answer to an error, where they may be its cause."""
    if names := ", ".join(_silent(driver, topology, error)):
        log.warning("%s of the cluster %s does not answer", names, topology.cluster)
        error.found = f"{names} does not answer; {error.found}"


def _silent(driver: Driver, topology: Topology, error: ServerError) -> list[str]:
    if topology.cluster is None or error.code not in REPLICATION:
        return []
    try:
        query = _SILENT % topology.all_nodes("system.one")
        found = driver.query(query, {"cluster": topology.cluster}, settings=dict(topology.live_settings))
        return list(found.result_rows[0][0])
    except (DriverError, HTTPError, OSError):
        # The error itself matters more.
        return []
