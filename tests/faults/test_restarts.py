"""Test publications around which the server is killed and started again, on the engine of the tests' environment.

`make test-restarts` runs them on the oldest version that raypipe supports, on those between, and on the newest.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from raypipe.clickhouse import retry, swaps, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.version import parse_version
from raypipe.errors import RaypipeError
from raypipe.score import direct, strays
from raypipe.score.manifest import Manifest
from tests.faults.few import SWAP, Died, Night, few_readers
from tests.faults.nights import TARGETS
from tests.faults.oracle import own_tables
from tests.faults.servers import Embedded
from tests.versions.bridged import Bridged

pytestmark = pytest.mark.restarts

ENGINE = "RAYPIPE_TEST_ENGINE"
# Milliseconds between the moment when a swap is sent and the kill; a swap takes a few.
DELAYS = (0, 1, 2, 4, 8, 16)
# From here on, a server that restarts does not bring back what a finished swap has replaced.
CLEAN = (26, 6)
PARTS = (1, 4)


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


@pytest.fixture(params=PARTS, ids=lambda parts: f"{parts} parts")
def night(
    request: pytest.FixtureRequest, server: Embedded | Bridged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Night]:
    """Provide nights on the server, whose runs have one part in a target, or several."""
    plain = twins.fill

    def fill(client: Client, twin: str, columns: list[str], sql: str, *arguments: Any) -> None:
        for part in range(request.param):
            some = f"SELECT * FROM (\n{sql}\n) WHERE cityHash64(prediction_id) % {request.param} = {part}"
            plain(client, twin, columns, some, *arguments)

    monkeypatch.setattr(twins, "fill", fill)
    if request.param > 1:
        # The twin of a direct run has a part per chunk, and few readers are one chunk.
        monkeypatch.setattr(direct, "is_possible", lambda *_: False)
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.01)
    with few_readers(server.start(), tmp_path) as made:
        # Twins and copies inherit the setting, so that no merge makes one part of several.
        for table in TARGETS:
            made.client.run(f"ALTER TABLE {table} MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1")
        yield made


def restart(server: Embedded | Bridged) -> None:
    server.kill()
    server.start()


def parts_of(night: Night) -> int:
    """Return the number of parts that the day has in a target."""
    return int(
        night.client.value(
            "SELECT count() FROM system.parts WHERE active AND rows > 0 AND database = currentDatabase()"
            " AND table = 'ml_model_predictions'"
        )
    )


def killed_behind_the_swap(
    night: Night, server: Embedded | Bridged, settle: Callable[..., object]
) -> tuple[str, Manifest]:
    """Return a committed run, and a later run whose process and server died when all its targets were swapped."""
    first, second = night.score(), night.plan()

    def then_kill(client: Client, table: str, partition: str) -> bool:
        settle(client, table, partition)
        if table != TARGETS[-1]:
            return True
        server.kill()
        raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(swaps, "settle", then_kill)
        patch.setattr(retry, "ATTEMPTS", 1)
        with suppress(RaypipeError, Died):
            night.run(second)
    server.start()
    return first, second


def test_a_restart_brings_no_replaced_row_back(
    request: pytest.FixtureRequest, night: Night, server: Embedded | Bridged
) -> None:
    first, second = killed_behind_the_swap(night, server, swaps.settle)
    count = second.source_rows
    assert night.versions()[TARGETS[-1]] == {second.run_id: count}
    assert night.seen() == {first: count}
    assert parts_of(night) == request.node.callspec.params["night"]
    night.run(second, take_over=True)
    for _ in range(2):
        night.assert_exact(second)
        assert strays.find(night.client) == []
        assert own_tables(night.client) == []
        restart(server)


def test_without_settling_an_older_server_brings_replaced_rows_back_which_no_view_shows(
    night: Night, server: Embedded | Bridged
) -> None:
    first, second = killed_behind_the_swap(night, server, lambda *_: True)
    count = second.source_rows
    is_back = parse_version(night.client.version) < CLEAN
    assert night.versions()[TARGETS[-1]] == {second.run_id: count, **({first: count} if is_back else {})}
    assert night.seen() == {first: count}
    night.run(second, take_over=True)
    night.assert_exact(second)


@pytest.mark.parametrize("delay", DELAYS)
def test_a_kill_during_a_swap_shows_one_whole_run_and_a_resume_publishes_the_other_once(
    night: Night, server: Embedded | Bridged, delay: int
) -> None:
    first, second = night.score(), night.plan()
    plain = Client.run

    def kill(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        if not SWAP.match(sql):
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
