"""Test the embedded engine through raypipe's client: its protocol, and its life across processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import Error as DriverError

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import Lease, open_embedded
from raypipe.errors import Busy, ConfigError, Denied, ServerError

SECONDS_TO_END = 5.0
WINDOW = "SETTINGS non_replicated_deduplication_window = 100"

# What a second command does: it opens the engine, says so, and holds it until its input ends.
USER = """
import sys
from pathlib import Path
from raypipe.clickhouse.embedded import open_embedded
with open_embedded(Path(sys.argv[1])) as lease:
    print(lease.pid, lease.endpoint.url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def lease(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lease]:
    with open_embedded(tmp_path_factory.mktemp("embedded")) as opened:
        yield opened


@pytest.fixture
def own(lease: Lease) -> Iterator[Client]:
    """A client of an engine of this file's own, whatever RAYPIPE_TEST_URL says."""
    with Client(lease.endpoint) as client:
        client.run("DROP DATABASE IF EXISTS here SYNC")
        client.run("CREATE DATABASE here")
    with Client(replace(lease.endpoint, database="here")) as client:
        yield client


@pytest.fixture
def spawn() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Starts processes that hold an engine; they end with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(path: Path, script: str = USER) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition: Callable[[], bool], seconds: float = SECONDS_TO_END) -> bool:
    deadline = time.monotonic() + seconds
    tick = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        tick.wait(0.02)
    return True


def peak_megabytes(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


class TestQueries:
    def test_bound_parameters_arrive_unchanged(self, own: Client) -> None:
        values = ["a'b\\c", "tab\there", "new\nline", "x\\ty", "`$", "é☃"]
        assert own.value("SELECT {v:Array(String)}", {"v": values}) == values

    def test_an_arrow_stream_of_many_blocks_is_one_stream(self, own: Client) -> None:
        with own.stream("SELECT number FROM numbers(300000)", settings={"max_block_size": 1000}) as (schema, batches):
            numbers = [number for batch in batches for number in batch.column(0).to_pylist()]
        assert schema.names == ["number"]
        assert sorted(numbers) == list(range(300_000))

    def test_an_empty_result_has_its_schema(self, own: Client) -> None:
        table = own.table("SELECT number, toString(number) AS text FROM numbers(0)")
        assert table.schema.names == ["number", "text"]
        assert table.num_rows == 0

    def test_settings_of_a_request_are_not_the_next_ones(self, own: Client) -> None:
        assert own.value("SELECT getSetting('max_threads')", settings={"max_threads": 7}) == 7
        assert own.value("SELECT getSetting('max_threads')") != 7

    def test_the_database_of_the_endpoint_is_the_default(self, own: Client) -> None:
        assert own.value("SELECT currentDatabase()") == "here"

    def test_a_format_in_the_statement_with_settings_behind_it_is_kept(self, own: Client) -> None:
        answer = own._driver.raw_query("SELECT 1 AS x FORMAT JSONEachRow SETTINGS max_threads = 1 -- end")
        assert answer == b'{"x":1}\n'

    def test_a_large_answer_is_held_back_until_it_is_whole(self, own: Client) -> None:
        result = own._driver.query("SELECT number FROM numbers(3000000)")
        assert len(result.result_set) == 3_000_000

    @pytest.mark.parametrize(
        ("sql", "code"),
        [
            ("SELECT * FROM missing", 60),
            ("SELEC 1", 62),
            ("SELECT 1; SELECT 2", 62),
            ("SELECT throwIf(1)", 395),
            ("SELECT 1 INTO OUTFILE '/tmp/raypipe'", 358),
            ("SELECT {missing:String}", 456),
        ],
    )
    def test_a_statement_that_fails_gives_the_servers_code(self, own: Client, sql: str, code: int) -> None:
        with pytest.raises(ServerError, match=f"Code: {code}") as caught:
            own.rows(sql)
        assert caught.value.code == code

    def test_an_unknown_setting_is_refused(self, own: Client) -> None:
        with pytest.raises(ServerError) as caught:
            own.rows("SELECT 1", settings={"no_such_setting": 1})
        assert caught.value.code == 115

    def test_a_wrong_password_is_denied(self, lease: Lease, tmp_path: Path) -> None:
        wrong = tmp_path / "password"
        wrong.touch(mode=0o600)
        wrong.write_text("wrong")
        with pytest.raises(Denied) as caught:
            Client(replace(lease.endpoint, password_file=str(wrong)))
        assert caught.value.code == 516


class TestStreaming:
    QUERY = "SELECT number, throwIf(number = 3000000) AS x FROM numbers(10000000)"

    def test_a_failure_in_the_middle_is_the_servers_error_and_no_short_result(self, own: Client) -> None:
        with own.stream(self.QUERY) as (_, batches):
            rows = next(batches).num_rows
            with pytest.raises(ServerError, match="throwIf") as caught:
                rows += sum(batch.num_rows for batch in batches)
        assert rows > 0
        assert caught.value.code == 395

    def test_memory_does_not_grow_with_the_result(self, lease: Lease, own: Client) -> None:
        columns = ", ".join(f"rand32({column}) AS c{column}" for column in range(10))

        def read(rows: int) -> float:
            forget_peak(lease.pid)
            with own.stream(f"SELECT {columns} FROM numbers({rows})") as (_, batches):
                assert sum(batch.num_rows for batch in batches) == rows
            return peak_megabytes(lease.pid)

        read(1_000_000)
        small = read(1_000_000)
        # 800 MB of rows
        assert read(20_000_000) < small + 150

    def test_requests_leave_no_file_open(self, lease: Lease, own: Client) -> None:
        own.run("CREATE TABLE kept (k UInt64) ENGINE = MergeTree ORDER BY k")

        def open_files() -> int:
            return len(list(Path(f"/proc/{lease.pid}/fd").iterdir()))

        def work(times: int) -> None:
            for number in range(times):
                own.insert("kept", pa.table({"k": pa.array([number], pa.uint64())}), columns=["k"])
                own.rows("SELECT count() FROM kept")
                with pytest.raises(ServerError):
                    own.rows("SELECT throwIf(1)")

        work(10)
        before = open_files()
        work(100)
        # Connections and parts come and go; a file a request would be 300.
        assert open_files() < before + 50
        own.run("DROP TABLE kept")

    def test_a_reader_that_goes_away_ends_its_query(self, own: Client) -> None:
        with own.stream("SELECT number FROM numbers(100000000000)") as (_, batches):
            next(batches)
        own.close()
        running = (
            "SELECT count() FROM system.processes WHERE query LIKE '%100000000000%' AND query NOT LIKE '%processes%'"
        )
        with Client(own.endpoint) as other:
            assert wait_for(lambda: other.value(running) == 0)

    def test_two_clients_read_at_the_same_time(self, lease: Lease) -> None:
        # Each query takes a second whatever the machine; side by side they take less than two.
        query = "SELECT sleepEachRow(0.1) FROM numbers(10) SETTINGS max_block_size = 1"
        clients = [Client(lease.endpoint) for _ in range(2)]
        threads = [threading.Thread(target=client.table, args=(query,)) for client in clients]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - started < 1.9

    def test_inserts_work_while_a_stream_is_read(self, own: Client) -> None:
        own.run("CREATE TABLE copy (number UInt64) ENGINE = MergeTree ORDER BY number")
        with own.stream("SELECT number FROM numbers(2000000)") as (_, batches), Client(own.endpoint) as writer:
            for batch in batches:
                writer.insert("copy", pa.Table.from_batches([batch]))
        assert own.rows("SELECT count(), uniqExact(number) FROM copy") == [(2_000_000, 2_000_000)]


def narrow(rows: int, first: int = 0) -> pa.Table:
    keys = np.arange(first, first + rows, dtype=np.uint64)
    return pa.table({"k": keys, "p": (keys % 97).astype(np.float32)})


class TestInserts:
    @pytest.fixture(autouse=True)
    def _target(self, own: Client) -> None:
        own.run(
            "CREATE TABLE target (k UInt64, p Float32, run String DEFAULT 'none') "
            f"ENGINE = MergeTree ORDER BY k {WINDOW}"
        )

    def active_parts(self, own: Client) -> int:
        sql = "SELECT count() FROM system.parts WHERE database = 'here' AND table = 'target' AND active"
        return int(own.value(sql))

    def test_a_hundred_megabytes_arrive_as_one_part(self, lease: Lease, own: Client) -> None:
        data = narrow(9_000_000)
        own.insert("target", data, columns=("k", "p"))
        assert own.rows("SELECT count(), sum(k), max(run) FROM target") == [(9_000_000, sum(range(9_000_000)), "none")]
        assert self.active_parts(own) == 1

    def test_the_same_token_inserts_once(self, own: Client) -> None:
        for _ in range(2):
            own.insert("target", narrow(1000), columns=("k", "p"), token="first")
        own.insert("target", narrow(1000, first=1000), columns=("k", "p"), token="second")
        assert own.value("SELECT count() FROM target") == 2000

    def test_input_fills_in_constants(self, own: Client) -> None:
        self.insert_through_input(own, narrow(300_000), run="it's a\ttab")
        assert own.rows("SELECT count(), uniqExact(k), any(run) FROM target") == [(300_000, 300_000, "it's a\ttab")]
        assert self.active_parts(own) == 1

    def test_input_honours_the_token(self, own: Client) -> None:
        for _ in range(2):
            self.insert_through_input(own, narrow(1000), run="r", insert_deduplication_token="once")
        assert own.value("SELECT count() FROM target") == 1000

    def test_a_cut_body_inserts_nothing(self, own: Client) -> None:
        body = arrow_stream(narrow(100_000))[:500_000]
        with pytest.raises(DriverError, match="Code: 33"):
            own._driver.raw_insert("target", ["k", "p"], body, fmt="ArrowStream")
        assert own.value("SELECT count() FROM target") == 0

    def test_a_missing_table_is_said_although_the_body_is_large(self, own: Client) -> None:
        with pytest.raises(ServerError) as caught:
            own.insert("missing", narrow(3_000_000))
        assert caught.value.code == 60

    def test_a_null_that_the_column_refuses_is_an_error(self, own: Client) -> None:
        with pytest.raises(ServerError):
            own.insert("target", pa.table({"k": pa.array([1, None], pa.uint64()), "p": [1.0, 2.0]}), columns=("k", "p"))
        assert own.value("SELECT count() FROM target") == 0

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

    @pytest.mark.parametrize("coding", ["lz4", "zstd", "gzip"])
    def test_a_compressed_body_is_read(self, own: Client, coding: str) -> None:
        packed = {"lz4": pack_lz4, "zstd": pack_zstd, "gzip": pack_gzip}[coding](arrow_stream(narrow(500_000)))
        own._driver.raw_insert("target", ["k", "p"], packed, fmt="ArrowStream", compression=coding)
        assert own.value("SELECT count() FROM target") == 500_000

    def test_values_in_the_statement_are_inserted(self, own: Client) -> None:
        own.run("INSERT INTO target (k, run) VALUES (1, 'a; b'), (2, 'FORMAT CSV')")
        assert own.rows("SELECT k, run FROM target ORDER BY k") == [(1, "a; b"), (2, "FORMAT CSV")]

    def insert_through_input(self, own: Client, data: pa.Table, run: str, **settings: str) -> None:
        own._driver.command(
            "INSERT INTO target (k, p, run) "
            "SELECT k, p, {run:String} FROM input('k UInt64, p Float32') FORMAT ArrowStream",
            parameters={"run": run},
            data=arrow_stream(data),
            settings={"async_insert": 0, **settings},
        )


def arrow_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def pack_lz4(body: bytes) -> bytes:
    import lz4.frame

    return lz4.frame.compress(body)


def pack_zstd(body: bytes) -> bytes:
    import zstandard

    return zstandard.compress(body)


def pack_gzip(body: bytes) -> bytes:
    import gzip

    return gzip.compress(body, 1)


class TestOtherTools:
    """clickhouse-connect as a user would call it, and curl."""

    @pytest.fixture(params=[False, "lz4", "zstd", "gzip"])
    def driver(self, lease: Lease, own: Client, request: pytest.FixtureRequest) -> Iterator[object]:
        import clickhouse_connect

        host, port = lease.endpoint.url.removeprefix("http://").split(":")
        connected = clickhouse_connect.get_client(
            host=host,
            port=int(port),
            username="default",
            password=lease.endpoint.password(),
            database="here",
            compress=request.param,
            session_id=f"session {request.param}",
        )
        yield connected
        connected.close()

    def test_tables_are_filled_and_read(self, driver: object) -> None:
        driver.command(
            "CREATE TABLE things (id UInt32, name Nullable(String), at DateTime('UTC'), tags Array(String)) "
            "ENGINE = MergeTree ORDER BY id"
        )
        from datetime import UTC, datetime

        rows = [
            [number, None if number % 3 else f"n{number}", datetime(2026, 1, 1, tzinfo=UTC), ["a", "b"]]
            for number in range(1000)
        ]
        summary = driver.insert("things", rows, column_names=["id", "name", "at", "tags"])
        assert summary.written_rows == 1000
        assert driver.query("SELECT count(), countIf(name IS NULL) FROM things").result_rows == [(1000, 666)]
        assert driver.query_df("SELECT * FROM things ORDER BY id").shape == (1000, 4)
        with driver.query_row_block_stream(
            "SELECT id FROM things ORDER BY id", settings={"max_block_size": 100}
        ) as blocks:
            assert [row[0] for block in blocks for row in block] == list(range(1000))
        assert driver.query_arrow("SELECT id FROM things").num_rows == 1000
        assert driver.query_np("SELECT id FROM things").shape == (1000, 1)
        driver.command("DROP TABLE things")

    def test_a_frame_is_inserted(self, driver: object) -> None:
        driver.command("CREATE TABLE frame (a Int64, b String) ENGINE = MergeTree ORDER BY a")
        driver.insert_df("frame", pd.DataFrame({"a": range(10), "b": list("abcdefghij")}))
        assert driver.query_df("SELECT b FROM frame ORDER BY a")["b"].tolist() == list("abcdefghij")

    def test_a_session_keeps_its_temporary_table_and_not_the_settings(self, driver: object) -> None:
        driver.command("CREATE TEMPORARY TABLE mine (a Int8) ENGINE = Memory", settings={"max_threads": 3})
        driver.command("INSERT INTO mine VALUES (7)")
        assert driver.query("SELECT a, getSetting('max_threads') = 3 FROM mine").result_rows == [(7, False)]
        driver.command("DROP TABLE mine")

    def test_external_data_is_a_table(self, driver: object) -> None:
        from clickhouse_connect.driver.external import ExternalData

        data = ExternalData(
            file_name="given.csv", data=b'1,one\n2,"t\r\nwo"\n', fmt="CSV", structure="id Int32, name String"
        )
        found = driver.query("SELECT name FROM given ORDER BY id", external_data=data).result_rows
        assert found == [("one",), ("t\r\nwo",)]

    def test_a_failure_in_the_middle_is_raised(self, driver: object) -> None:
        with pytest.raises(DriverError, match="395"), driver.query_row_block_stream(TestStreaming.QUERY) as blocks:
            for _ in blocks:
                pass

    def test_curl_asks_and_inserts(self, lease: Lease, own: Client, tmp_path: Path) -> None:
        own.run("CREATE TABLE lines (a Int32, b String) ENGINE = MergeTree ORDER BY a")
        secret = tmp_path / "netrc"
        secret.write_text(f"machine 127.0.0.1 login default password {lease.endpoint.password()}\n")

        def curl(*arguments: str, query: str = "") -> str:
            url = f"{lease.endpoint.url}/?database=here{query}"
            command = ["curl", "-sS", "--netrc-file", str(secret), url, *arguments]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout

        curl("--data-binary", "INSERT INTO lines FORMAT CSV\n1,one\n2,two;\n")
        curl("--data-binary", "3\tthree\n", query="&query=INSERT%20INTO%20lines%20FORMAT%20TSV")
        assert curl("-d", "SELECT * FROM lines ORDER BY a FORMAT CSV") == '1,"one"\n2,"two;"\n3,"three"\n'
        assert curl(query="&query=SELECT%20count()%20FROM%20lines") == "3\n"
        assert "Code: 164" in curl(query="&query=DROP%20TABLE%20lines")


class TestLife:
    def test_its_files_are_private(self, tmp_path: Path) -> None:
        with open_embedded(tmp_path / "engine"):
            modes = {
                path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "engine").iterdir() if path.is_file()
            }
            secret = (tmp_path / "engine" / "password").read_text().strip()
        assert set(modes.values()) == {0o600}
        assert len(secret) > 30

    def test_the_password_is_in_no_command_line_and_no_environment(self, tmp_path: Path) -> None:
        with open_embedded(tmp_path) as lease:
            secret = lease.endpoint.password().encode()
            for name in ("cmdline", "environ"):
                assert secret not in Path(f"/proc/{lease.pid}/{name}").read_bytes()

    def test_it_ends_with_its_last_user(self, tmp_path: Path, spawn: Callable[[Path], subprocess.Popen[str]]) -> None:
        with open_embedded(tmp_path) as lease:
            other = spawn(tmp_path)
            assert other.stdout is not None
            assert int(other.stdout.readline().split()[0]) == lease.pid
        assert is_alive(lease.pid)
        other.communicate("")
        assert wait_for(lambda: not is_alive(lease.pid))

    def test_it_ends_when_its_last_user_is_killed(
        self, tmp_path: Path, spawn: Callable[[Path], subprocess.Popen[str]]
    ) -> None:
        user = spawn(tmp_path)
        assert user.stdout is not None
        pid = int(user.stdout.readline().split()[0])
        user.kill()
        assert wait_for(lambda: not is_alive(pid))

    def test_two_that_open_at_once_share_one(
        self, tmp_path: Path, spawn: Callable[[Path], subprocess.Popen[str]]
    ) -> None:
        users = [spawn(tmp_path) for _ in range(4)]
        answers = {user.stdout.readline() for user in users if user.stdout}
        assert len(answers) == 1

    def test_opening_while_it_stops_starts_another(self, tmp_path: Path) -> None:
        with open_embedded(tmp_path) as first, Client(first.endpoint) as client:
            client.run("CREATE TABLE kept (a Int8) ENGINE = MergeTree ORDER BY a")
        for _ in range(3):
            with open_embedded(tmp_path) as lease, Client(lease.endpoint) as client:
                client.run("INSERT INTO kept VALUES (1)")
        with open_embedded(tmp_path) as lease, Client(lease.endpoint) as client:
            assert client.value("SELECT count() FROM kept") == 3

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    def test_after_a_signal_the_data_is_there(self, tmp_path: Path, number: signal.Signals) -> None:
        with open_embedded(tmp_path) as lease, Client(lease.endpoint) as client:
            client.run("CREATE TABLE kept (k UInt64, p Float32) ENGINE = MergeTree ORDER BY k")
            client.insert("kept", narrow(100_000))
            os.kill(lease.pid, number)
            assert wait_for(lambda: not is_alive(lease.pid))
            with open_embedded(tmp_path) as again, Client(again.endpoint) as reader:
                assert again.pid != lease.pid
                assert reader.value("SELECT count() FROM kept") == 100_000

    def test_a_signal_during_a_long_query_ends_it_too(self, tmp_path: Path) -> None:
        with (
            open_embedded(tmp_path) as lease,
            Client(lease.endpoint) as client,
            client.stream("SELECT number FROM numbers(100000000000)") as (_, batches),
        ):
            next(batches)
            os.kill(lease.pid, signal.SIGTERM)
            assert wait_for(lambda: not is_alive(lease.pid), seconds=15)

    def test_a_process_that_has_chdb_open_directly_is_named(
        self, tmp_path: Path, spawn: Callable[..., subprocess.Popen[str]]
    ) -> None:
        direct = (
            "import sys, chdb; held = chdb.connect(sys.argv[1] + '/data'); print('open', flush=True); sys.stdin.read()"
        )
        other = spawn(tmp_path, direct)
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(Busy) as caught:
            open_embedded(tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert str(other.pid) in str(caught.value)

    def test_an_engine_that_does_not_answer_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("raypipe.clickhouse.embedded.ANSWER_SECONDS", 0.5)
        monkeypatch.setattr("raypipe.clickhouse.embedded._PING_SECONDS", 0.5)
        with open_embedded(tmp_path) as lease:
            os.kill(lease.pid, signal.SIGSTOP)
            try:
                with pytest.raises(Busy) as caught:
                    open_embedded(tmp_path)
            finally:
                os.kill(lease.pid, signal.SIGCONT)
        assert f"kill {lease.pid}" in str(caught.value)

    def test_a_folder_that_is_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match="file"):
            open_embedded(tmp_path / "file")

    def test_a_missing_package_names_the_extra(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("raypipe.clickhouse.embedded._NEEDED", ("chdb", "no_such_package"))
        with pytest.raises(ConfigError, match="raypipe\\[local\\]"):
            open_embedded(tmp_path)

    def test_serve_keeps_it_up_until_a_signal(
        self, tmp_path: Path, spawn: Callable[..., subprocess.Popen[str]]
    ) -> None:
        script = """
import sys
from pathlib import Path
from raypipe.clickhouse.embedded import serve
serve(Path(sys.argv[1]), lambda endpoint: print(endpoint.url, flush=True))
"""
        server = spawn(tmp_path, script)
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        with open_embedded(tmp_path) as lease:
            assert lease.endpoint.url == url
        assert is_alive(lease.pid)
        server.send_signal(signal.SIGTERM)
        assert server.wait(SECONDS_TO_END) == 0
        assert wait_for(lambda: not is_alive(lease.pid))
