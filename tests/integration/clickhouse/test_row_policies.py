"""Test that merges and deletions between two counts are not taken for hidden rows."""

from __future__ import annotations

import pytest

from raypipe.clickhouse import row_policies
from raypipe.clickhouse.client import Client
from tests.faults.nights import before_call


def test_a_merge_between_the_counts_hides_no_rows(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.run("CREATE TABLE t (x UInt8) ENGINE = ReplacingMergeTree ORDER BY x")
    for _ in range(2):
        client.run("INSERT INTO t VALUES (1)")
    # The parts are counted with two rows, and then the only row is seen.
    before_call(monkeypatch, row_policies, "_visible", lambda: client.run("OPTIMIZE TABLE t FINAL"))
    row_policies.require_visible(client, "t", "all")
    assert client.value("SELECT count() FROM t") == 1
