"""Test what a sink refuses without Ray's help: keys, lasting rows, names, tables and values."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.tables import describe
from raypipe.dataset import columns, gate
from raypipe.dataset.sink import ClickHouseSink
from raypipe.errors import ConfigError, DataError, GateRefused, UsageError
from tests.faults.oracle import own_tables
from tests.faults.sinks import write

COLUMNS = "(id UInt32, name Nullable(String), day Date DEFAULT '2026-01-31', tags Array(UInt8))"


@pytest.fixture
def table(client: Client) -> Client:
    client.run(f"CREATE TABLE t {COLUMNS} ENGINE = MergeTree ORDER BY id")
    return client


def rows(**changed: list[object]) -> pa.Table:
    return pa.table({"id": [1, 2, 3], "name": ["a", "b", "c"], "tags": [[1], [], [255]], **changed})


def sink(client: Client, keys: tuple[str, ...] = (), name: str = "t", run: str = "r") -> ClickHouseSink:
    return ClickHouseSink(name, client.endpoint, run=run, keys=keys)


def assert_nothing_written(client: Client) -> None:
    assert client.value("SELECT count() FROM t") == 0
    assert own_tables(client) == []


@pytest.mark.parametrize(
    ("keys", "changed", "text"),
    [
        (("id",), {"id": [1, 1, 2]}, "keys are not distinct"),
        (("name",), {"name": ["a", None, "c"]}, "keys are NULL"),
        (("id", "name"), {"id": [1, 1, 2], "name": ["a", "a", "a"]}, "each id, name once"),
    ],
)
def test_keys_that_do_not_identify_a_row_are_refused(
    table: Client, keys: tuple[str, ...], changed: dict[str, list[object]], text: str
) -> None:
    with pytest.raises(GateRefused, match=text):
        write(sink(table, keys), [rows(**changed)])
    assert_nothing_written(table)


def test_without_the_gate_doubled_keys_are_written(table: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_require_keys", lambda *given: None)
    write(sink(table, ("id",)), [rows(id=[1, 1, 2])])
    assert table.value("SELECT uniqExact(id) FROM t") == 2


def test_keys_that_are_equal_in_two_tasks_are_refused(table: Client) -> None:
    with pytest.raises(GateRefused, match="3 of 6 rows"):
        write(sink(table, ("id",)), [rows(), rows()])
    assert_nothing_written(table)


def test_rows_that_the_table_would_delete_at_once_are_refused(table: Client) -> None:
    table.run("ALTER TABLE t MODIFY TTL day + INTERVAL 1 DAY")
    old = rows().append_column("day", pa.array([10_000] * 3, pa.int32()).cast(pa.date32()))
    with pytest.raises(GateRefused, match="would delete rows at once"):
        write(sink(table), [old])
    assert_nothing_written(table)


def test_a_table_with_settings_and_a_projection_is_written(client: Client) -> None:
    client.run(
        f"CREATE TABLE t {COLUMNS[:-1]}, PROJECTION p (SELECT name, count() GROUP BY name)) ENGINE = MergeTree"
        " PRIMARY KEY id ORDER BY (id, name) SETTINGS allow_nullable_key = 1, index_granularity = 64"
    )
    write(sink(client, ("id",)), [rows(), rows(id=[4, 5, 6])])
    assert client.rows("SELECT count(), uniqExact(id), any(day) = '2026-01-31' FROM t") == [(6, 6, 1)]


@pytest.mark.parametrize("run", ["", "a b", "x" * 201, "'; DROP TABLE t"])
def test_a_run_needs_a_plain_name(table: Client, run: str) -> None:
    with pytest.raises(UsageError, match="A run of the sink needs a name"):
        sink(table, run=run)


REFUSED: dict[str, tuple[Callable[[Client], ClickHouseSink], type[Exception], str]] = {
    "an unknown table": (lambda client: sink(client, name="nope"), UsageError, "The table nope does not exist"),
    "another database": (lambda client: sink(client, name="system.parts"), UsageError, "database of its endpoint"),
    "an injection": (lambda client: sink(client, name="t; DROP TABLE t"), UsageError, "cannot be used in SQL"),
    "an unknown key": (lambda client: sink(client, ("nope",)), UsageError, "has no column nope"),
    "a ledger of another engine": (lambda client: sink(client, name="raypipe_writes"), ConfigError, "Replacing"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_target_that_cannot_be_used_is_refused_before_anything_is_written(table: Client, kind: str) -> None:
    made, error, text = REFUSED[kind]
    sink(table).is_published  # noqa: B018 creates the ledger
    with pytest.raises(error, match=text):
        write(made(table), [rows()])
    assert_nothing_written(table)


VALUES = {
    "an integer out of range": {"id": [1, 2, 1 << 32]},
    "a negative number": {"id": [-1, 2, 3]},
    "a fraction": {"id": [1.5, 2, 3]},
    "text for a number": {"id": ["1", "2", "3"]},
    "a number for text": {"name": [1, 2, 3]},
    "an element out of range": {"tags": [[256], [], [1]]},
    "NULL": {"id": [1, None, 3]},
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_that_clickhouse_would_change_is_refused(table: Client, kind: str) -> None:
    with pytest.raises(DataError, match=r"of t cannot be NULL|does not fit into t"):
        write(sink(table), [rows(**VALUES[kind])])
    assert_nothing_written(table)


@pytest.mark.parametrize("kind", ["an integer out of range", "a negative number", "an element out of range"])
def test_without_this_check_clickhouse_changes_the_value_in_silence(
    table: Client, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(columns, "fitted", lambda block, target: block)
    given = rows(**VALUES[kind])
    write(sink(table), [given])
    found = table.table("SELECT id, name, tags FROM t ORDER BY ALL").to_pylist()
    assert sorted(map(str, found)) != sorted(map(str, given.to_pylist()))


def test_rows_whose_values_fit_are_cast(table: Client) -> None:
    described = describe(table, "t")
    assert described is not None
    given = pa.table(
        {"id": pa.array([1.0, 2.0]), "name": pa.array(["a", "a"]).dictionary_encode(), "tags": [[1], None]}
    ).set_column(2, "tags", pa.array([[1], [2]], pa.list_(pa.int64())))
    write(sink(table), [given, rows(id=[3, 4, 5], name=[None] * 3)])
    assert table.rows("SELECT id, name FROM t ORDER BY id") == [(1, "a"), (2, "a"), (3, None), (4, None), (5, None)]
