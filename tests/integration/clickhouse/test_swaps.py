"""Test that a swap removes the replaced parts for good, before it returns."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from raypipe.clickhouse import swaps
from raypipe.clickhouse.client import Client

SLOW = "SELECT sleepEachRow(1) FROM t"
READING = (
    "SELECT count() FROM system.processes WHERE startsWith(query, {sql:String}) AND current_database = {name:String}"
)
REPLACED = (
    "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 't' AND NOT active AND rows > 0"
)


@pytest.fixture
def twin(client: Client) -> str:
    """Provide a table t and a twin of it, both with rows of the partition 1."""
    for table in ("t", "twin"):
        client.run(f"CREATE TABLE {table} (p UInt8, x UInt8) ENGINE = MergeTree PARTITION BY p ORDER BY ()")
        client.run(f"INSERT INTO {table} SELECT 1, number FROM numbers(2)")
    return "twin"


@pytest.fixture
def reader(client: Client) -> Iterator[None]:
    """Read t for two seconds."""
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(client.rows, SLOW, None, {"max_block_size": 1})
        while not client.value(READING, {"sql": SLOW, "name": client.endpoint.database}):
            assert not reading.done()
        yield
        assert len(reading.result()) == 2


def test_a_swap_waits_for_a_query_that_reads_the_replaced_parts(client: Client, twin: str, reader: None) -> None:
    swaps.replace(client, "t", twin, "1")
    assert client.value(REPLACED) == 0


def test_without_patience_a_swap_leaves_the_parts_that_a_query_reads(
    client: Client, twin: str, reader: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swaps, "SETTLING_SECONDS", 0.0)
    swaps.replace(client, "t", twin, "1")
    assert client.value(REPLACED) == 1


def test_a_swap_waits_for_the_replaced_parts_of_its_own_partition_alone(
    client: Client, twin: str, reader: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swaps, "SETTLING_SECONDS", 0.0)
    client.run("INSERT INTO t VALUES (2, 0)")
    swaps.replace(client, "t", twin, "1")
    assert not swaps.settle(client, "t", "1")
    assert swaps.settle(client, "t", "2")
