"""Test that every write to a partition changes its state, and that no merge does."""

from __future__ import annotations

import pytest

from raypipe.clickhouse import partitions
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.partitions import PartitionState

pytestmark = pytest.mark.versions

# Parts are merged only when a test asks for it. Block numbers in the rows allow lightweight updates, whose patches are
# removed every second, not every minute.
SETTINGS = (
    "merge_tree_clear_old_temporary_directories_interval_seconds = 1, merge_tree_clear_old_parts_interval_seconds = 1,"
    "max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1,"
    " enable_block_number_column = 1, enable_block_offset_column = 1"
)
SYNC = {"mutations_sync": 2, "lightweight_deletes_sync": 2}
WRITES = {
    "an insert": "INSERT INTO t VALUES (1, 1000, 0)",
    "an update": "ALTER TABLE t UPDATE value = 1 WHERE id = 3",
    "a lightweight update": "UPDATE t SET value = 1 WHERE id = 3",
    "a deletion": "ALTER TABLE t DELETE WHERE id = 3",
    "a lightweight deletion": "DELETE FROM t WHERE id = 3",
    "a replacement": "ALTER TABLE t REPLACE PARTITION 1 FROM other",
    "an attached partition": "ALTER TABLE t ATTACH PARTITION 1 FROM other",
    "a moved partition": "ALTER TABLE other MOVE PARTITION 1 TO TABLE t",
    "a dropped part": "ALTER TABLE t DROP PART '1_1_1_0'",
    "a detached part": "ALTER TABLE t DETACH PART '1_3_3_0'",
    "a dropped partition": "ALTER TABLE t DROP PARTITION 1",
}


@pytest.fixture
def table(client: Client) -> Client:
    """Create a table whose partition 1 has three parts, and another with the same keys and other values."""
    for name in ("t", "other"):
        client.run(
            f"CREATE TABLE {name} (day UInt8, id UInt64, value UInt64) ENGINE = MergeTree PARTITION BY day ORDER BY id"
            f" SETTINGS {SETTINGS}"
        )
    for first in (0, 100, 200):
        insert(client, first)
    client.run("INSERT INTO other SELECT 1, number, 7 FROM numbers(300)")
    return client


def insert(client: Client, first: int, day: int = 1) -> None:
    client.run(f"INSERT INTO t SELECT {day}, number + {first}, 0 FROM numbers(100)")


def state(client: Client) -> PartitionState | None:
    return partitions.states(client, "t").get("1")


def merge(client: Client) -> None:
    """Merge all parts of the partition into one."""
    parts = "SELECT name FROM system.parts WHERE active AND database = currentDatabase() AND table = 't'"
    before = client.rows(parts)
    client.run("OPTIMIZE TABLE t PARTITION 1 FINAL")
    assert client.rows(parts) != before


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_write_changes_the_state(table: Client, write: str) -> None:
    before = state(table)
    table.run(write, settings=SYNC)
    assert before is not None
    assert partitions.is_changed(before, state(table))


@pytest.mark.parametrize("write", [None, *WRITES.values()], ids=["nothing", *WRITES])
def test_a_merge_after_any_write_does_not_change_the_state(table: Client, write: str | None) -> None:
    if write:
        table.run(write, settings=SYNC)
    # Of the numbers of a mutation and of a later insert, a merge keeps both.
    insert(table, 500)
    before = state(table)
    merge(table)
    assert not partitions.is_changed(before, state(table))


def test_a_partition_without_rows_has_no_state(table: Client) -> None:
    """The server removes its empty parts at some later time, which is no change."""
    insert(table, 0, day=2)
    table.run("ALTER TABLE t MODIFY SETTING remove_empty_parts = 0")
    table.run("ALTER TABLE t DELETE WHERE day = 2", settings=SYNC)
    assert partitions.states(table, "t").keys() == {"1"}


def test_a_write_to_another_partition_changes_that_state_alone(table: Client) -> None:
    before = partitions.states(table, "t")
    insert(table, 0, day=2)
    after = partitions.states(table, "t")
    assert not partitions.is_changed(before["1"], after["1"])
    assert partitions.is_changed(before.get("2"), after["2"])


def test_parts_that_a_mutation_has_not_rewritten_yet_are_counted(table: Client) -> None:
    """A mutation rewrites part by part, and all of them get its version: the newest says nothing about the others."""
    table.run("SYSTEM STOP MERGES t")
    table.run("ALTER TABLE t UPDATE value = 2 WHERE 1", settings={"mutations_sync": 0})
    before = state(table)
    table.run("SYSTEM START MERGES t")
    table.run("ALTER TABLE t UPDATE value = 3 WHERE 1", settings=SYNC)
    after = state(table)
    assert before is not None
    assert after is not None
    assert (before.waiting, after.waiting) == (3, 0)
    assert partitions.is_changed(before._replace(mutation=after.mutation), after)


def test_a_table_without_parts_has_no_states(client: Client) -> None:
    client.run("CREATE TABLE t (id UInt64) ENGINE = MergeTree ORDER BY id")
    assert partitions.states(client, "t") == {}
