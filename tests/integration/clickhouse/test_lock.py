"""Test the lock of a pipeline: it has one owner at a time, and a refusal names the owner."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from threading import Barrier
from typing import Any

import pytest

from raypipe.clickhouse import lock, lock_ledger, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.lock import Lock, Owner
from raypipe.errors import Busy, Unreachable, UsageError
from tests.faults.few import before_sending


@pytest.fixture
def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_first_owner_holds_the_lock_until_it_gives_it_back(client: Client) -> None:
    mine = Owner.here("churn_1")
    assert lock.holder(client, "churn") is None
    lock.acquire(client, "churn", mine)
    assert lock.holder(client, "churn") == mine
    lock.release(client, "churn", mine)
    assert lock.holder(client, "churn") is None


@pytest.mark.versions
def test_a_second_run_is_told_who_holds_the_lock(client: Client) -> None:
    lock.acquire(client, "churn", Owner.here("churn_1"))
    with pytest.raises(Busy, match="churn_1") as refused:
        lock.acquire(client, "churn", Owner.here("churn_2"))
    assert f"process {os.getpid()}" in str(refused.value)
    # A run without a row cannot be resumed.
    assert "raypipe resume" not in str(refused.value)
    assert "gone" not in str(refused.value)


def test_pipelines_have_locks_of_their_own(client: Client) -> None:
    # The name of a lock of `churn_e5` begins as a lock of `churn`.
    for pipeline in ("churn_e5", "churn", "clicks"):
        lock.acquire(client, pipeline, Owner.here(f"{pipeline}_1"))
    for pipeline in ("churn_e5", "churn", "clicks"):
        (held,) = lock.standing(client, pipeline)
        assert (held.epoch, held.owner.run_id) == (1, f"{pipeline}_1")


def test_the_same_run_is_refused_while_its_process_lives(client: Client) -> None:
    lock.acquire(client, "churn", Owner.here("churn_1"))
    with pytest.raises(Busy):
        lock.acquire(client, "churn", Owner.here("churn_1"))


def test_a_resume_takes_the_lock_of_its_own_dead_process(client: Client, gone: int) -> None:
    lock.acquire(client, "churn", replace(Owner.here("churn_1"), pid=gone))
    mine = Owner.here("churn_1")
    lock.acquire(client, "churn", mine)
    assert lock.holder(client, "churn") == mine


def test_another_run_does_not_take_the_lock_of_a_dead_process_by_itself(client: Client, gone: int) -> None:
    lock.acquire(client, "churn", replace(Owner.here("churn_1"), pid=gone))
    with pytest.raises(Busy, match="this process is gone") as refused:
        lock.acquire(client, "churn", Owner.here("churn_2"))
    assert "--take-over" in str(refused.value)


def test_the_lock_of_another_host_is_never_taken_for_dead(client: Client, gone: int) -> None:
    lock.acquire(client, "churn", replace(Owner.here("churn_1"), pid=gone, host="elsewhere"))
    with pytest.raises(Busy, match="elsewhere"):
        lock.acquire(client, "churn", Owner.here("churn_1"))


def test_taking_over_is_explicit_and_the_former_owner_may_not_go_on(client: Client) -> None:
    former = lock.acquire(client, "churn", Owner.here("churn_1"))
    mine = lock.acquire(client, "churn", Owner.here("churn_2"), take_over=True)
    assert mine.epoch > former.epoch
    assert lock.standing(client, "churn") == [mine]
    lock.require(client, mine)
    with pytest.raises(Busy, match="took over") as refused:
        lock.require(client, former)
    assert "run churn_2, process" in str(refused.value)
    # Its partitions may be swapped in already.
    assert "this run is not committed" in str(refused.value)


def test_a_former_owner_may_not_go_on_as_soon_as_a_higher_lock_stands(client: Client) -> None:
    former = Lock("churn", 9, Owner.here("churn_1"))
    # Whoever takes over drops the lower locks behind this statement. As text, 10 comes before 9.
    higher = Lock("churn", 10, Owner.here("churn_2"))
    for each in (former, higher):
        client.run(client.topology.lock(each.table, json.dumps(asdict(each.owner))))
    assert lock.standing(client, "churn") == [former, higher]
    with pytest.raises(Busy, match="took over"):
        lock.require(client, former)


def test_a_lock_that_is_gone_is_not_one_to_go_on_with(client: Client) -> None:
    with pytest.raises(Busy, match="no lock"):
        lock.require(client, Lock("churn", 1, Owner.here("churn_1")))


def test_an_owner_that_two_others_overtake_before_its_lock_is_made_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock.acquire(client, "churn", Owner.here("churn_1"))
    higher: list[Lock] = []

    def overtake() -> None:
        # The first takes the number that the slow owner has chosen, and the second drops that lock.
        for name in ("churn_2", "churn_3"):
            higher.append(lock.acquire(client, "churn", Owner.here(name), take_over=True))

    before_sending(monkeypatch, re.compile("CREATE TABLE"), overtake)
    with pytest.raises(Busy, match="churn_3"):
        lock.acquire(client, "churn", Owner.here("churn_4"), take_over=True)
    assert lock.standing(client, "churn") == higher[1:]


def test_whoever_takes_the_lock_drops_the_twins_of_its_own_and_of_lower_epochs(client: Client) -> None:
    for pipeline, epoch in (("churn", 1), ("churn", 2), ("churn", 3), ("my_churn", 1)):
        twin = twins.named(f"t_{pipeline}_1", epoch)
        client.run(f"CREATE TABLE {twin} (x UInt8) ENGINE = MergeTree ORDER BY x COMMENT '{pipeline}'")
    client.run(client.topology.lock(Lock("churn", 1, Owner.here("churn_1")).table, ""))
    assert lock.acquire(client, "churn", Owner.here("churn_2"), take_over=True).epoch == 2
    left = client.rows("SHOW TABLES LIKE 'raypipe_twin_%'")
    assert left == [("raypipe_twin_t_churn_1_e3",), ("raypipe_twin_t_my_churn_1_e1",)]


def test_a_lock_whose_answer_was_lost_is_held(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    send = Client.run

    def lost(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        send(self, sql, *arguments, **options)
        if sql.startswith("CREATE TABLE"):
            raise Unreachable("the answer was lost")

    monkeypatch.setattr(Client, "run", lost)
    mine = lock.acquire(client, "churn", Owner.here("churn_1"))
    assert lock.standing(client, "churn") == [mine]


def test_without_an_answer_and_a_lock_the_error_comes_out(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        raise Unreachable("nothing was sent")

    monkeypatch.setattr(Client, "run", fails)
    with pytest.raises(Unreachable, match="nothing was sent"):
        lock.acquire(client, "churn", Owner.here("churn_1"))


def test_a_former_owner_does_not_give_back_the_lock_of_the_next(client: Client) -> None:
    former, mine = Owner.here("churn_1"), Owner.here("churn_2")
    lock.acquire(client, "churn", former)
    lock.acquire(client, "churn", mine, take_over=True)
    lock.release(client, "churn", former)
    assert lock.holder(client, "churn") == mine


def test_an_owner_with_quotes_in_its_name_comes_back_as_it_was(client: Client) -> None:
    mine = replace(Owner.here("churn_1"), host='it\'s \\ "here"\n')
    lock.acquire(client, "churn", mine)
    assert lock.holder(client, "churn") == mine


def test_a_pipeline_that_is_no_name_is_refused(client: Client) -> None:
    with pytest.raises(UsageError, match="This name cannot be used"):
        lock.acquire(client, "churn (x UInt8) ENGINE = Null; --", Owner.here("x"))


@pytest.mark.parametrize("round_number", range(5))
def test_of_those_who_ask_at_once_exactly_one_gets_the_lock(database: Endpoint, round_number: int) -> None:
    racers = 6
    start = Barrier(racers)

    def race(number: int) -> Owner | None:
        owner = Owner.here(f"run_{round_number}_{number}")
        with Client(database) as own:
            start.wait()
            try:
                lock.acquire(own, "churn", owner)
            except Busy:
                return None
        return owner

    with ThreadPoolExecutor(racers) as pool:
        winners = [owner for owner in pool.map(race, range(racers)) if owner is not None]
    assert len(winners) == 1
    with Client(database) as client:
        assert lock.holder(client, "churn") == winners[0]


def test_a_lock_of_a_promotion_is_no_run_that_could_be_resumed(client: Client) -> None:
    with lock.held(client, "churn"), pytest.raises(Busy, match="versions are being changed") as refused:
        lock.acquire(client, "churn", Owner.here("churn_1"))
    assert "raypipe resume" not in str(refused.value)
    assert str(refused.value.found).startswith(f"process {os.getpid()} on ")
    assert lock.holder(client, "churn") is None


def test_a_lock_that_was_released_in_the_meantime_is_no_run_at_work(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = lock.acquire(client, "churn", Owner.here("churn_1"))
    standing = lock.standing
    monkeypatch.setattr(lock, "standing", lambda *_: [])
    # The lock appears after the first look, and is gone before the second.
    monkeypatch.setattr(lock_ledger, "last_epoch", lambda *_: other.epoch - 1)
    with pytest.raises(Busy, match="was locked a moment ago") as refused:
        lock.acquire(client, "churn", Owner.here("churn_2"))
    assert "at work" not in str(refused.value)
    assert standing(client, "churn") == [other]
