"""The pinned content of a query's tables: a change between a run's first look and its last is noticed.

A pin costs one query of `system.parts`, for all tables together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raypipe.clickhouse import partitions, sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.partitions import PartitionState, States
from raypipe.clickhouse.server_errors import STATEMENT
from raypipe.clickhouse.statements import identifier, literal
from raypipe.clickhouse.tables import among, locate, named
from raypipe.data import query_tables
from raypipe.data.query_tables import TableRead
from raypipe.data.slices import SLICE_PLACEHOLDER, unsliced
from raypipe.errors import ConfigError, ServerError

_DEFINITIONS = f"""
SELECT database || '.' || name, hex(sipHash128(uuid, create_table_query))
FROM system.tables
WHERE {among("name")}
"""
SNAPSHOT = "set source.snapshot: true, which copies the population in one statement"


@dataclass(frozen=True)
class PinnedTable:
    """A table or view that a run reads, `database.table`, and the states of its partitions.

    Attributes:
        definition: a hash of the table's identity and definition.
        whole: whether a new partition is a change, too; False where the query reads only these partitions.
        shard: the place of its shard among those of the cluster, from 0.
    """

    table: str
    definition: str
    whole: bool
    states: Mapping[str, PartitionState]
    shard: int = 0


def take(
    client: Client, sql: str, parameters: Mapping[str, Any], table: str, fixed: Mapping[str, object], source: str
) -> tuple[PinnedTable, ...]:
    """Pin the content of every table that a query reads, also behind views.

    Args:
        sql: the query, with `{slice}` in it.
        table: the base table, whose rows `{slice}` restricts.
        fixed: the base table's columns that the query compares with one value.
        source: the query's file.

    Raises:
        ConfigError: the result also depends on what cannot be pinned.
    """
    reads = query_tables.find(client, unsliced(sql), parameters)
    if reads.others:
        raise ConfigError(
            f"{source} reads what can change unnoticed while a run reads it slice by slice",
            found=", ".join(reads.others),
            allowed="tables of the MergeTree family, and functions of their columns",
            next_step=SNAPSHOT,
        )
    base = ".".join(locate(client, table))
    now = _Now.of(client, [read.table for read in reads.tables])
    pinned = []
    for read in reads.tables:
        only = _partitions(client, sql, parameters, table, fixed) if read.table == base and read.times == 1 else None
        pinned.append(_pinned(read, now, only))
    return tuple(pinned)


@dataclass(frozen=True)
class _Now:
    """The content of tables at this moment: their definitions, and the states of their partitions."""

    definitions: Mapping[str, str]
    states: Mapping[str, States]

    @classmethod
    def of(cls, client: Client, tables: Sequence[str]) -> _Now:
        """Look at the tables."""
        definitions = client.rows(_DEFINITIONS, named(tables))
        return cls(dict(definitions), partitions.states_of_all(client, tables))


def _pinned(read: TableRead, now: _Now, only: Sequence[str] | None) -> PinnedTable:
    # FINAL hides the rows that a merge removes.
    states = {
        name: state._replace(rows=None) if read.final else state
        for name, state in now.states[read.table].items()
        if only is None or name in only
    }
    return PinnedTable(read.table, now.definitions.get(read.table, ""), only is None, states)


def _partitions(
    client: Client, sql: str, parameters: Mapping[str, Any], table: str, fixed: Mapping[str, object]
) -> list[str] | None:
    """Return the partitions of the base table that hold the fixed values; None where the query reads others, too."""
    if not fixed:
        return None
    where = " AND ".join(f"{identifier(name)} = {literal(value)}" for name, value in fixed.items())
    rows = client.rows(f"SELECT DISTINCT _partition_id FROM {identifier(table)} WHERE {where}")
    names = [str(name) for (name,) in rows]
    others = f"_partition_id NOT IN ({', '.join(map(literal, ['', *names]))})"
    elsewhere = SLICE_PLACEHOLDER.sub(lambda match: f"{match[1]}.{others}" if match[1] else others, sql)
    try:
        return None if client.value(f"SELECT count() FROM (\n{elsewhere}\n)", parameters) else names
    except ServerError as error:
        # A subquery around the table hides its virtual columns.
        if error.code not in STATEMENT:
            raise
        return None


def changes(client: Client, pinned: Sequence[PinnedTable]) -> Iterator[str]:
    """Yield a description of each change since the tables were pinned."""
    for shard, node in enumerate(sharding.shards(client)):
        yield from _changes(node, [item for item in pinned if item.shard == shard])


def _changes(client: Client, pinned: Sequence[PinnedTable]) -> Iterator[str]:
    if not pinned:
        return
    now = _Now.of(client, [item.table for item in pinned])
    for item in pinned:
        if now.definitions.get(item.table) != item.definition:
            yield f"{item.table} was altered, replaced or dropped"
        states = now.states[item.table]
        for name in sorted(item.states.keys() | (states.keys() if item.whole else set())):
            before, after = item.states.get(name), states.get(name)
            if partitions.is_changed(before, after):
                yield f"partition {name} of {item.table} {_difference(before, after)}"


def _difference(before: PartitionState | None, after: PartitionState | None) -> str:
    if before is None:
        return "is new"
    if after is None:
        return "is gone"
    if after.block != before.block:
        return f"was inserted into or replaced: its newest block is {after.block} instead of {before.block}"
    if after.mutation != before.mutation or after.waiting != before.waiting:
        return f"was updated or deleted from: its newest mutation is {after.mutation}, it was {before.mutation}"
    return f"has {after.rows} rows instead of {before.rows}"
