"""Test publications around which the server is killed and started again, on the engine of the tests' environment.

`make test-restarts` runs them on the oldest version that raypipe supports, on those between, and on the newest.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from raypipe.clickhouse import retry, swaps
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.version import parse_version
from raypipe.errors import RaypipeError
from raypipe.score import publish, strays
from tests.faults.few import SWAP, TARGETS, Died, Night, few_readers
from tests.faults.oracle import own_tables
from tests.faults.servers import Embedded
from tests.versions.bridged import Bridged

pytestmark = pytest.mark.restarts

ENGINE = "RAYPIPE_TEST_ENGINE"
# Milliseconds between the moment when a swap is sent and the kill; a swap takes a few.
DELAYS = (0, 1, 2, 4, 8, 16)
# From here on, a server that restarts does not bring back what a finished swap has replaced.
CLEAN = (26, 6)
MANY_PARTS = {"max_insert_block_size": 20, "min_insert_block_size_rows": 20, "max_insert_threads": 1}
PARTS = {"one part": publish.FILLING, "many parts": MANY_PARTS}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Embedded | Bridged]:
    """Provide a server of the test's own, which it may kill."""
    folder = tmp_path / "server"
    folder.mkdir()
    python = os.environ.get(ENGINE)
    own = Bridged(python, folder) if python else Embedded(folder)
    try:
        yield own
    finally:
        own.stop()


@pytest.fixture(params=PARTS)
def night(
    request: pytest.FixtureRequest, server: Embedded | Bridged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Night]:
    """Provide nights on the server, whose targets have one part per run, or many."""
    monkeypatch.setattr(publish, "FILLING", PARTS[request.param])
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.01)
    with few_readers(server.start(), tmp_path) as made:
        for table in TARGETS:
            made.client.run(f"SYSTEM STOP MERGES {table}")
        yield made


def restart(server: Embedded | Bridged) -> None:
    server.kill()
    server.start()


def has_many_parts(night: Night) -> bool:
    parts = "SELECT count() AS parts FROM system.parts WHERE active AND database = currentDatabase()"
    sql = f"SELECT max(parts) > 1 FROM ({parts} AND table = 'ml_model_predictions' GROUP BY partition_id)"
    return bool(night.client.value(sql))


def test_a_restart_after_a_rerun_brings_no_replaced_row_back(night: Night, server: Embedded | Bridged) -> None:
    runs = [night.score() for _ in range(3)]
    assert has_many_parts(night) is (publish.FILLING is MANY_PARTS)
    restart(server)
    night.assert_exact(runs[-1])
    assert strays.find(night.client) == []
    assert own_tables(night.client) == []


def test_without_settling_an_older_server_brings_replaced_rows_back_which_no_view_shows_and_the_doctor_removes(
    night: Night, server: Embedded | Bridged, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(swaps, "settle", lambda *_: True)
        first, second = night.score(), night.score()
    restart(server)
    count = night.find(second).source_rows
    assert night.seen() == {second: count}
    is_back = parse_version(night.client.version) < CLEAN
    rows = {second: count, **({first: count} if is_back else {})}
    assert [night.versions()[table] for table in TARGETS] == [rows, rows]
    findings = strays.find(night.client)
    assert {(item.table, item.rows) for item in findings} == (
        {(table, count) for table in TARGETS} if is_back else set()
    )
    assert strays.remove(night.client, findings) == findings
    night.assert_exact(second)
    assert strays.find(night.client) == []


@pytest.mark.parametrize("delay", DELAYS)
def test_a_kill_during_a_swap_shows_one_whole_run_and_a_resume_publishes_the_other_once(
    night: Night, server: Embedded | Bridged, delay: int
) -> None:
    first, second = night.score(), night.plan()
    plain = Client.run

    def kill(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        if not SWAP.match(sql) or "raypipe_previous" in sql:
            plain(self, sql, *arguments, **options)
            return
        swapping = threading.Thread(target=swallow, args=(plain, self, sql, *arguments), kwargs=options)
        swapping.start()
        threading.Event().wait(delay / 1000)
        server.kill()
        swapping.join()
        raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "run", kill)
        patch.setattr(retry, "ATTEMPTS", 1)
        with suppress(RaypipeError, Died):
            night.run(second)
    server.start()
    count = night.find(first).source_rows
    assert night.seen() == {first: count}
    night.run(second, take_over=True)
    night.assert_exact(second)
    restart(server)
    night.assert_exact(second)
    assert strays.find(night.client) == []


def swallow(act: Any, *arguments: Any, **options: Any) -> None:
    """Act, whatever becomes of it: the server is killed meanwhile."""
    with suppress(Exception):
        act(*arguments, **options)
