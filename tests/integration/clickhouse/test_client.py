"""Test the client on a real server: strict inserts, deduplication, bounded reads and server errors."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from raypipe.clickhouse.client import Client, content_token
from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.endpoint import PASSWORD_VARIABLE, Endpoint
from raypipe.errors import DataError, Denied, ServerError, Unreachable, UsageError

HOSTILE = ["a'b", "a\\b", "a\nb", "a\tb", "é😀", "", "\\N", "100% %(x)s", "a\0b", "{x:String}", "a&b=c+d"]
REMEMBERING = "ENGINE = MergeTree ORDER BY k SETTINGS non_replicated_deduplication_window = 100"


@pytest.fixture
def keyed(client: Client) -> Client:
    """A table `t` (k UInt64, name String, day Date) that remembers insert tokens."""
    client.run(f"CREATE TABLE t (k UInt64, name String, day Date) {REMEMBERING}")
    return client


def people(keys: list[int | None], names: list[str] | None = None, day: Any = date(2026, 1, 31)) -> pa.Table:
    return pa.table(
        {
            "k": pa.array(keys, pa.uint64()),
            "name": pa.array(names or ["x"] * len(keys), pa.string()),
            "day": pa.array([day] * len(keys), pa.date32()),
        }
    )


def count(client: Client, table: str = "t") -> int:
    return int(client.value(f"SELECT count() FROM {table}"))


@pytest.mark.parametrize("word", HOSTILE)
def test_bound_text_arrives_as_it_was_sent(client: Client, word: str) -> None:
    assert client.value("SELECT {word:String}", {"word": word}) == word
    assert client.table("SELECT {word:String} AS w", {"word": word}).column("w").to_pylist() == [word]


def test_per_cent_signs_stand_for_themselves_beside_values_that_nothing_binds(client: Client) -> None:
    sql = "SELECT count() FROM numbers(100) WHERE toString(number) LIKE '%7' AND number % 2 = 1"
    assert client.value(sql, {"date": date(2026, 1, 31)}) == 10
    assert client.table(sql, {"date": date(2026, 1, 31)}).num_rows == 1
    client.run(sql, {"date": date(2026, 1, 31)})


def test_a_bound_instant_is_taken_in_its_own_zone(client: Client) -> None:
    at = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
    assert client.value("SELECT toUnixTimestamp({at:DateTime})", {"at": at}) == at.timestamp()


def test_a_value_of_several_rows_is_refused(client: Client) -> None:
    with pytest.raises(DataError, match="did not yield exactly one value"):
        client.value("SELECT number FROM numbers(2)")


def test_an_arrow_table_comes_back_as_it_was_inserted(keyed: Client) -> None:
    data = people(list(range(len(HOSTILE))), HOSTILE)
    keyed.insert("t", data)
    found = keyed.table("SELECT k, name, toInt32(day) AS day FROM t ORDER BY k")
    assert found.column("name").to_pylist() == HOSTILE
    assert set(found.column("day").to_pylist()) == {(date(2026, 1, 31) - date(1970, 1, 1)).days}


def test_an_insert_of_a_million_rows_is_one_block_and_one_part(keyed: Client) -> None:
    rows = 1_300_000
    chunks = [people(list(range(start, start + 100_000))) for start in range(0, rows, 100_000)]
    keyed.run("SYSTEM STOP MERGES t")
    keyed.insert("t", pa.concat_tables(chunks))
    parts = keyed.rows(
        "SELECT rows, level FROM system.parts WHERE active AND table = 't' AND database = currentDatabase()"
    )
    assert parts == [(rows, 0)]


@pytest.mark.versions
def test_a_repeated_insert_with_the_same_token_adds_nothing(keyed: Client) -> None:
    for _ in range(2):
        keyed.insert("t", people([1, 2]), token="one")
    assert count(keyed) == 2
    keyed.insert("t", people([1, 2]), token="two")
    assert count(keyed) == 4


@pytest.mark.versions
@pytest.mark.parametrize("is_through", [False, True], ids=["insert", "insert-select"])
def test_a_profile_without_deduplication_does_not_double_a_repeated_insert(client: Client, is_through: bool) -> None:
    # Older servers know the first switch alone; on newer servers the others outweigh it.
    switches = {"insert_deduplicate": "0", "deduplicate_insert": "disable", "deduplicate_insert_select": "disable"}
    known = client.rows("SELECT name FROM system.settings WHERE name IN {names:Array(String)}", {"names": [*switches]})
    off = {name: switches[name] for (name,) in known}
    client.run(
        "CREATE TABLE t (k UInt64) ENGINE = MergeTree ORDER BY k SETTINGS non_replicated_deduplication_window = 10"
    )
    rows, sql = pa.table({"k": pa.array([1], pa.uint64())}), "INSERT INTO t (k) SELECT k FROM input('k UInt64')"
    with Client(client.endpoint, off) as careless:
        for _ in range(2):
            if is_through:
                careless.insert_through(sql, {}, rows, {"k": "UInt64"}, token="t")
            else:
                careless.insert("t", rows, token="t")
    assert client.value("SELECT count() FROM t") == 1


def test_a_known_token_swallows_other_rows_and_so_must_hold_their_content(keyed: Client) -> None:
    keyed.insert("t", people([1]), token="same")
    keyed.insert("t", people([2]), token="same")
    assert count(keyed) == 1
    assert content_token("run", 1, [2]) != content_token("run", 1, [3])


@pytest.mark.versions
def test_a_null_in_a_key_is_refused_and_never_becomes_zero(keyed: Client) -> None:
    with pytest.raises(ServerError, match="NULL"):
        keyed.insert("t", people([1, None]))
    assert count(keyed) == 0


@pytest.mark.parametrize("columns", [None, ["k", "name", "day"]])
def test_a_missing_column_is_refused(keyed: Client, columns: list[str] | None) -> None:
    with pytest.raises(DataError, match="no name"):
        keyed.insert("t", people([1]).drop_columns(["name"]), columns=columns)
    assert count(keyed) == 0


@pytest.mark.versions
@pytest.mark.parametrize("columns", [None, ["k", "name", "day"]])
def test_an_unknown_column_is_refused(keyed: Client, columns: list[str] | None) -> None:
    with pytest.raises(DataError, match="unknown extra"):
        keyed.insert("t", people([1]).append_column("extra", pa.array([1])), columns=columns)
    assert count(keyed) == 0


def test_a_declared_subset_of_the_columns_gets_the_defaults_of_the_others(keyed: Client) -> None:
    keyed.insert("t", people([1]).select(["k", "day"]), columns=["k", "day"])
    assert keyed.rows("SELECT k, name FROM t") == [(1, "")]


@pytest.mark.versions
@pytest.mark.parametrize("day", [date(1960, 1, 1), date(2160, 1, 1)])
def test_a_date_out_of_range_is_refused_and_never_wraps(keyed: Client, day: date) -> None:
    with pytest.raises(DataError, match=rf"(?s)column day of t.*{day}.*1970-01-01 to 2149-06-06"):
        keyed.insert("t", people([1, 2], day=day))
    assert count(keyed) == 0


@pytest.mark.versions
@pytest.mark.parametrize("year", [1960, 2160])
def test_an_instant_out_of_range_is_refused_and_never_wraps(client: Client, year: int) -> None:
    client.run("CREATE TABLE t (at Nullable(DateTime('UTC')), n UInt8 MATERIALIZED 1) ENGINE = MergeTree ORDER BY ()")
    kind = pa.timestamp("us", tz="UTC")
    with pytest.raises(DataError, match=f"(?s)column at of t.*{year}"):
        client.insert("t", pa.table({"at": pa.array([datetime(year, 1, 1, tzinfo=UTC)], kind)}))
    assert count(client) == 0
    good = [datetime(2106, 2, 6, 23, 59, tzinfo=UTC), None, datetime(1970, 1, 1, tzinfo=UTC)]
    client.insert("t", pa.table({"at": pa.array(good, kind)}))
    assert client.table("SELECT toDateTime64(at, 0, 'UTC') AS at FROM t").column("at").to_pylist() == good


def test_an_insert_of_no_rows_adds_none(keyed: Client) -> None:
    keyed.insert("t", people([]), token="empty")
    assert count(keyed) == 0


def test_a_refused_insert_leaves_the_token_unused(keyed: Client) -> None:
    with pytest.raises(ServerError):
        keyed.insert("t", people([1, None]), token="t")
    keyed.insert("t", people([1, 2]), token="t")
    assert count(keyed) == 2


def test_names_that_are_not_names_are_refused_before_the_network(keyed: Client) -> None:
    for table in ("t; DROP TABLE t", "t`", "a.b.c"):
        with pytest.raises(UsageError, match="This name cannot be used"):
            keyed.insert(table, people([1]))
    with pytest.raises(UsageError, match="This name cannot be used"):
        keyed.insert("t", people([1]), columns=["k) VALUES (1"])
    assert count(keyed) == 0


def test_a_large_result_is_streamed_in_batches_of_bounded_memory(client: Client) -> None:
    tracemalloc.start()
    try:
        before = pa.total_allocated_bytes()
        rows, most = 0, 0
        with client.stream("SELECT number, [toFloat32(number)] AS x FROM numbers(4000000)") as (schema, batches):
            for batch in batches:
                rows += batch.num_rows
                most = max(most, pa.total_allocated_bytes() - before, tracemalloc.get_traced_memory()[0])
        assert rows == 4_000_000
        assert schema.names == ["number", "x"]
        # The whole is 64 MB.
        assert most < 16e6
    finally:
        tracemalloc.stop()


def test_an_empty_result_keeps_its_schema(client: Client) -> None:
    found = client.table("SELECT toUInt8(number) AS a, [toFloat32(1)] AS x FROM numbers(0)")
    assert found.num_rows == 0
    assert found.schema.field("a").type == pa.uint8()
    assert found.schema.field("x").type.value_type == pa.float32()


def test_strings_and_low_cardinality_arrive_as_plain_strings(client: Client) -> None:
    found = client.table("SELECT 'a' AS s, toLowCardinality('b') AS l")
    assert [field.type for field in found.schema] == [pa.string(), pa.string()]


@pytest.mark.versions
def test_an_error_before_the_first_row_carries_the_servers_code_and_text(client: Client) -> None:
    for ask in (client.rows, client.table, client.run):
        with pytest.raises(ServerError, match="no_such_table") as failed:
            ask("SELECT * FROM no_such_table")
        assert failed.value.code == 60


def test_an_error_in_the_middle_of_a_stream_carries_the_servers_code_and_text(client: Client) -> None:
    sql = "SELECT number, throwIf(number = 3000000, 'the cup is broken') FROM numbers(5000000)"
    rows = 0
    with client.stream(sql, settings={"max_threads": 1}) as (_, batches):
        while True:
            try:
                rows += next(batches).num_rows
            except ServerError as error:
                failed = error
                break
    assert 0 < rows < 5_000_000
    assert "the cup is broken" in str(failed)
    assert failed.code == 395


def test_an_error_in_the_middle_never_makes_a_shorter_table(client: Client) -> None:
    with pytest.raises(ServerError, match="the cup is broken"):
        client.table("SELECT number, throwIf(number = 3000000, 'the cup is broken') FROM numbers(5000000)")


def test_a_stream_that_is_left_early_leaves_the_client_usable(client: Client) -> None:
    with client.stream("SELECT number FROM numbers(10000000)") as (_, batches):
        next(batches)
    assert client.value("SELECT 1") == 1


def test_settings_of_the_client_count_for_every_statement(database: Endpoint) -> None:
    with Client(database, {"max_result_rows": 5}) as strict, pytest.raises(ServerError) as failed:
        strict.rows("SELECT number FROM numbers(10)")
    assert failed.value.code == 396


@pytest.mark.versions
def test_a_setting_of_the_client_outweighs_its_pin(client: Client) -> None:
    with Client(client.endpoint, {"join_use_nulls": 1}) as joining:
        assert [each.value("SELECT toString(getSetting('join_use_nulls'))") for each in (client, joining)] == [
            "false",
            "true",
        ]


@pytest.mark.versions
def test_a_setting_that_the_server_does_not_know_is_its_error(client: Client) -> None:
    with pytest.raises(ServerError, match="no_such_setting"):
        client.rows("SELECT 1", settings={"no_such_setting": 1})


def test_a_port_where_nothing_listens_is_unreachable() -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1") as failed:
        Client(Endpoint.parse("http://127.0.0.1:1/default"))
    assert "doctor" in str(failed.value)


@pytest.fixture
def locked_out(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong-secret")
    return replace(endpoint, user="nobody_by_this_name", password_file=None)


def test_an_unknown_user_is_denied_without_the_password_in_the_message(locked_out: Endpoint) -> None:
    with pytest.raises(Denied) as failed:
        Client(locked_out)
    assert "nobody_by_this_name" in str(failed.value)
    assert "wrong-secret" not in str(failed.value)


def test_a_database_that_does_not_exist_is_named_with_the_next_step(endpoint: Endpoint) -> None:
    url = str(replace(endpoint, database="no_such_database"))
    with pytest.raises(UsageError, match="no_such_database") as failed, connected(url, endpoint.password_file):
        pass
    assert "migrate" in str(failed.value)


def test_rows_take_the_types_of_the_tables_own_columns(client: Client) -> None:
    client.run(
        "CREATE TABLE rows (id UInt64, kind LowCardinality(String), level Enum8('low' = 1, 'high' = 2),"
        " tags Array(String), at DateTime64(6, 'UTC'), seconds DateTime('UTC'), share Nullable(Float32),"
        " n UInt8 DEFAULT 7) ENGINE = MergeTree ORDER BY id"
    )
    at = datetime(2026, 1, 31, 12, 30, 1, 5, tzinfo=UTC)
    known = {"id": 2**64 - 1, "kind": "a", "level": "high", "tags": [], "at": at, "seconds": at, "share": None}
    client.insert_rows("rows", [known, {**known, "id": 1, "tags": ["x"], "share": 0.5}], token="t")
    client.insert_rows("rows", [known, {**known, "id": 1, "tags": ["x"], "share": 0.5}])
    stored = "SELECT id, kind, level, tags, toUnixTimestamp64Micro(at), toUnixTimestamp(seconds), share, n FROM rows"
    micro, whole = round(at.timestamp() * 1_000_000), int(at.timestamp())
    assert client.rows(f"{stored} ORDER BY id LIMIT 1 BY id") == [
        (1, "a", "high", ["x"], micro, whole, 0.5, 7),
        (2**64 - 1, "a", "high", [], micro, whole, None, 7),
    ]


def test_rows_that_a_column_cannot_hold_are_refused(client: Client) -> None:
    client.run("CREATE TABLE rows (n UInt8, day Date) ENGINE = MergeTree ORDER BY n")
    with pytest.raises(pa.ArrowInvalid):
        client.insert_rows("rows", [{"n": 256, "day": date(2026, 1, 31)}])
    with pytest.raises(DataError, match="A date does not fit into the column"):
        client.insert_rows("rows", [{"n": 1, "day": date(1969, 12, 31)}])
    assert client.value("SELECT count() FROM rows") == 0


def test_a_connection_by_url_answers_and_knows_its_version(endpoint: Endpoint) -> None:
    with connected(str(endpoint), endpoint.password_file) as found, Client(found) as client:
        assert client.value("SELECT version()") == client.version


def test_an_embedded_url_without_a_folder_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a folder"), connected("chdb:"):
        pass


def test_one_client_serves_several_threads_at_once(client: Client) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(lambda i: client.value(f"SELECT sum(number) + {i} FROM numbers(100000)"), range(32)))
    assert sums == [4999950000 + i for i in range(32)]


def test_a_password_file_is_read_for_each_new_client(endpoint: Endpoint, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(endpoint.password() + "\n")
    secret.chmod(0o600)
    with Client(replace(endpoint, password_file=str(secret))) as client:
        assert client.value("SELECT 1") == 1
