"""Test that the harness's replicas are replicas, and that the comparison of two sees a row that one lacks."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from raypipe.clickhouse.client import Client
from tests.cluster.conftest import Replicas
from tests.cluster.equality import compare


def test_a_row_that_one_replica_gets_is_read_on_the_other(replicas: Replicas) -> None:
    with replicas.client(1) as one, replicas.client(2) as other:
        one.run(one.topology.create("letters", "(a String)", order="a"))
        one.insert_rows("letters", [{"a": "x"}])
        other.run("SYSTEM SYNC REPLICA letters")
        assert other.rows("SELECT a FROM letters") == [("x",)]


def test_keys_that_one_replica_lacks_or_has_with_other_rows_are_found(replicas: Replicas) -> None:
    rows = [{"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 3, "b": 3}]
    with ExitStack() as stack:
        one, other = (stack.enter_context(Client(replace(node, cluster=None))) for node in replicas.nodes)
        for client, here in ((one, rows), (other, [{"a": 1, "b": 1}, {"a": 2, "b": 9}])):
            # Not replicated, so that each node keeps its own rows.
            client.run("CREATE TABLE numbers (a UInt8, b UInt8) ENGINE = MergeTree ORDER BY a")
            client.insert_rows("numbers", here)
        comparison = compare(one, other, ["numbers"])
    assert comparison.differences == {"numbers": ["2", "3"]}
    assert (comparison.keys, comparison.rows) == ({"numbers": 3}, 3)
