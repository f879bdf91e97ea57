"""Find the shards of a cluster, and the databases in which each node keeps its share of the rows.

On a cluster with several shards, the database `analytics` is three databases on every node:

- `analytics` is for users: Distributed tables over the other two, and views;
- `analytics_shard` has the node's share of the tables that are sharded by their entity;
- `analytics_home` has all other tables, with rows on the first shard alone.

A table of one of the last two is Distributed in the other, so that any statement finds any table in either. raypipe
works in the home of the first shard, and reads and writes each shard's own rows in its share.
"""

from dataclasses import replace
from urllib.parse import urlsplit

from raypipe.clickhouse.client import Client, QuerySettings
from raypipe.clickhouse.discovery import PUSHING
from raypipe.clickhouse.endpoint import Endpoint, Sharding
from raypipe.clickhouse.parameters import Parameters
from raypipe.clickhouse.statements import identifier, literal
from raypipe.clickhouse.tables import describe
from raypipe.errors import ConfigError, ServerError, Unreachable

SHARE, HOME = "_shard", "_home"
DISTRIBUTED = "Distributed"

_CLUSTER = """
SELECT shard_num, any(host_name), count()
FROM system.clusters
WHERE cluster = {cluster:String}
GROUP BY shard_num
ORDER BY shard_num
"""
_PORTS = "SELECT _shard_num, getServerPort({port:String}) FROM clusterAllReplicas(%s, system.one)"


def located(endpoint: Endpoint) -> Endpoint:
    """Return the first shard's home with the addresses of all shards; of other clusters, the endpoint itself.

    Raises:
        ConfigError: a shard has several replicas.
        Unreachable: a shard does not answer.
    """
    if endpoint.cluster is None:
        return endpoint
    with Client(replace(endpoint, database="system", cluster=None)) as client:
        rows = client.rows(_CLUSTER, {"cluster": endpoint.cluster})
        hosts = {number: (host, replicas) for number, host, replicas in rows}
        if len(hosts) < 2:
            return endpoint
        _require_single_replicas(endpoint.cluster, hosts)
        ports = _ports(client, endpoint)
    node = replace(endpoint, cluster=None)
    urls = [_url(endpoint, host, ports[number]) for number, (host, _) in hosts.items()]
    shards = tuple(replace(node, url=url, database=endpoint.database + SHARE) for url in urls)
    sharding = Sharding(endpoint.cluster, endpoint.database, shards)
    return replace(node, url=urls[0], database=endpoint.database + HOME, sharding=sharding)


def _require_single_replicas(cluster: str, hosts: dict[int, tuple[str, int]]) -> None:
    replicated = [number for number, (_, replicas) in hosts.items() if replicas > 1]
    if replicated:
        raise ConfigError(
            f"The shards of the cluster {cluster} have several replicas",
            found=f"{len(hosts)} shards, {hosts[replicated[0]][1]} replicas of shard {replicated[0]}",
            allowed="several shards with one replica each, or one shard with several replicas",
            next_step="define a cluster with one replica of each shard in remote_servers, and name it in"
            " connection.cluster",
        )


def _ports(client: Client, endpoint: Endpoint) -> dict[int, int]:
    """Return the port of each shard's HTTP interface, as the node itself knows it."""
    port = "https_port" if endpoint.url.startswith("https:") else "http_port"
    try:
        return dict(client.rows(_PORTS % literal(endpoint.cluster), {"port": port}))
    except ServerError as error:
        raise Unreachable(
            f"A shard of the cluster {endpoint.cluster} does not answer",
            found=error.found or error.problem,
            next_step="start the node that the message names; nothing was changed",
        ) from error


def _url(endpoint: Endpoint, host: str, port: int) -> str:
    return f"{urlsplit(endpoint.url).scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def shards(client: Client) -> tuple[Client, ...]:
    """Return a client for each shard's own tables; on one server, the client itself."""
    sharding = client.endpoint.sharding
    return tuple(client.of(shard) for shard in sharding.shards) if sharding else (client,)


def nodes(client: Client) -> tuple[Client, ...]:
    """Return the clients that together see every table: this client, and those of the shards."""
    return (client, *shards(client)) if client.endpoint.sharding else (client,)


def pushing(client: Client) -> QuerySettings:
    """Return the settings with which shards get the conditions of a query that has no subquery, or `GLOBAL IN`."""
    return {PUSHING: 1} if client.endpoint.sharding and client.knows(PUSHING) else {}


def distributed(client: Client, table: str) -> bool:
    """Return whether a table's rows are on the shards."""
    described = describe(client, table) if client.endpoint.sharding else None
    return described is not None and described.engine == DISTRIBUTED


def holders(client: Client, table: str) -> tuple[Client, ...]:
    """Return the clients that have a table's rows: each shard's, or this client alone."""
    return shards(client) if distributed(client, table) else (client,)


def require_sharded(client: Client, table: str) -> None:
    """Refuse the source of a population that is not on the shards of the cluster.

    Raises:
        ConfigError: the table is on the first shard alone.
    """
    if client.endpoint.sharding and describe(client, table) and not distributed(client, table):
        raise ConfigError(
            f"The population cannot be read from {table}: it is on the first shard alone",
            found=f"a table of {client.endpoint.database}",
            allowed=f"a table of {client.endpoint.sharding.database}{SHARE} with a {DISTRIBUTED} table over it",
            next_step="name a table that is sharded by the entity in source.table",
        )


def create(client: Client, table: str, statement: str, parameters: Parameters | None = None) -> None:
    """Create a run's own table on each shard, and over them at home a table of the same name."""
    for shard in shards(client):
        shard.run(statement, parameters)
    sharding = client.endpoint.sharding
    if sharding:
        share = sharding.database + SHARE
        client.run(f"CREATE TABLE IF NOT EXISTS {over(sharding, table, share)}")


def first(client: Client, table: str) -> str:
    """Return the name of a run's own table on the first shard, by which home can fill it."""
    sharding = client.endpoint.sharding
    return f"{sharding.database}{SHARE}.{table}" if sharding else table


def over(sharding: Sharding, table: str, database: str, key: str = "") -> str:
    """Return the declaration of a Distributed table over a database's tables of the same name on each node."""
    arguments = f"{literal(sharding.cluster)}, {literal(database)}, {literal(table)}{', ' * bool(key)}{key}"
    return f"{identifier(table)} AS {identifier(f'{database}.{table}')} ENGINE = {DISTRIBUTED}({arguments})"


def drop(client: Client, table: str) -> None:
    """Drop a run's own table, wherever it is."""
    for node in nodes(client):
        node.run(node.topology.drop(table))


def everywhere(client: Client, table: str) -> str:
    """Return the expression that reads a table of the shards' own, which has no table over it at home."""
    sharding = client.endpoint.sharding
    if sharding is None:
        return identifier(table)
    database = literal(sharding.database + SHARE)
    return f"cluster({literal(sharding.cluster)}, {database}, {literal(table)})"
