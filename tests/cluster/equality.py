"""Compare the tables of two replicas by key."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa

from raypipe.clickhouse import replication
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier

# Replicas merge at different times, so that only FINAL shows the same rows of these engines.
TABLES = """
SELECT name, sorting_key, match(engine, 'Replacing|Summing|Aggregating|Collapsing')
FROM system.tables
WHERE database = currentDatabase() AND engine LIKE '%MergeTree'
ORDER BY name
"""
ROWS_BY_KEY = """
SELECT formatRowNoNewline('TSV', {key}) AS key, count() AS times, sum(cityHash64(formatRow('TSV', *))) AS content
FROM {table}
GROUP BY key
ORDER BY key
"""


@dataclass(frozen=True)
class Comparison:
    """The comparison of all tables of two replicas.

    Attributes:
        keys: the distinct sorting keys of each table, on the first replica.
        rows: of all tables, on the first replica.
        differences: per table, the keys that one replica lacks, or whose rows differ.
    """

    keys: dict[str, int]
    rows: int
    differences: dict[str, list[str]]


def compare(one: Client, other: Client, only: Collection[str] = ()) -> Comparison:
    """Compare the tables of two replicas that have caught up; by default all tables."""
    for client in (one, other):
        replication.catch_up(client)
    tables, others = ({name: rest for name, *rest in client.rows(TABLES)} for client in (one, other))
    assert tables == others
    keys, rows, differences = {}, 0, {}
    for name, (sorting_key, merges_rows) in tables.items():
        if only and name not in only:
            continue
        table = identifier(name) + (" FINAL" if merges_rows else "")
        sql = ROWS_BY_KEY.format(key=sorting_key or "''", table=table)
        here, there = one.table(sql), other.table(sql)
        keys[name] = here.num_rows
        rows += sum(here.column("times").to_pylist())
        if not here.equals(there):
            differences[name] = _differing(here, there)
    return Comparison(keys, rows, differences)


def _differing(here: pa.Table, there: pa.Table) -> list[str]:
    first, second = ({row["key"]: row for row in table.to_pylist()} for table in (here, there))
    return sorted(key for key in first | second if first.get(key) != second.get(key))
