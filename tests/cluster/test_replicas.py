"""Test what everything on replicas rests on: replication, the lock's path in Keeper, and the comparison by key."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import replace

import pytest

from raypipe.clickhouse import lock, replication
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Owner
from raypipe.errors import Busy
from tests.cluster.conftest import Replicas
from tests.cluster.equality import compare
from tests.faults.few import before_sending


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


def test_a_table_that_is_dropped_while_a_node_catches_up_needs_no_more(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(replace(replicas.first, quorum=1)) as one, replicas.client(2) as other:
        one.run(one.topology.create("dropped", "(a String)", order="a"))
        other.run("SYSTEM STOP FETCHES dropped")
        one.insert_rows("dropped", [{"a": "x"}])
        before_sending(monkeypatch, re.compile("SYSTEM SYNC"), lambda: one.run(one.topology.drop("dropped")))
        replication.catch_up(other)
        assert other.rows("SHOW TABLES LIKE 'dropped'") == []


def test_a_row_that_another_replica_has_got_is_there_when_a_node_has_caught_up(replicas: Replicas) -> None:
    with Client(replace(replicas.first, quorum=1)) as one, replicas.client(2) as other:
        one.run(one.topology.create("followed", "(a UInt16)", order="a"))
        for number in range(50):
            one.insert_rows("followed", [{"a": number}])
            replication.catch_up(other)
            assert other.value("SELECT count() FROM followed") == number + 1


def test_a_lock_that_one_replica_has_is_refused_on_the_other(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Owner.here("first"), Owner.here("second")
    with replicas.client(1) as one, replicas.client(2) as other:
        lock.acquire(one, "churn", first)
        with pytest.raises(Busy, match="a run is at work"):
            lock.acquire(other, "churn", second)
        # Where both have looked before either created its lock, the path in Keeper decides.
        monkeypatch.setattr(lock, "standing", lambda client, pipeline: [])
        with pytest.raises(Busy, match="was locked a moment ago"):
            lock.acquire(other, "churn", second)
        monkeypatch.undo()
        lock.release(one, "churn", first)
        lock.acquire(other, "churn", second)
        lock.release(other, "churn", second)
