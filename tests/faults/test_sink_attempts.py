"""Test attempts at a task, two programs at once, and errors on the way, with `raypipe.ClickHouseSink`.

Each fault has a negative control, which switches the guard off and sees the damage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest
from ray.data.datasource import WriteResult

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Lock, Owner
from raypipe.dataset import attempt, gate, journal, recovery
from raypipe.dataset.attempt import Receipt
from raypipe.dataset.sink import ClickHouseSink
from raypipe.errors import Busy, DataError, GateRefused, ServerError
from tests.faults.actors import awaited
from tests.faults.oracle import own_tables
from tests.faults.proxy import Proxy, Rule
from tests.faults.sinks import (
    INSERT,
    MOVE,
    ROWS,
    TARGET,
    assert_whole,
    blocks,
    expected,
    kill_at,
    parts,
    sink,
    status,
    write,
    writing,
    written,
)

# An attempt that dies has read some rows, all of them, or others.
DEAD = {"all rows": (0, 2000), "some rows": (0, 500), "other rows": (3000, 700)}


def started(target: Client) -> ClickHouseSink:
    own = sink(target)
    own.on_write_start(blocks()[0].schema)
    return own


def repeated(own: ClickHouseSink, dead: str) -> None:
    """Complete a run whose first task was repeated: only the receipt of the second attempt counts."""
    first, length = DEAD[dead]
    own.write(blocks(tasks=1)[0].slice(first, length).to_batches(), None)
    returned = [own.write([block], None) for block in blocks()]
    complete(own, returned)


def complete(own: ClickHouseSink, returned: list[Receipt]) -> None:
    try:
        own.on_write_complete(WriteResult(ROWS, 0, returned))
    except Exception as error:
        own.on_write_failed(error)
        raise


@pytest.mark.fast
@pytest.mark.parametrize("dead", DEAD)
def test_an_attempt_without_a_receipt_leaves_nothing(target: Client, dead: str) -> None:
    repeated(started(target), dead)
    assert_whole(target)


@pytest.mark.fast
def test_an_attempts_rows_stand_in_parts_of_one_file(target: Client) -> None:
    receipt = started(target).write([blocks()[0]], None)
    # A file per column would cost a wide table as many files per part, until a merge.
    small = "SELECT DISTINCT part_type FROM system.parts WHERE active AND database = currentDatabase() AND table = "
    settings = "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = "
    assert target.rows(f"{small}'{receipt.table}'") == [("Compact",)]
    assert f"min_bytes_for_wide_part = {1 << 40}" in target.value(f"{settings}'{receipt.table}'")


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the attempts at the first task one table."""
    create, number = attempt.Staging.create, count()
    monkeypatch.setattr(attempt.secrets, "token_hex", lambda size: str(max(1, next(number))))
    monkeypatch.setattr(
        attempt.Staging, "create", lambda *given: create(*given).replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")
    )


@pytest.mark.fast
def test_without_a_table_of_its_own_an_attempt_spoils_the_run_and_the_gate_refuses(
    target: Client, shared: None
) -> None:
    with pytest.raises(GateRefused, match="the staged rows are not the rows of the program"):
        repeated(started(target), "some rows")
    assert not written(target)
    assert own_tables(target) == []


def test_without_the_gate_either_its_rows_are_published_twice(
    target: Client, shared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "check", lambda *given: None)
    repeated(started(target), "some rows")
    assert sum(written(target).values()) == ROWS + 500


def test_a_receipt_that_ray_has_lost_is_refused(target: Client) -> None:
    own = started(target)
    returned = [own.write([block], None) for block in blocks()]
    with pytest.raises(GateRefused, match="the staged rows are not the rows of the program"):
        complete(own, returned[1:])
    assert not written(target)


@pytest.mark.fast
def test_an_insert_whose_answer_is_lost_is_applied_once(target: Client, proxy: Proxy, impatient: None) -> None:
    rule = proxy.add(Rule(INSERT, "cut_after"))
    write(sink(target, through=proxy))
    assert rule.hit.is_set()
    assert_whole(target)


def test_without_tokens_an_insert_whose_answer_is_lost_is_refused_by_the_gate(
    target: Client, proxy: Proxy, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "REMEMBERED_INSERTS", 0)
    proxy.add(Rule(INSERT, "cut_after"))
    with pytest.raises(GateRefused, match="the staged rows are not the rows of the program"):
        write(sink(target, through=proxy))
    assert not written(target)


# Two programs.


@pytest.mark.fast
def test_of_two_programs_that_write_one_run_at_once_one_is_refused(target: Client, proxy: Proxy) -> None:
    held = proxy.add(Rule(INSERT, "hold"))
    with writing(replace(target.endpoint, url=proxy.url)) as first:
        awaited(held.hit.is_set, "the first program's insert")
        with pytest.raises(Busy, match="Another process writes the run"):
            write(sink(target))
        held.released.set()
        first.join()
        assert first.exitcode == 0
    assert_whole(target)


def test_without_lock_and_ledger_two_programs_add_the_rows_twice(
    target: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlocked(client: Client, name: str, owner: Owner, **given: object) -> Lock:
        return Lock(name, next(epochs), owner)

    epochs = count(1)
    monkeypatch.setattr(lock, "acquire", unlocked)
    for guard in ((lock, "require"), (recovery, "recover"), (recovery, "drop_tables"), (journal, "require_counted")):
        monkeypatch.setattr(*guard, lambda *given: None)
    first = started(target)
    returned = [first.write([block], None) for block in blocks()]
    write(sink(target))
    complete(first, returned)
    assert written(target) == expected(2)


def test_two_runs_into_one_table_at_once_are_both_there(target: Client, proxy: Proxy) -> None:
    held = proxy.add(Rule(INSERT, "hold"))
    with writing(replace(target.endpoint, url=proxy.url)) as first:
        awaited(held.hit.is_set, "the first program's insert")
        write(sink(target, "another"))
        held.released.set()
        first.join()
        assert first.exitcode == 0
    assert_whole(target, times=2)


@pytest.mark.parametrize("request_", [INSERT, MOVE], ids=["before an insert", "before a move"])
def test_a_program_whose_run_is_taken_over_adds_nothing_more(target: Client, proxy: Proxy, request_: bytes) -> None:
    held = proxy.add(Rule(request_, "hold"))
    with writing(replace(target.endpoint, url=proxy.url)) as first:
        awaited(held.hit.is_set, "the first program's request")
        write(sink(target, take_over=True))
        held.released.set()
        first.join()
        assert first.exitcode == 1
    assert_whole(target)


# Errors.


@pytest.mark.fast
def test_a_move_whose_answer_is_lost_is_finished(target: Client, proxy: Proxy) -> None:
    proxy.add(Rule(MOVE, "cut_after"))
    with pytest.raises(ServerError):
        write(sink(target, through=proxy))
    assert_whole(target)
    assert status(target) == journal.PUBLISHED


def test_an_error_before_the_first_move_leaves_nothing(target: Client, proxy: Proxy) -> None:
    proxy.add(Rule(MOVE, "cut"))
    with pytest.raises(ServerError):
        write(sink(target, through=proxy))
    assert not written(target)
    assert own_tables(target) == []
    assert status(target) == journal.FAILED
    write(sink(target))
    assert_whole(target)


def test_a_commit_whose_answer_is_lost_counts(
    target: Client, proxy: Proxy, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.add(Rule(b"INSERT INTO `raypipe_writes`", "cut_after", skip=2, once=False))
    with pytest.raises(ServerError):
        write(sink(target, through=proxy))
    assert written(target) == expected()
    assert status(target) == journal.PUBLISHED


@pytest.mark.fast
def test_a_write_of_a_published_run_changes_nothing_and_says_so(
    target: Client, caplog: pytest.LogCaptureFixture
) -> None:
    assert not sink(target).is_published
    write(sink(target))
    assert sink(target).is_published
    before = parts(target, TARGET)
    write(sink(target), [block.slice(0, 10) for block in blocks()])
    assert "this write changed nothing" in caplog.text
    assert parts(target, TARGET) == before
    assert_whole(target)


def test_a_run_whose_twin_was_dropped_in_the_middle_is_refused(
    target: Client, proxy: Proxy, drop: Callable[[], None]
) -> None:
    rule = proxy.add(Rule(MOVE, "hold_answer"))
    with writing(replace(target.endpoint, url=proxy.url)) as process:
        kill_at(process, rule)
    drop()
    with pytest.raises(DataError, match="the rows that were not there yet are gone"):
        write(sink(target))
    assert sum(written(target).values()) == ROWS // 2


@pytest.fixture
def drop(target: Client) -> Callable[[], None]:
    """Drop the twin of the write that has begun."""

    def dropped() -> None:
        (twin,) = [name for name in own_tables(target) if name.startswith("raypipe_twin_")]
        target.run(f"DROP TABLE {twin} SYNC")

    return dropped
