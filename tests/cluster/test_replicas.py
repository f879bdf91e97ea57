"""Test that the harness's replicas are replicas: a row written on one is read on the other."""

from __future__ import annotations

from tests.cluster.conftest import Replicas


def test_a_row_that_one_replica_gets_is_read_on_the_other(replicas: Replicas) -> None:
    with replicas.client(1) as one, replicas.client(2) as other:
        one.run(one.topology.create("letters", "(a String)", order="a"))
        one.insert_rows("letters", [{"a": "x"}])
        other.run("SYSTEM SYNC REPLICA letters")
        assert other.rows("SELECT a FROM letters") == [("x",)]
