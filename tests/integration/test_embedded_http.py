"""What raypipe and other tools rely on in the HTTP of the embedded engine, which its configuration could take away."""

from __future__ import annotations

import gzip
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import urllib3
from clickhouse_connect.driver.exceptions import Error as DriverError

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import Lease, open_embedded
from raypipe.errors import ServerError
from tests.faults.actors import awaited

WINDOW = "SETTINGS non_replicated_deduplication_window = 100"
CODINGS = ("lz4", "zstd", "gzip")


@pytest.fixture(scope="module")
def lease(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lease]:
    with open_embedded(tmp_path_factory.mktemp("embedded")) as opened:
        yield opened


@pytest.fixture
def own(lease: Lease) -> Iterator[Client]:
    with Client(lease.endpoint) as client:
        client.run("DROP DATABASE IF EXISTS here SYNC")
        client.run("CREATE DATABASE here")
    with Client(replace(lease.endpoint, database="here")) as client:
        yield client


class TestQueries:
    def test_bound_parameters_arrive_unchanged(self, own: Client) -> None:
        values = ["a'b\\c", "tab\there", "new\nline", "x\\ty", "`$", "é☃"]
        assert own.value("SELECT {v:Array(String)}", {"v": values}) == values

    def test_a_parameter_may_have_a_megabyte(self, own: Client) -> None:
        assert own.value("SELECT length({v:String})", {"v": "x" * 1_000_000}) == 1_000_000

    def test_the_database_of_the_endpoint_is_the_default(self, own: Client) -> None:
        assert own.value("SELECT currentDatabase()") == "here"

    def test_a_bare_expression_is_no_statement(self, own: Client) -> None:
        with pytest.raises(ServerError) as caught:
            own.run("1 + 1")
        assert caught.value.code == 62

    def test_an_idle_connection_stays_open_for_an_hour(self, lease: Lease) -> None:
        answer = urllib3.request("GET", f"{lease.endpoint.url}/ping", retries=False)
        assert "timeout=3600" in answer.headers["Keep-Alive"]

    def test_the_engine_leaves_memory_to_the_others(self, own: Client) -> None:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        limits = dict(
            own.rows(
                "SELECT name, toUInt64(value) FROM system.server_settings"
                " WHERE name IN ('max_server_memory_usage', 'mark_cache_size')"
            )
        )
        assert 0 < limits["max_server_memory_usage"] <= total / 2
        assert limits["mark_cache_size"] <= total / 10


class TestStreaming:
    def test_a_failure_in_the_middle_is_the_servers_error_and_no_short_result(self, own: Client) -> None:
        query = "SELECT number, throwIf(number = 3000000) AS x FROM numbers(10000000)"
        with own.stream(query) as (_, batches):
            rows = next(batches).num_rows
            with pytest.raises(ServerError, match="throwIf") as caught:
                rows += sum(batch.num_rows for batch in batches)
        assert rows > 0
        assert caught.value.code == 395

    def test_a_reader_that_goes_away_ends_its_query(self, own: Client) -> None:
        with own.stream("SELECT number FROM numbers(100000000000)") as (_, batches):
            next(batches)
        own.close()
        running = "SELECT count() FROM system.processes WHERE query LIKE '%100000000000%' AND query_id != queryID()"
        with Client(own.endpoint) as other:
            awaited(lambda: other.value(running) == 0, "the end of the query", seconds=5)

    def test_fifty_clients_read_at_the_same_time(self, lease: Lease) -> None:
        # Each query takes a second whatever the machine: one after the other they would take 50.
        query = "SELECT sleepEachRow(0.1) FROM numbers(10) SETTINGS max_block_size = 1"
        clients = [Client(lease.endpoint) for _ in range(50)]
        threads = [threading.Thread(target=client.table, args=(query,)) for client in clients]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - started < 15

    def test_inserts_work_while_a_stream_is_read(self, own: Client) -> None:
        own.run("CREATE TABLE copy (number UInt64) ENGINE = MergeTree ORDER BY number")
        with own.stream("SELECT number FROM numbers(2000000)") as (_, batches), Client(own.endpoint) as writer:
            for batch in batches:
                writer.insert("copy", pa.Table.from_batches([batch]))
        assert own.rows("SELECT count(), uniqExact(number) FROM copy") == [(2_000_000, 2_000_000)]


def narrow(rows: int, first: int = 0) -> pa.Table:
    keys = np.arange(first, first + rows, dtype=np.uint64)
    return pa.table({"k": keys, "p": (keys % 97).astype(np.float32)})


def arrow_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


class TestInserts:
    @pytest.fixture(autouse=True)
    def _target(self, own: Client) -> None:
        own.run(
            "CREATE TABLE target (k UInt64, p Float32, run String DEFAULT 'none') "
            f"ENGINE = MergeTree ORDER BY k {WINDOW}"
        )

    def test_a_hundred_megabytes_arrive_as_one_part(self, own: Client) -> None:
        own.insert("target", narrow(9_000_000), columns=("k", "p"))
        assert own.rows("SELECT count(), sum(k), max(run) FROM target") == [(9_000_000, sum(range(9_000_000)), "none")]
        parts = "SELECT count() FROM system.parts WHERE database = 'here' AND table = 'target' AND active"
        assert own.value(parts) == 1

    def test_the_same_token_inserts_once(self, own: Client) -> None:
        for _ in range(2):
            own.insert("target", narrow(1000), columns=("k", "p"), token="first")
        own.insert("target", narrow(1000, first=1000), columns=("k", "p"), token="second")
        assert own.value("SELECT count() FROM target") == 2000

    def test_a_missing_table_is_said_although_the_body_is_large(self, own: Client) -> None:
        with pytest.raises(ServerError) as caught:
            own.insert("missing", narrow(3_000_000))
        assert caught.value.code == 60

    def test_clients_insert_side_by_side(self, own: Client) -> None:
        def insert(number: int) -> None:
            with Client(own.endpoint) as client:
                for chunk in range(5):
                    first = (number * 5 + chunk) * 10_000
                    client.insert("target", narrow(10_000, first), columns=("k", "p"), token=f"{number}.{chunk}")

        threads = [threading.Thread(target=insert, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert own.rows("SELECT count(), uniqExact(k) FROM target") == [(200_000, 200_000)]


def packed(body: bytes, coding: str) -> bytes:
    compressed: bytes = pa.compress(body, coding, asbytes=True)
    return compressed


class TestBodies:
    @pytest.fixture(autouse=True)
    def _target(self, own: Client) -> None:
        own.run("CREATE TABLE target (k UInt64, p Float32) ENGINE = MergeTree ORDER BY k")

    @staticmethod
    def send(own: Client, body: bytes, coding: str | None = None, form: str = "ArrowStream") -> None:
        own._driver.raw_insert("target", ["k", "p"], body, fmt=form, compression=coding)

    def test_a_cut_body_inserts_nothing(self, own: Client) -> None:
        with pytest.raises(DriverError, match="Code: 33"):
            self.send(own, arrow_stream(narrow(100_000))[:500_000])
        assert own.value("SELECT count() FROM target") == 0

    @pytest.mark.parametrize("coding", CODINGS)
    def test_a_compressed_body_is_read_whole(self, own: Client, coding: str) -> None:
        self.send(own, packed(arrow_stream(narrow(500_000)), coding), coding)
        assert own.value("SELECT count() FROM target") == 500_000

    # Of zstd, ClickHouse takes a body that breaks off for one that ends.
    @pytest.mark.parametrize("coding", ["lz4", "gzip"])
    def test_a_compressed_body_that_is_cut_inserts_nothing(self, own: Client, coding: str) -> None:
        lines = b"".join(b"%d\t%d\n" % (number, number % 97) for number in range(100_000))
        body = packed(lines, coding)
        with pytest.raises(DriverError, match="Code: "):
            self.send(own, body[: len(body) // 2], coding, "TabSeparated")
        assert own.value("SELECT count() FROM target") == 0

    def test_a_gzip_body_of_two_members_is_read_whole(self, own: Client) -> None:
        halves = (b"".join(b"%d\t1\n" % number for number in range(first, first + 1000)) for first in (0, 1000))
        self.send(own, b"".join(map(gzip.compress, halves)), "gzip", "TabSeparated")
        assert own.rows("SELECT count(), max(k) FROM target") == [(2000, 1999)]


def test_curl_asks_and_inserts(lease: Lease, own: Client, tmp_path: Path) -> None:
    own.run("CREATE TABLE lines (a Int32, b String) ENGINE = MergeTree ORDER BY a")
    secret = tmp_path / "netrc"
    secret.write_text(f"machine 127.0.0.1 login {lease.endpoint.user} password {lease.endpoint.password()}\n")

    def curl(*arguments: str, query: str = "") -> str:
        url = f"{lease.endpoint.url}/?database=here{query}"
        command = ["curl", "-sS", "--netrc-file", str(secret), url, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    curl("--data-binary", "INSERT INTO lines FORMAT CSV\n1,one\n2,two;\n")
    curl("--data-binary", "3\tthree\n", query="&query=INSERT%20INTO%20lines%20FORMAT%20TSV")
    assert curl("-d", "SELECT * FROM lines ORDER BY a FORMAT CSV") == '1,"one"\n2,"two;"\n3,"three"\n'
    assert curl(query="&query=SELECT%20count()%20FROM%20lines") == "3\n"
    assert "Code: 164" in curl(query="&query=DROP%20TABLE%20lines")
