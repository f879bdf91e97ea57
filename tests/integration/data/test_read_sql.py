"""Test that SQL read in parallel as a Ray dataset yields the same rows as in one piece."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray.data
import ray.exceptions

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster.worker_errors import plain_errors
from raypipe.data import source
from raypipe.data.slices import cut
from raypipe.data.source import SlicedQuery, read_sql
from raypipe.errors import ServerError, UsageError

DAY = date(2026, 1, 31)
USERS = 20_000
FACTS = """
CREATE TABLE facts (day Date, user String, brand UInt8, value Nullable(Float64)) ENGINE = MergeTree
ORDER BY (day, user) SETTINGS index_granularity = 64
"""
FILL = f"""
INSERT INTO facts SELECT toDate('2026-01-30') + number % 2,
    concat(['', 'it''s ', 'a\\\\b', 'é😀', 'x\\ty'][1 + number % 5], toString(intDiv(number, 2))), number % 7,
    if(number % 11 = 0, NULL, number / 3) FROM numbers({2 * USERS})
"""
QUERIES = {
    "a filter": "SELECT user, value FROM facts WHERE day = {day:Date} AND brand IN (1, 2) AND value > 10 AND {slice}",
    "a join": (
        "SELECT f.user AS user, b.name AS name, f.value AS value FROM facts AS f INNER JOIN brands AS b"
        " ON b.brand = f.brand WHERE f.day = {day:Date} AND {slice:f}"
    ),
    "a join of the table with itself": (
        "SELECT f.user AS user, g.value AS value FROM facts AS f LEFT JOIN facts AS g"
        " ON g.user = f.user AND g.day = {day:Date} - 1 WHERE f.day = {day:Date} AND {slice:f}"
    ),
    "a sub-query": (
        "SELECT user, total, length(user) AS letters FROM (SELECT user, sum(value) AS total FROM facts"
        " WHERE day = {day:Date} AND {slice} GROUP BY user HAVING total IS NOT NULL)"
        " WHERE user NOT IN (SELECT user FROM facts WHERE day = {day:Date} AND brand = 3)"
    ),
    "a CTE": (
        "WITH chosen AS (SELECT * FROM facts WHERE day = {day:Date} AND {slice})"
        " SELECT user, brand % 3 AS rest FROM chosen WHERE user LIKE '%1'"
    ),
}


@pytest.fixture
def facts(client: Client) -> Client:
    """Two days of 20,000 users, and a table of brands."""
    client.run(FACTS)
    client.run(FILL)
    client.run("CREATE TABLE brands (brand UInt8, name String) ENGINE = Memory")
    client.run("INSERT INTO brands SELECT number, concat('brand ', toString(number)) FROM numbers(5)")
    return client


def rows_of(dataset: ray.data.Dataset) -> list[tuple[Any, ...]]:
    names = dataset.columns() or []
    return sorted((tuple(row[name] for name in names) for row in dataset.iter_rows()), key=repr)


def in_one_piece(client: Client, sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    return sorted((tuple(row.values()) for row in client.table(sql, parameters).to_pylist()), key=repr)


@pytest.mark.parametrize("kind", QUERIES)
def test_a_query_read_in_parallel_yields_what_it_yields_in_one_piece(
    ray_session: None, facts: Client, kind: str
) -> None:
    sql = QUERIES[kind]
    given = {"day": DAY}
    dataset = read_sql(
        sql, facts.endpoint, table="facts", pinned={"day": DAY}, parameters=given, slice_rows=2_000
    ).materialize()
    assert dataset.num_blocks() >= 5
    expected = in_one_piece(facts, sql.replace("{slice:f}", "1").replace("{slice}", "1"), given)
    assert len(expected) > 1_000
    assert rows_of(dataset) == expected


def test_a_query_without_a_place_for_slices_is_cut_by_the_hash_of_its_key(ray_session: None, facts: Client) -> None:
    sql = "SELECT user, max(value) AS value FROM facts WHERE brand % 2 = {odd:UInt8} GROUP BY user"
    found = read_sql(sql, facts.endpoint, keys=["user"], parameters={"odd": 1}, slice_rows=6_000).materialize()
    assert found.num_blocks() > 1
    assert rows_of(found) == in_one_piece(facts, sql, {"odd": 1})


def test_a_query_with_neither_is_read_in_one_piece(ray_session: None, facts: Client) -> None:
    sql = "SELECT user, brand FROM facts WHERE brand % 2 = 0"
    assert rows_of(read_sql(sql, facts.endpoint, parameters={"day": DAY})) == in_one_piece(facts, sql, {})


def test_an_empty_result_keeps_the_schema(ray_session: None, facts: Client) -> None:
    sql = "SELECT user, value, [toFloat32(brand)] AS x FROM facts WHERE day = '2020-01-01' AND {slice}"
    found = read_sql(sql, facts.endpoint, table="facts", slice_rows=2_000).materialize()
    assert found.count() == 0
    assert found.schema().names == ["user", "value", "x"]
    assert found.schema().base_schema.field("x").type.value_type == pa.float32()


def test_slices_that_yield_nothing_beside_others_do_not_spoil_the_schema(ray_session: None, facts: Client) -> None:
    first = facts.value("SELECT min(user) FROM facts")
    sql = "SELECT user, value FROM facts WHERE user = {user:String} AND {slice}"
    found = read_sql(sql, facts.endpoint, table="facts", parameters={"user": first}, slice_rows=2_000)
    assert rows_of(found) == in_one_piece(facts, sql.replace("{slice}", "1"), {"user": first})


def test_an_error_of_the_server_comes_out_of_ray_as_the_servers(ray_session: None, facts: Client) -> None:
    sql = "SELECT user, throwIf(brand = 6, 'the cup is broken') AS t FROM facts WHERE {slice}"
    dataset = read_sql(sql, facts.endpoint, table="facts", slice_rows=2_000)
    with pytest.raises(ServerError, match="the cup is broken") as failed, plain_errors():
        dataset.materialize()
    assert type(failed.value) is ServerError
    assert failed.value.code == 395


def test_an_error_in_the_middle_of_a_stream_comes_out_of_ray_as_the_servers(ray_session: None, facts: Client) -> None:
    sql = "SELECT number, throwIf(number = 3000000, 'the cup is broken') FROM numbers(5000000)"
    dataset = read_sql(sql, facts.endpoint)
    with pytest.raises(ServerError, match="the cup is broken") as failed, plain_errors():
        dataset.materialize()
    assert failed.value.code == 395


@pytest.fixture
def read_whose_worker_dies(
    ray_session: None, facts: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[str]]:
    """Reads every user in one task, whose worker is killed once when its first block has arrived."""
    read, begun, reader = source._read, tmp_path / "begun", tmp_path / "reader"
    os.mkfifo(reader)

    def stops_behind_its_first_batch(*given: Any) -> Iterator[pa.Table]:
        blocks = read(*given)
        yield next(blocks)
        if not begun.exists():
            begun.touch()
            reader.write_text(str(os.getpid()))
            signal.pause()
        yield from blocks

    def users() -> list[str]:
        # The order stands for that of ClickHouse's threads, which is another one each time too.
        dataset = read_sql("SELECT user FROM facts ORDER BY rand()", facts.endpoint, settings={"max_block_size": 5_000})
        batches = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
        found = next(batches).column("user").to_pylist()
        os.kill(int(reader.read_text()), signal.SIGKILL)
        return [*found, *(user for batch in batches for user in batch.column("user").to_pylist())]

    monkeypatch.setattr(source, "_read", stops_behind_its_first_batch)
    # Several blocks of Ray's in a batch, so that some are handed out before the reader stops.
    monkeypatch.setattr(ray.data.DataContext.get_current(), "target_max_block_size", 10_000)
    return users


def test_a_read_whose_worker_dies_is_an_error(read_whose_worker_dies: Callable[[], list[str]]) -> None:
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        read_whose_worker_dies()


def test_without_the_bound_on_retries_a_read_whose_worker_dies_yields_rows_twice_and_lacks_others(
    read_whose_worker_dies: Callable[[], list[str]], facts: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "ONCE", {"max_retries": -1})
    expected = Counter(row[0] for row in facts.rows("SELECT user FROM facts"))
    found = Counter(read_whose_worker_dies())
    assert found - expected
    assert expected - found


def test_an_error_that_is_not_raypipes_passes_as_ray_raised_it(ray_session: None) -> None:
    def broken(row: dict[str, Any]) -> dict[str, Any]:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ray.exceptions.RayError, match="a bug"), plain_errors():
        ray.data.range(1).map(broken).materialize()


@pytest.mark.parametrize(
    ("sql", "table"), [("SELECT 1 WHERE {slice}", None), ("SELECT 1", "facts"), ("SELECT 1 -- {slice}", "facts")]
)
def test_a_place_without_a_table_or_the_other_way_round_is_refused(sql: str, table: str | None) -> None:
    with pytest.raises(UsageError, match="needs both"):
        read_sql(sql, Endpoint.parse("http://127.0.0.1:1"), table=table)


def tasks(client: Client, sql: str) -> list[Any]:
    slicing = cut(client, "facts", slice_rows=2_000)
    return SlicedQuery(client.endpoint, sql, slicing, {}, {}).get_read_tasks(1)


def test_there_is_a_task_a_slice_whatever_parallelism_ray_wishes(facts: Client) -> None:
    slicing = cut(facts, "facts", slice_rows=2_000)
    assert len(slicing.slices) > 5
    assert len(tasks(facts, "SELECT user FROM facts WHERE {slice}")) == len(slicing.slices)


def test_blocks_are_bounded_and_keep_every_row(facts: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BLOCK_BYTES", 10_000)
    blocks = [block for task in tasks(facts, "SELECT user FROM facts WHERE {slice}") for block in task()]
    assert sum(block.num_rows for block in blocks) == 2 * USERS
    assert max(block.nbytes for block in blocks) < 1.5 * 10_000


def test_a_row_larger_than_a_block_is_a_block(facts: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BLOCK_BYTES", 1)
    one = "SELECT user FROM facts WHERE user = '7' AND {slice}"
    blocks = [block for task in tasks(facts, one) for block in task() if block.num_rows]
    assert [block.num_rows for block in blocks] == [1] * len(blocks)
