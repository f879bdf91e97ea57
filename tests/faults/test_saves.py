"""Test that predictions saved by hand are saved once, whoever else saves them and wherever a process dies."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from raypipe.clickhouse import mutations
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.errors import Busy, DataError, RaypipeError, UsageError
from raypipe.loaders import save
from tests.conftest import _fresh_database
from tests.faults.oracle import own_tables

pytestmark = pytest.mark.fast

DAY = date(2026, 1, 31)
ROWS = 1000
SAVERS = 4
PATIENCE = 60
PREDICTIONS = pa.table(
    {
        "company_id": ["c"] * ROWS,
        "brand_id": ["b"] * ROWS,
        "entity_id": [f"u{number}" for number in range(ROWS)],
        "prediction_probability": [number / ROWS for number in range(ROWS)],
    }
)
# A process that saves the same predictions, and dies before or after its insert.
DIES = """
import os, signal, socket, sys
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from tests.faults.test_saves import saved
url, password_file, moment, host = sys.argv[1:]
if host:
    socket.gethostname = lambda: host

class Dying(Client):
    def insert(self, *given, **options):
        if moment == "after":
            super().insert(*given, **options)
        os.kill(os.getpid(), signal.SIGKILL)

saved(Dying(Endpoint.parse(url, password_file=password_file or None)))
"""


class Waiting(Client):
    """A client that looks, and waits for all the others before it inserts."""

    def __init__(self, endpoint: Endpoint, before_insert: threading.Barrier) -> None:
        super().__init__(endpoint)
        self._before_insert = before_insert

    def insert(self, *given: Any, **options: Any) -> None:
        self._before_insert.wait(PATIENCE)
        super().insert(*given, **options)


@pytest.fixture(scope="module")
def place(endpoint: Endpoint) -> Iterator[Endpoint]:
    """Return a database with all tables."""
    with _fresh_database(endpoint) as fresh:
        with Client(fresh) as client:
            migrate(client)
        yield fresh


@pytest.fixture
def client(place: Endpoint) -> Iterator[Client]:
    with Client(place) as connected:
        yield connected
        connected.run("TRUNCATE TABLE ml_model_predictions")


def saved(client: Client, **options: Any) -> str:
    return save.save_predictions(client, PREDICTIONS, "m1", "churn", DAY, **options)


def standing(client: Client) -> tuple[int, int]:
    """Return the rows and the distinct ids of the table."""
    ((rows, ids),) = client.rows("SELECT count(), uniqExact(prediction_id) FROM ml_model_predictions")
    return rows, ids


def at_once(clients: list[Client]) -> list[str | RaypipeError]:
    """Save with all clients at the same time, and return each one's batch or refusal."""
    start = threading.Barrier(len(clients))

    def attempt(client: Client) -> str | RaypipeError:
        start.wait(PATIENCE)
        try:
            return saved(client)
        except RaypipeError as error:
            return error

    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(attempt, clients))


def killed(place: Endpoint, moment: str, host: str = "") -> None:
    """Let a process die while it saves."""
    command = [sys.executable, "-c", DIES, str(place), place.password_file or "", moment, host]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == -9, done.stderr


@pytest.mark.parametrize("attempt", range(5))
def test_of_several_saves_at_once_a_single_one_writes(client: Client, attempt: int) -> None:
    results = at_once([Client(client.endpoint) for _ in range(SAVERS)])
    batches = [result for result in results if isinstance(result, str)]
    refusals = [result for result in results if not isinstance(result, str)]
    assert len(batches) == 1
    assert all(isinstance(refusal, Busy) or "already" in refusal.problem for refusal in refusals)
    assert all(refusal.next_step for refusal in refusals)
    assert standing(client) == (ROWS, ROWS)
    assert own_tables(client) == []


def test_a_save_beside_another_is_refused_with_the_next_step_and_then_reports_that_all_is_there(
    client: Client,
) -> None:
    # The first one waits before its insert until the second one has its answer.
    gate = threading.Barrier(2)
    with ThreadPoolExecutor(1) as pool, Waiting(client.endpoint, gate) as slow:
        first = pool.submit(saved, slow)
        while own_tables(client) == []:
            assert not first.done()
        with pytest.raises(Busy, match="saving these predictions") as refused:
            saved(client)
        gate.wait(PATIENCE)
        first.result(PATIENCE)
    assert "call save_predictions again" in str(refused.value.next_step)
    with pytest.raises(UsageError, match="already"):
        saved(client)
    assert standing(client) == (ROWS, ROWS)


def test_without_the_lock_and_the_removal_two_saves_double_the_rows(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(save, "_locked", lambda *_: nullcontext())
    monkeypatch.setattr(mutations, "delete", lambda *_: None)
    gate = threading.Barrier(2)
    at_once([Waiting(client.endpoint, gate) for _ in range(2)])
    assert standing(client) == (2 * ROWS, ROWS)


def test_after_a_crash_before_the_insert_the_next_call_saves(client: Client, place: Endpoint) -> None:
    killed(place, "before")
    assert standing(client) == (0, 0)
    assert len(own_tables(client)) == 1
    saved(client)
    assert standing(client) == (ROWS, ROWS)
    assert own_tables(client) == []


def test_after_a_crash_after_the_insert_the_next_call_reports_that_all_is_there(
    client: Client, place: Endpoint
) -> None:
    killed(place, "after")
    with pytest.raises(UsageError, match="already"):
        saved(client)
    assert standing(client) == (ROWS, ROWS)
    assert own_tables(client) == []


def test_after_a_crash_on_another_host_the_next_call_says_how_to_go_on(client: Client, place: Endpoint) -> None:
    killed(place, "before", "elsewhere")
    with pytest.raises(Busy, match="elsewhere") as refused:
        saved(client)
    assert "take_over=True" in str(refused.value.next_step)
    assert standing(client) == (0, 0)
    saved(client, take_over=True)
    assert standing(client) == (ROWS, ROWS)
    assert own_tables(client) == []


def test_a_table_that_merges_rows_away_keeps_nothing_of_the_batch(client: Client) -> None:
    ddl = client.value("SHOW CREATE TABLE ml_model_predictions")
    order = "(predicted_at, model_id, entity_id, prediction_id)"
    assert order in ddl
    client.run("RENAME TABLE ml_model_predictions TO kept")
    coarse = ddl.replace(order, "(company_id, brand_id)").replace("ENGINE = MergeTree", "ENGINE = ReplacingMergeTree")
    try:
        client.run(coarse)
        with pytest.raises(DataError, match="removed") as refused:
            saved(client)
        assert "1 rows" in str(refused.value.found)
        assert standing(client) == (0, 0)
        assert own_tables(client) == []
    finally:
        client.run("DROP TABLE IF EXISTS ml_model_predictions SYNC")
        client.run("RENAME TABLE kept TO ml_model_predictions")


def test_a_batch_with_another_number_of_rows_is_refused_and_stays(client: Client) -> None:
    saved(client)
    client.run("DELETE FROM ml_model_predictions WHERE entity_id = 'u7'")
    with pytest.raises(DataError, match="another number of rows") as refused:
        saved(client)
    assert "delete the rows" in str(refused.value.next_step)
    assert standing(client) == (ROWS - 1, ROWS - 1)
