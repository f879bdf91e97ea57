"""What differs between one server and a cluster: the statements that make, fill, swap and drop a run's tables.

On a cluster (`connection.cluster`) tables are made on every node, a run's own ones are replicated by themselves, each
shard keeps the rows that were inserted through its nodes, and every shard swaps its own partition. The row in
`raypipe_runs` commits for all shards. None of this was run on a cluster: the statements are generated and tested as
text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raypipe.clickhouse.statements import identifier, literal

Statement = tuple[str, Mapping[str, object]]

# Longer than a night: the hour that a replicated table remembers its inserts by default is not.
REMEMBERED_SECONDS = 7 * 24 * 3600
_REPLICA_PATH = re.compile(r"^(Replicated\w*MergeTree)\('[^']*', '[^']*'(?:, )?")


@dataclass(frozen=True)
class Topology:
    """One server, or the cluster of that name in the server's configuration."""

    cluster: str | None = None

    @property
    def insert_settings(self) -> Mapping[str, object]:
        """Settings of every insert: on a cluster an answer means that most replicas have the rows."""
        return {"insert_quorum": "auto", "insert_quorum_parallel": 1} if self.cluster else {}

    @property
    def alter_settings(self) -> Mapping[str, object]:
        """Settings of every ALTER: on a cluster it waits for all replicas."""
        return {"alter_sync": 2} if self.cluster else {}

    def everywhere(self, table: str) -> str:
        """What a query reads for the table's rows on all shards."""
        if not self.cluster:
            return identifier(table)
        database, _, name = table.rpartition(".")
        named = literal(database) if database else "currentDatabase()"
        return f"cluster({literal(self.cluster)}, {named}, {literal(name)})"

    def system(self, table: str) -> str:
        """What a query reads for a system table of all nodes."""
        return f"clusterAllReplicas({literal(self.cluster)}, system.{table})" if self.cluster else f"system.{table}"

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
        """The statement that makes a table of a run's own.

        Args:
            table: its name.
            columns: their declarations in parentheses; '' where `tail` tells them.
            order: the sorting key's expression.
            partition: the partition key's expression.
            window: how many inserts its deduplication remembers.
            keep: whether a table of that name may stand already.
            tail: what follows, such as `EMPTY AS SELECT …`.
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
        """The statement that makes a lock's table, and that only one of those who ask at once can run.

        A cluster's nodes each know their own tables; there the path in Keeper is what only one can make.
        """
        engine = "Null"
        if self.cluster:
            # The server fills in its database's name: two databases may hold pipelines of one name.
            engine = f"ReplicatedMergeTree({literal('/raypipe/locks/{database}/' + table)}, 'lock') ORDER BY x"
        return f"CREATE TABLE {identifier(table)} (x UInt8) ENGINE = {engine} COMMENT {literal(comment)}"

    def twin(self, twin: str, target: str, engine_full: str) -> str:
        """The statement that makes an empty table like a target, whose full engine the server tells."""
        like = f"CREATE TABLE {identifier(twin)}{self._on} AS {identifier(target)}"
        if not self.cluster:
            return like
        # A target may name its path in Keeper, which the twin must not share.
        return f"{like} ENGINE = {_REPLICA_PATH.sub(lambda match: f'{match[1]}(', engine_full)}"

    def fill(self, twin: str, columns: str, sql: str, hosts: Sequence[str] = ()) -> list[str]:
        """The statements that write a query's rows into a twin; on a cluster one for each shard's host.

        Args:
            twin: the table to fill.
            columns: the names of its columns that the query yields.
            sql: the query; on a cluster it reads the tables of the shard that it runs on.
            hosts: `host:port` of a replica of each shard.
        """
        if not self.cluster:
            return [f"INSERT INTO {identifier(twin)} ({columns}) SELECT {columns} FROM (\n{sql}\n)"]
        reading = f"SELECT {columns} FROM (\n{sql}\n)"
        return [
            f"INSERT INTO FUNCTION remote({literal(host)}, currentDatabase(), {literal(twin)}) ({columns})"
            f" SELECT {columns} FROM remote({literal(host)}, view({reading}))"
            for host in hosts
        ]

    def replace(self, target: str, twin: str, partition: str) -> list[Statement]:
        """The statements that put a twin's partition in the place of the target's."""
        sql = f"ALTER TABLE {identifier(target)}{self._on} REPLACE PARTITION ID {literal(partition)}"
        return [*self._synced(twin), (f"{sql} FROM {identifier(twin)}", self.alter_settings)]

    def move(self, target: str, twin: str, partition: str) -> list[Statement]:
        """The statements that add a twin's partition to the target's."""
        sql = f"ALTER TABLE {identifier(twin)}{self._on} MOVE PARTITION ID {literal(partition)}"
        return [*self._synced(twin), (f"{sql} TO TABLE {identifier(target)}", self.alter_settings)]

    def attach(self, twin: str, target: str, partition: str) -> Statement:
        """The statement that adds the target's partition to a twin, which shares its files; the target keeps it.

        Unlike the others it must not be repeated: each time adds the rows once more.
        """
        sql = f"ALTER TABLE {identifier(twin)}{self._on} ATTACH PARTITION ID {literal(partition)}"
        return f"{sql} FROM {identifier(target)}", self.alter_settings

    def drop_partition(self, table: str, partition: int) -> Statement:
        """The statement that drops a partition of a run's own table."""
        return f"ALTER TABLE {identifier(table)}{self._on} DROP PARTITION {partition}", self.alter_settings

    def delete(self, table: str, condition: str) -> Statement:
        """The statement that deletes the rows of a condition and waits until none is seen any more."""
        return f"DELETE FROM {identifier(table)}{self._on} WHERE {condition}", {"lightweight_deletes_sync": 2}

    def drop(self, table: str) -> str:
        """The statement that drops a table for good, if it is there."""
        return f"DROP TABLE IF EXISTS {identifier(table)}{self._on} SYNC"

    @property
    def _on(self) -> str:
        return f" ON CLUSTER {identifier(self.cluster)}" if self.cluster else ""

    def _window(self, inserts: int) -> dict[str, int]:
        if not inserts:
            return {}
        if not self.cluster:
            return {"non_replicated_deduplication_window": inserts}
        return {
            "replicated_deduplication_window": inserts,
            "replicated_deduplication_window_seconds": REMEMBERED_SECONDS,
        }

    def _synced(self, table: str) -> list[Statement]:
        return [(f"SYSTEM SYNC REPLICA{self._on} {identifier(table)}", {})] if self.cluster else []
