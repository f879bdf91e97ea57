"""The statements that create, fill, swap and drop a run's tables, on one server or a cluster.

On a cluster (`connection.cluster`) tables are created on every node, and a run's own tables are replicated. A command
works on one node. With one shard, that node has every row: reads and swaps are its own, and `replication.settle` waits
for the other replicas. With several shards, each keeps the rows that were inserted through its nodes, and swaps its own
partition. The row in `raypipe_runs` commits for all shards.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raypipe.clickhouse.statements import identifier, literal

# A statement and its settings.
Command = tuple[str, Mapping[str, object]]

# The settings of a look at all nodes: a node that does not answer is left out, within seconds.
LIVE = {
    "skip_unavailable_shards": 1,
    "connect_timeout_with_failover_ms": 2000,
    "connections_with_failover_max_tries": 1,
}
# Longer than a night; by default a replicated table remembers its inserts for an hour.
REMEMBERED_SECONDS = 7 * 24 * 3600
_NAMED = re.compile(r"^\s*CREATE (?:TABLE|VIEW|DATABASE) (?:IF NOT EXISTS )?[\w`.]+")
_ENGINE = re.compile(r"^(ENGINE = )(?!Replicated|Shared)(\w*MergeTree)", re.MULTILINE)
_REPLICA_PATH = re.compile(r"^(Replicated\w*MergeTree)\('[^']*', '[^']*'(?:, )?")


@dataclass(frozen=True)
class Topology:
    """One server, or a cluster named in the server's configuration.

    Attributes:
        shards: the number of the cluster's shards.
        spreads_ddl: whether the database itself sends each CREATE and DROP to every node, as the engines Replicated
            and Shared do.
    """

    cluster: str | None = None
    shards: int = 1
    spreads_ddl: bool = False

    @property
    def is_sharded(self) -> bool:
        """Return whether the rows of a table are on several shards."""
        return self.cluster is not None and self.shards > 1

    @property
    def alter_settings(self) -> Mapping[str, object]:
        """Return the settings of every ALTER; with several shards, it waits for all replicas."""
        return {"alter_sync": 2} if self.is_sharded else {}

    def everywhere(self, table: str) -> str:
        """Return the expression that reads a table's rows on all shards."""
        if not self.is_sharded:
            return identifier(table)
        database, _, name = table.rpartition(".")
        named = literal(database) if database else "currentDatabase()"
        return f"cluster({literal(self.cluster)}, {named}, {literal(name)})"

    def system(self, table: str) -> str:
        """Return the expression that reads a system table of all shards."""
        return self.all_nodes(f"system.{table}") if self.is_sharded else f"system.{table}"

    @property
    def live_settings(self) -> Mapping[str, object]:
        """Return the settings of a query of `all_nodes`, which leaves out the nodes that do not answer."""
        return LIVE if self.cluster else {}

    def all_nodes(self, table: str) -> str:
        """Return the expression that reads a table of every node of a cluster."""
        if not self.cluster:
            return table
        return f"clusterAllReplicas({literal(self.cluster)}, {table})"

    def declared(self, ddl: str) -> str:
        """Return a CREATE of raypipe's DDL files for this topology: on every node, and replicated.

        A replicated engine without a path gets the path of the server's configuration.
        """
        if not self.cluster:
            return ddl
        ddl = _NAMED.sub(lambda match: f"{match[0]}{self._on}", ddl, count=1)
        return _ENGINE.sub(r"\1Replicated\2", ddl, count=1)

    def create(
        self,
        table: str,
        columns: str,
        *,
        order: str,
        partition: str | None = None,
        window: int = 0,
        keep: bool = False,
        tail: str = "",
    ) -> str:
        """Return the statement that creates a table of a run's own.

        Args:
            columns: their declarations in parentheses; '' where `tail` declares them.
            window: how many inserts its deduplication remembers.
            keep: whether an existing table of that name is kept.
            tail: the end of the statement, such as `EMPTY AS SELECT …`.
        """
        settings = {"allow_nullable_key": 1, **self._window(window)}
        named = f"{'IF NOT EXISTS ' if keep else ''}{identifier(table)}{self._on}"
        return (
            f"CREATE TABLE {named}{' ' + columns if columns else ''}"
            f" ENGINE = {'ReplicatedMergeTree' if self.cluster else 'MergeTree'}"
            f"{' PARTITION BY ' + partition if partition else ''} ORDER BY {order}"
            f" SETTINGS {', '.join(f'{name} = {value}' for name, value in settings.items())}{tail}"
        )

    def lock(self, table: str, comment: str) -> str:
        """Return the statement that creates a lock's table, which succeeds for only one of several callers.

        On a cluster each node knows only its own tables, so there the path in Keeper is the lock.
        """
        engine = "Null"
        if self.cluster and not self.spreads_ddl:
            # The server fills in its database's name: two databases may hold pipelines of one name.
            engine = f"ReplicatedMergeTree({literal(f'{self._locks}/{{database}}/{table}')}, 'lock') ORDER BY x"
        return f"CREATE TABLE {identifier(table)} (x UInt8) ENGINE = {engine} COMMENT {literal(comment)}"

    def forget_lock(self, database: str, table: str) -> str:
        """Return the statement that removes the path of a lock whose node is down; refused while that node is up."""
        return f"SYSTEM DROP REPLICA 'lock' FROM ZKPATH {literal(f'{self._locks}/{database}/{table}')}"

    @property
    def _locks(self) -> str:
        return f"/raypipe/locks/{self.cluster}"

    def twin(
        self, twin: str, target: str, engine_full: str, comment: str, settings: Mapping[str, int] | None = None
    ) -> str:
        """Return the statement that creates an empty table like a target with this full engine.

        Args:
            settings: replace those of the target; not on a cluster.
        """
        like = f"CREATE TABLE {identifier(twin)}{self._on} AS {identifier(target)}"
        if settings:
            # The server ends a full engine with its settings. Settings alone would make a plain MergeTree on 25.8.
            own = ", ".join(f"{name} = {value}" for name, value in settings.items())
            like = f"{like} ENGINE = {engine_full}, {own}"
        if self.cluster:
            # A target may name its path in Keeper, which the twin must not share.
            like = f"{like} ENGINE = {_REPLICA_PATH.sub(lambda match: f'{match[1]}(', engine_full)}"
        return f"{like} COMMENT {literal(comment)}"

    def fill(self, twin: str, columns: str, sql: str, hosts: Sequence[str] = ()) -> list[str]:
        """Return the statements that write a query's rows into a twin; on a cluster one per shard.

        Args:
            sql: the query; on a cluster it reads the tables of the shard that it runs on.
            hosts: `host:port` of a replica of each shard.
        """
        if not self.is_sharded:
            return [f"INSERT INTO {identifier(twin)} ({columns}) SELECT {columns} FROM (\n{sql}\n)"]
        reading = f"SELECT {columns} FROM (\n{sql}\n)"
        return [
            f"INSERT INTO FUNCTION remote({literal(host)}, currentDatabase(), {literal(twin)}) ({columns})"
            f" SELECT {columns} FROM remote({literal(host)}, view({reading}))"
            for host in hosts
        ]

    def replace(self, target: str, twin: str, partition: str) -> list[Command]:
        """Return the statements that replace the target's partition by the twin's."""
        sql = f"ALTER TABLE {identifier(target)}{self._on_shards} REPLACE PARTITION ID {literal(partition)}"
        return [*self._synced(twin), (f"{sql} FROM {identifier(twin)}", self.alter_settings)]

    def move(self, target: str, twin: str, partition: str) -> list[Command]:
        """Return the statements that add a twin's partition to the target's."""
        sql = f"ALTER TABLE {identifier(twin)}{self._on_shards} MOVE PARTITION ID {literal(partition)}"
        return [*self._synced(twin), (f"{sql} TO TABLE {identifier(target)}", self.alter_settings)]

    def settle(self, table: str) -> Command | None:
        """Return the statement that removes a table's outdated parts at once; a replicated table needs none.

        Dropping a partition, even one that does not exist, removes every outdated part that no query reads.
        """
        if self.cluster:
            return None
        return f"ALTER TABLE {identifier(table)} DROP PARTITION ID 'none'", self.alter_settings

    def attach(self, twin: str, target: str, partition: str) -> Command:
        """Return the statement that links the target's partition into a twin; the target keeps it.

        Unlike the others, this statement must not be repeated: each time adds the rows once more.
        """
        sql = f"ALTER TABLE {identifier(twin)}{self._on_shards} ATTACH PARTITION ID {literal(partition)}"
        return f"{sql} FROM {identifier(target)}", self.alter_settings

    def attach_all(self, twin: str, portion: str) -> Command:
        """Return the statement that links all of a portion's rows into a twin; not to be repeated, as `attach`."""
        sql = f"ALTER TABLE {identifier(twin)}{self._on_shards} ATTACH PARTITION ALL FROM {identifier(portion)}"
        return sql, self.alter_settings

    def drop_partition(self, table: str, partition: int) -> Command:
        """Return the statement that drops a partition of a run's own table."""
        return f"ALTER TABLE {identifier(table)}{self._on_shards} DROP PARTITION {partition}", self.alter_settings

    def delete(self, table: str, condition: str) -> Command:
        """Return the statement that deletes the rows of a condition; see `mutations.delete`, which waits for it."""
        waits = 2 if self.is_sharded else 0
        return f"DELETE FROM {identifier(table)}{self._on_shards} WHERE {condition}", {
            "lightweight_deletes_sync": waits
        }

    def rewrite(self, table: str, condition: str) -> Command:
        """Return the statement that rewrites parts without the rows of a condition, projections included."""
        waits = 2 if self.is_sharded else 0
        return f"ALTER TABLE {identifier(table)}{self._on_shards} DELETE WHERE {condition}", {"mutations_sync": waits}

    def drop(self, table: str) -> str:
        """Return the statement that drops a table for good, if it exists."""
        return f"DROP TABLE IF EXISTS {identifier(table)}{self._on} SYNC"

    def truncate(self, table: str) -> str:
        """Return the statement that empties a table."""
        return f"TRUNCATE TABLE {identifier(table)}{self._on_shards}"

    @property
    def _on(self) -> str:
        """Return the clause of a statement for every node."""
        return f" ON CLUSTER {identifier(self.cluster)}" if self.cluster and not self.spreads_ddl else ""

    @property
    def _on_shards(self) -> str:
        """Return the clause of a statement for every shard, whose replicas follow by themselves."""
        return self._on if self.is_sharded else ""

    def _window(self, inserts: int) -> dict[str, int]:
        if not inserts:
            return {}
        if not self.cluster:
            return {"non_replicated_deduplication_window": inserts}
        return {
            "replicated_deduplication_window": inserts,
            "replicated_deduplication_window_seconds": REMEMBERED_SECONDS,
        }

    def _synced(self, table: str) -> list[Command]:
        return [(f"SYSTEM SYNC REPLICA{self._on} {identifier(table)}", {})] if self.is_sharded else []
