"""The states of a table's partitions: every write to a partition changes its state, and no merge does."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.tables import among, locate, named

# Inserts take ever higher numbers of blocks, and mutations and patches ever higher versions, the fifth part of a part's
# name. A merged part keeps the highest of both. Mutations rewrite one part after the other.
_STATES = f"""
SELECT database || '.' || table, replaceRegexpOne(partition_id, '^patch-[0-9a-f]+-', ''),
    maxIf(max_block_number, NOT startsWith(name, 'patch-')),
    max(toUInt64OrZero(splitByChar('_', name)[5])),
    countIf((database, table, name) IN (
        SELECT database, table, arrayJoin(parts_to_do_names) FROM system.mutations WHERE NOT is_done)),
    sumIf(rows, NOT startsWith(name, 'patch-')) AS total,
    max(has_lightweight_delete OR startsWith(name, 'patch-'))
FROM system.parts
WHERE active AND {among("table")}
GROUP BY 1, 2
HAVING total > 0
"""


class PartitionState(NamedTuple):
    """The state of a partition.

    Attributes:
        block: the highest number of an inserted block.
        mutation: the highest version of a mutation or a patch.
        waiting: the parts that a mutation has not rewritten yet.
        rows: the rows of the parts; None where a merge may remove rows without a change of the content.
    """

    block: int
    mutation: int
    waiting: int
    rows: int | None


States = Mapping[str, PartitionState]


def states(client: Client, table: str) -> States:
    """Return the states of the partitions of `table` or `database.table`, by partition id."""
    name = ".".join(locate(client, table))
    return states_of_all(client, [name])[name]


def states_of_all(client: Client, names: Collection[str]) -> dict[str, States]:
    """Return the states of the partitions of each `database.table`, by partition id, in one query."""
    result: dict[str, dict[str, PartitionState]] = {name: {} for name in names}
    for name, partition, block, mutation, waiting, rows, masked in client.rows(_STATES, named(names)):
        state = PartitionState(int(block), int(mutation), int(waiting), None if masked else int(rows))
        result[name][partition] = state
    return dict(result)


def is_changed(before: PartitionState | None, after: PartitionState | None) -> bool:
    """Return whether a partition was written to between two looks; None is a partition without rows."""
    if before is None or after is None:
        return before is not after
    return before[:3] != after[:3] or before.rows not in (None, after.rows)
