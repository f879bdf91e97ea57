"""The life of the embedded engine across processes, and the folder that it lives in."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import lease as leases
from raypipe.clickhouse.embedded import open_embedded, start
from raypipe.errors import Busy, ConfigError, RaypipeError, Unreachable
from tests.engines import DIRECT, SECONDS_TO_END, Commands, commands, ended, engine_of, is_alive, said

SERVER = """
import sys
from pathlib import Path
from raypipe.clickhouse.embedded import serve
serve(Path(sys.argv[1]), lambda endpoint: print(endpoint.url, flush=True))
"""
LONG = {
    "computes": "SELECT count() FROM numbers(100000000000) WHERE NOT ignore(rand())",
    "sleeps": "SELECT sleepEachRow(1) FROM numbers(100) SETTINGS max_block_size = 1",
    "inserts": "INSERT INTO FUNCTION null('x UInt64') SELECT number FROM numbers(10000000000000)",
}


@pytest.fixture
def others() -> Iterator[Commands]:
    with commands() as started:
        yield started


class TestSharing:
    def test_the_engine_ends_with_its_last_user(self, tmp_path: Path, others: Commands) -> None:
        with open_embedded(tmp_path) as lease:
            other = others.start(tmp_path)
            assert engine_of(other) == lease.pid
        assert is_alive(lease.pid)
        other.communicate("")
        ended(lease.pid)

    def test_the_engine_ends_when_its_last_user_is_killed(self, tmp_path: Path, others: Commands) -> None:
        user = others.start(tmp_path)
        pid = engine_of(user)
        user.kill()
        ended(pid)

    def test_ctrl_c_on_the_command_that_started_the_engine_does_not_end_it(
        self, tmp_path: Path, others: Commands
    ) -> None:
        first = others.start(tmp_path)
        pid = engine_of(first)
        with open_embedded(tmp_path) as lease, Client(lease.endpoint) as client:
            os.killpg(first.pid, signal.SIGINT)
            first.wait(SECONDS_TO_END)
            assert lease.pid == pid
            assert client.value("SELECT 1") == 1

    def test_commands_that_open_at_once_share_one_engine(self, tmp_path: Path, others: Commands) -> None:
        users = [others.start(tmp_path) for _ in range(4)]
        assert len({said(user) for user in users}) == 1

    def test_opening_while_the_engine_stops_starts_another(self, tmp_path: Path) -> None:
        with open_embedded(tmp_path) as first, Client(first.endpoint) as client:
            client.run("CREATE TABLE kept (a Int8) ENGINE = MergeTree ORDER BY a")
        for _ in range(3):
            with open_embedded(tmp_path) as lease, Client(lease.endpoint) as client:
                client.run("INSERT INTO kept VALUES (1)")
        with open_embedded(tmp_path) as lease, Client(lease.endpoint) as client:
            assert client.value("SELECT count() FROM kept") == 3

    def test_an_idle_connection_does_not_hold_up_the_end(self, tmp_path: Path) -> None:
        with open_embedded(tmp_path) as lease:
            client = Client(lease.endpoint)
            client.value("SELECT 1")
        ended(lease.pid, seconds=2)
        client.close()

    def test_serve_keeps_the_engine_up_until_a_signal(self, tmp_path: Path, others: Commands) -> None:
        server = others.start(tmp_path, script=SERVER)
        url = said(server)
        with open_embedded(tmp_path) as lease:
            assert lease.endpoint.url == url
        assert is_alive(lease.pid)
        server.send_signal(signal.SIGTERM)
        assert server.wait(SECONDS_TO_END) == 0
        ended(lease.pid)

    def test_serve_says_when_the_engine_has_died(self, tmp_path: Path) -> None:
        def kill(_: object) -> None:
            with open_embedded(tmp_path) as lease:
                os.kill(lease.pid, signal.SIGKILL)

        with pytest.raises(Unreachable, match=f"{tmp_path} ended"):
            leases.serve(tmp_path, kill)


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    def test_after_a_signal_the_data_is_there(self, tmp_path: Path, number: signal.Signals) -> None:
        with open_embedded(tmp_path) as lease, Client(lease.endpoint) as client:
            client.run("CREATE TABLE kept (k UInt64) ENGINE = MergeTree ORDER BY k")
            client.run("INSERT INTO kept SELECT number FROM numbers(100000)")
            os.kill(lease.pid, number)
            ended(lease.pid)
            with open_embedded(tmp_path) as again, Client(again.endpoint) as reader:
                assert again.pid != lease.pid
                assert reader.rows("SELECT count(), sum(k) FROM kept") == [(100_000, sum(range(100_000)))]

    @pytest.mark.parametrize("kind", LONG)
    def test_a_running_statement_does_not_hold_up_the_end(self, tmp_path: Path, kind: str) -> None:
        def run() -> None:
            with pytest.raises(RaypipeError):
                client.run(LONG[kind])

        running = "SELECT count() FROM system.processes WHERE query LIKE '%numbers(100%' AND query_id != queryID()"
        with open_embedded(tmp_path) as lease, Client(lease.endpoint) as client, Client(lease.endpoint) as watching:
            thread = threading.Thread(target=run)
            thread.start()
            while not watching.value(running):
                pass
            began = time.monotonic()
            os.kill(lease.pid, signal.SIGTERM)
            ended(lease.pid, seconds=start.START_SECONDS)
            # Not by the last resort, which leaves nothing in order.
            assert time.monotonic() - began < 4
            thread.join()


class TestFolder:
    def test_a_folder_of_chdbs_own_opens_with_its_rows(self, tmp_path: Path, others: Commands) -> None:
        # The folders of raypipe before it used ClickHouse's own server were made like this.
        direct = others.start(
            tmp_path / "data",
            "CREATE DATABASE news",
            "CREATE TABLE news.swapped (day Date, k UInt64) ENGINE = MergeTree PARTITION BY day ORDER BY k",
            "CREATE TABLE news.latest (k UInt64, v UInt64) ENGINE = ReplacingMergeTree(v) ORDER BY k",
            "CREATE VIEW news.counted AS SELECT count() AS c FROM news.swapped",
            "INSERT INTO news.swapped SELECT '2026-01-01', number FROM numbers(1000)",
            "INSERT INTO news.latest SELECT number % 10, number FROM numbers(100)",
            "CREATE TABLE default.plain (k UInt64) ENGINE = MergeTree ORDER BY k",
            "INSERT INTO default.plain SELECT number FROM numbers(10)",
            script=DIRECT,
        )
        assert said(direct) == "open"
        direct.communicate("")
        with open_embedded(tmp_path) as lease, Client(lease.endpoint) as client:
            assert client.rows("SELECT c, sum(k) FROM news.counted, news.swapped GROUP BY c") == [(1000, 499_500)]
            assert client.rows("SELECT count(), min(v) FROM news.latest FINAL") == [(10, 90)]
            client.run("CREATE TABLE news.source AS news.swapped")
            client.run("INSERT INTO news.source VALUES ('2026-01-01', 7)")
            client.run("ALTER TABLE news.swapped REPLACE PARTITION '2026-01-01' FROM news.source")
            client.run("INSERT INTO default.plain VALUES (10)")
            assert client.rows("SELECT c, (SELECT count() FROM default.plain) FROM news.counted") == [(1, 11)]

    def test_a_process_that_has_chdb_open_directly_is_named(self, tmp_path: Path, others: Commands) -> None:
        other = others.start(tmp_path / "data", script=DIRECT)
        assert said(other) == "open"
        with pytest.raises(Busy) as caught:
            open_embedded(tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert str(other.pid) in str(caught.value)

    def test_a_database_that_chdb_was_opened_on_directly_is_refused(self, tmp_path: Path, others: Commands) -> None:
        direct = others.start(tmp_path, "CREATE TABLE t (k UInt8) ENGINE = MergeTree ORDER BY k", script=DIRECT)
        assert said(direct) == "open"
        direct.communicate("")
        with pytest.raises(ConfigError, match=f"move this database to {tmp_path}/data"):
            open_embedded(tmp_path)

    def test_an_engine_that_does_not_answer_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(start, "ANSWER_SECONDS", 0.5)
        monkeypatch.setattr(start, "PING_SECONDS", 0.5)
        with open_embedded(tmp_path) as lease:
            os.kill(lease.pid, signal.SIGSTOP)
            try:
                with pytest.raises(Busy, match=f"kill {lease.pid}"):
                    open_embedded(tmp_path)
            finally:
                os.kill(lease.pid, signal.SIGCONT)

    def test_an_engine_that_does_not_start_is_told_with_its_log(self, tmp_path: Path) -> None:
        (tmp_path / "config.d").mkdir()
        (tmp_path / "config.d" / "broken.xml").write_text("<clickhouse><listen_host>")
        with pytest.raises(Unreachable, match=r"did not start(.|\n)*broken\.xml(.|\n)*server\.log"):
            open_embedded(tmp_path)

    def test_a_folder_that_is_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match="file"):
            open_embedded(tmp_path / "file")

    def test_a_folder_that_everybody_may_write_is_refused(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o1777)
        with pytest.raises(ConfigError, match=f"everybody may write\n  next: chmod 700 {tmp_path}"):
            open_embedded(tmp_path)

    def test_a_folder_whose_name_is_a_pattern_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"a path without any of"):
            open_embedded(tmp_path / "what?")

    def test_a_folder_with_an_unusual_name_is_used(self, tmp_path: Path) -> None:
        with open_embedded(tmp_path / "<a> & 'b' é") as lease, Client(lease.endpoint) as client:
            client.run("CREATE TABLE kept (k UInt64) ENGINE = MergeTree ORDER BY k")
            client.run("INSERT INTO kept VALUES (1)")
            assert client.value("SELECT count() FROM kept") == 1

    def test_what_does_not_fit_into_memory_goes_into_the_folder(self, tmp_path: Path) -> None:
        with open_embedded(tmp_path) as lease, Client(lease.endpoint) as client:
            paths = {str(path) for (path,) in client.rows("SELECT path FROM system.disks")}
            assert all(Path(path).is_relative_to(tmp_path) for path in paths)
            small = {"max_bytes_before_external_sort": 1_000_000, "max_bytes_ratio_before_external_sort": 0}
            with client.stream("SELECT number FROM numbers(3000000) ORDER BY rand()", settings=small) as (_, batches):
                next(batches)
                assert sum(path.stat().st_size for path in (tmp_path / "data" / "tmp").rglob("*")) > 1_000_000

    def test_the_log_has_nothing_to_say_of_a_life_without_incident(self, tmp_path: Path) -> None:
        with open_embedded(tmp_path) as lease, Client(lease.endpoint) as client:
            client.run("CREATE TABLE kept (k UInt64) ENGINE = MergeTree ORDER BY k")
            client.run("INSERT INTO kept VALUES (1)")
            with pytest.raises(RaypipeError):
                client.run("SELECT throwIf(k) FROM kept")
        ended(lease.pid)
        assert (tmp_path / "server.log").read_text() == ""


class TestPackage:
    def test_a_missing_package_names_the_extra(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(leases, "PACKAGE", "no_such_package")
        with pytest.raises(ConfigError, match=r"found: no no_such_package(.|\n)*chdb-core>=26\.7"):
            open_embedded(tmp_path)

    @pytest.mark.parametrize("old", ["26.5.0", "25.8", "4.0.2"])
    def test_a_package_that_cannot_listen_names_the_version_that_can(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str
    ) -> None:
        monkeypatch.setattr(leases, "version", lambda _: old)
        with pytest.raises(ConfigError, match=f"needs chdb-core 26.7 or newer\n  found: chdb-core {old}"):
            open_embedded(tmp_path)
