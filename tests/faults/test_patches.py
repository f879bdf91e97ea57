"""Test patches, which a lightweight update writes: the server's cleaner removes them after half a minute."""

from __future__ import annotations

from raypipe.clickhouse import partitions
from raypipe.clickhouse.client import Client
from tests.faults.actors import awaited
from tests.integration.clickhouse.test_partitions import SYNC, WRITES, merge, state, table

__all__ = ["table"]

PATCHES = (
    "SELECT count() FROM system.parts WHERE active AND database = currentDatabase() AND table = 't'"
    " AND startsWith(name, 'patch-')"
)


def test_a_merge_that_applies_an_update_does_not_change_the_state(table: Client) -> None:
    """The patch that a lightweight update writes has the newest block until a merge applies it."""
    table.run(WRITES["a lightweight update"], settings=SYNC)
    before = state(table)
    merge(table)
    table.run("SYSTEM START MERGES t")
    table.run("OPTIMIZE TABLE t FINAL")
    awaited(lambda: table.value(PATCHES) == 0, "the end of the patch")
    assert not partitions.is_changed(before, state(table))
