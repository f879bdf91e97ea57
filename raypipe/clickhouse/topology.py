"""The statements that create and drop tables, on one server or on the replicas of a cluster.

On a cluster (`connection.cluster`) tables are created on every node, and a run's own tables are replicated. A command
works on one node, which has every row: reads and swaps are its own, and `replication.settle` waits for the other
replicas. A cluster of several shards has no topology: each of its nodes is one server (see `sharding`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from raypipe.clickhouse.statements import identifier, literal

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
        spreads_ddl: whether the database itself sends each CREATE and DROP to every node, as the engines Replicated
            and Shared do.
    """

    cluster: str | None = None
    spreads_ddl: bool = False

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

    def drop(self, table: str) -> str:
        """Return the statement that drops a table for good, if it exists."""
        return f"DROP TABLE IF EXISTS {identifier(table)}{self._on} SYNC"

    @property
    def _on(self) -> str:
        """Return the clause of a statement for every node."""
        return f" ON CLUSTER {identifier(self.cluster)}" if self.cluster and not self.spreads_ddl else ""

    def _window(self, inserts: int) -> dict[str, int]:
        if not inserts:
            return {}
        if not self.cluster:
            return {"non_replicated_deduplication_window": inserts}
        return {
            "replicated_deduplication_window": inserts,
            "replicated_deduplication_window_seconds": REMEMBERED_SECONDS,
        }
