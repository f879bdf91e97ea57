"""Test readers that query in a loop during a publication."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from tests.conftest import FittedPublisher
from tests.faults.nights import (
    DAY,
    VIEW,
    Night,
    add,
    key,
    older,
    own_night,
    saved_by_hand,
)

pytestmark = pytest.mark.usefixtures("impatient")


RAW = "ml_model_predictions"


class Reader(threading.Thread):
    """Read the day's rows and runs in one query, in a loop."""

    def __init__(self, endpoint: Endpoint, table: str) -> None:
        super().__init__(daemon=True)
        self._endpoint = endpoint
        self._sql = (
            f"SELECT count(), arraySort(groupUniqArray(batch_id)) FROM {table}"
            " WHERE prediction_type = 'churn' AND prediction_date = {day:Date}"
        )
        self._changed = threading.Condition()
        self._reads = 0
        self._ended = False
        self.seen: list[tuple[int, tuple[str, ...]]] = []

    def run(self) -> None:
        with Client(self._endpoint) as client:
            while not self._ended:
                rows, batches = client.rows(self._sql, {"day": DAY})[0]
                with self._changed:
                    self._reads += 1
                    if self.seen[-1:] != [(rows, tuple(batches))]:
                        self.seen.append((rows, tuple(batches)))
                    self._changed.notify_all()

    def look(self) -> None:
        """Wait for a read that begins after this call."""
        with self._changed:
            wanted = self._reads + 2
            assert self._changed.wait_for(lambda: self._reads >= wanted, timeout=60)

    def end(self) -> None:
        self._ended = True
        self.join(60)
        assert not self.is_alive()


@contextmanager
def watched(night: Night, table: str, patch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """Read after every statement and every insert of the run."""
    reader = Reader(night.publisher.endpoint, table)
    run, insert = Client.run, Client.insert

    def run_and_look(self: Client, *arguments: Any, **options: Any) -> None:
        run(self, *arguments, **options)
        reader.look()

    def insert_and_look(self: Client, *arguments: Any, **options: Any) -> None:
        insert(self, *arguments, **options)
        reader.look()

    reader.start()
    try:
        reader.look()
        with patch.context() as patched:
            patched.setattr(Client, "run", run_and_look)
            patched.setattr(Client, "insert", insert_and_look)
            yield reader
    finally:
        reader.end()


def read_through_a_rerun(
    night: Night, table: str, patch: pytest.MonkeyPatch, beside: Callable[[Night], None] = lambda _: None
) -> list[tuple[int, tuple[str, ...]]]:
    """Return a reader's views during the night's second run over other users, the two allowed states first."""
    first = older(night.plan())
    night.run(first)
    beside(night)
    for suffix in "xyz":
        add(night, key(night, "first"), f"concat(user_id, '{suffix}') AS user_id")
    second = night.plan()
    assert second.source_rows == first.source_rows + 3
    with watched(night, table, patch) as reader:
        night.run(second)
    allowed = [(first.source_rows, (first.run_id,)), (second.source_rows, (second.run_id,))]
    assert reader.seen[0] == allowed[0]
    assert reader.seen[-1] == allowed[1]
    return [state for state in reader.seen if state not in allowed]


def test_a_reader_of_a_replaced_table_sees_the_old_run_or_the_new(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_through_a_rerun(night, RAW, monkeypatch) == []


@pytest.mark.parametrize("schema", ["raypipe", "publisher"])
def test_a_reader_of_the_view_sees_the_old_run_or_the_new(
    fitted_publisher: FittedPublisher, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_night(fitted_publisher, schema) as night:
        assert read_through_a_rerun(night, VIEW, monkeypatch) == []


def test_a_reader_of_the_view_sees_the_old_run_or_the_new_where_others_have_rows_in_the_partition(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_through_a_rerun(night, VIEW, monkeypatch, saved_by_hand) == []


def test_without_the_view_a_reader_of_monthly_partitions_sees_both_runs_at_once(
    monthly: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = read_through_a_rerun(monthly, RAW, monkeypatch)
    assert [len(batches) for _, batches in seen] == [2]


def test_without_a_swap_a_reader_sees_an_empty_table(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Client.run

    def run(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        swap = re.match(r"ALTER TABLE (\S+) REPLACE PARTITION ID ('\w+') FROM (\S+)", sql)
        if swap is None:
            real(self, sql, *arguments, **options)
            return
        self.run(f"ALTER TABLE {swap[1]} DROP PARTITION ID {swap[2]}")
        self.run(f"INSERT INTO {swap[1]} SELECT * FROM {swap[3]}")

    monkeypatch.setattr(Client, "run", run)
    assert (0, ()) in read_through_a_rerun(night, RAW, monkeypatch)
