"""Test that nothing is lost, doubled or mixed when a replica or Keeper goes away or lags; each replica is judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from raypipe.clickhouse import cluster_checks, lock, nodes, replication
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Owner
from raypipe.clickhouse.schema.migrate import migrate_at
from raypipe.errors import Busy, RaypipeError, Unreachable
from raypipe.score import publish, run, runs
from tests.cluster.conftest import KEEPER, Replicas
from tests.cluster.nights import TwoNights, failed, publisher_on, status
from tests.faults.nights import TARGETS, after_first_slice, before_call, before_reading

# Seconds within which a command says which node does not answer.
PROMPT = 20.0
Patch = Callable[[pytest.MonkeyPatch, Callable[[], object]], None]


@pytest.fixture(scope="module")
def publisher(replicas: Replicas, tmp_path_factory: pytest.TempPathFactory) -> TwoNights:
    return publisher_on(replicas, tmp_path_factory.mktemp("nights"))


@pytest.fixture
def nights(publisher: TwoNights) -> Iterator[TwoNights]:
    publisher.empty()
    yield publisher
    for number in (1, 2):
        with Client(publisher.endpoint(number)) as client:
            client.run("SYSTEM START FETCHES")


def name_of(nights: TwoNights, number: int) -> str:
    with Client(nights.endpoint(number)) as client:
        return next(node.name for node in nodes.listed(client) if node.is_here)


def before_committing(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    before_call(patch, run, "_commit", act)


def between_swaps(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    before_call(patch, publish, "swap", act, call=2)


def behind_the_commit(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    before_call(patch, run, "_tidy", act)


MOMENTS = [before_reading, after_first_slice, between_swaps, before_committing, behind_the_commit]


def test_a_replica_that_is_down_is_named_before_anything_is_written(nights: TwoNights) -> None:
    name = name_of(nights, 2)
    nights.replicas.kill(2)
    try:
        with nights.through(1) as night:
            started = time.monotonic()
            with pytest.raises(Unreachable) as refused:
                cluster_checks.require_usable(night.client)
            assert time.monotonic() - started < PROMPT
            assert name in refused.value.problem
    finally:
        nights.replicas.restart(2)


@pytest.mark.parametrize("moment", MOMENTS)
def test_with_a_quorum_of_one_a_run_goes_on_without_the_other_replica(
    nights: TwoNights, monkeypatch: pytest.MonkeyPatch, moment: Patch
) -> None:
    with nights.through(1, quorum=1) as night:
        manifest = night.plan("score.slice_rows=64")
        moment(monkeypatch, lambda: nights.replicas.kill(2))
        try:
            night.run(manifest)
            night.assert_exact(manifest)
        finally:
            nights.replicas.restart(2)
    nights.assert_exact(manifest.run_id)


@pytest.mark.parametrize("moment", [before_reading, after_first_slice])
def test_with_a_quorum_of_both_a_run_fails_with_the_replica_s_name_and_is_resumed(
    nights: TwoNights, monkeypatch: pytest.MonkeyPatch, moment: Patch
) -> None:
    name = name_of(nights, 2)
    with nights.through(1) as night:
        first, second = night.score(), night.plan("score.slice_rows=64")
        moment(monkeypatch, lambda: nights.replicas.kill(2))
        try:
            assert name in failed(night, second)
            assert list(night.seen()) == [first]
        finally:
            nights.replicas.restart(2)
        monkeypatch.undo()
        nights.resumed(1, second.run_id)
    nights.assert_exact(second.run_id)


def test_a_commit_without_its_quorum_is_whole_wherever_it_is_seen(
    nights: TwoNights, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nights.through(1) as night:
        first, second = night.score(), night.plan()
        before_committing(monkeypatch, lambda: nights.replicas.kill(2))
        try:
            assert "does not answer" in failed(night, second)
            # Until Keeper has noticed the death, the row is written and its quorum unknown.
            is_committed = status(night, second) == runs.PUBLISHED
            assert list(night.seen()) == [second.run_id if is_committed else first]
        finally:
            nights.replicas.restart(2)
        monkeypatch.undo()
        if is_committed:
            second = night.plan()
            night.run(second)
        else:
            nights.resumed(1, second.run_id)
    nights.assert_exact(second.run_id)


@pytest.mark.parametrize("moment", [after_first_slice, between_swaps])
def test_a_run_whose_own_replica_dies_is_resumed_through_the_other(
    nights: TwoNights, monkeypatch: pytest.MonkeyPatch, moment: Patch
) -> None:
    with nights.through(1) as night:
        first, second = night.score(), night.plan("score.slice_rows=64")
        moment(monkeypatch, lambda: nights.replicas.kill(1))
        started = time.monotonic()
        assert "No ClickHouse answers" in failed(night, second)
        assert time.monotonic() - started < 4 * PROMPT
    monkeypatch.undo()
    try:
        assert list(nights.seen(2)) == [first]
        with nights.through(2, quorum=1) as other, pytest.raises(Busy, match="may be on"):
            lock.acquire(other.client, "churn", Owner.here(second.run_id))
        nights.resumed(2, second.run_id, quorum=1)
        assert list(nights.seen(2)) == [second.run_id]
    finally:
        nights.replicas.restart(1)
    nights.assert_exact(second.run_id)


def test_a_run_whose_own_replica_dies_behind_its_commit_is_seen_on_the_other(
    nights: TwoNights, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nights.through(1) as night:
        night.score()
        second = night.plan()
        behind_the_commit(monkeypatch, lambda: nights.replicas.kill(1))
        night.run(second)
    monkeypatch.undo()
    try:
        assert list(nights.seen(2)) == [second.run_id]
        with nights.through(2, quorum=1) as other:
            third = other.plan()
            other.run(third, take_over=True)
        assert list(nights.seen(2)) == [third.run_id]
    finally:
        nights.replicas.restart(1)
    nights.assert_exact(third.run_id)


@pytest.mark.parametrize("moment", [after_first_slice, between_swaps, before_committing])
def test_a_run_without_keeper_fails_and_is_resumed(
    nights: TwoNights, monkeypatch: pytest.MonkeyPatch, moment: Patch
) -> None:
    with nights.through(1) as night:
        first, second = night.score(), night.plan("score.slice_rows=64")
        moment(monkeypatch, lambda: nights.replicas.kill(KEEPER))
        try:
            assert "Keeper" in failed(night, second)
            assert list(night.seen()) == list(nights.seen(2)) == [first]
        finally:
            nights.replicas.restart(KEEPER)
        monkeypatch.undo()
        nights.resumed(1, second.run_id)
    nights.assert_exact(second.run_id)


def test_without_keeper_nothing_begins(nights: TwoNights) -> None:
    nights.replicas.kill(KEEPER)
    try:
        with nights.through(1) as night, pytest.raises(RaypipeError, match=r"The table \w+ is read-only on .*:\d+"):
            cluster_checks.require_usable(night.client)
        with pytest.raises(RaypipeError, match="is read-only on"):
            migrate_at(nights.endpoint(1))
    finally:
        nights.replicas.restart(KEEPER)


def test_an_insert_waits_for_a_replica_that_does_not_fetch(nights: TwoNights) -> None:
    with nights.through(1) as night, nights.through(2) as other:
        first, second = night.score(), night.plan()
        other.client.run("SYSTEM STOP FETCHES")
        failed(night, second)
        assert list(night.seen()) == list(other.seen()) == [first]
        other.client.run("SYSTEM START FETCHES")
        nights.resumed(2, second.run_id)
    nights.assert_exact(second.run_id)


def lag(client: Client) -> None:
    """Let a replica's targets stay as they are; its copy of the ledger goes on."""
    for table in TARGETS:
        client.run(f"SYSTEM STOP REPLICATION QUEUES {table}")


def follow(client: Client) -> None:
    for table in TARGETS:
        client.run(f"SYSTEM START REPLICATION QUEUES {table}")


def test_a_run_waits_for_a_replica_that_lags_then_names_it(nights: TwoNights) -> None:
    with nights.through(1, quorum=1) as night, nights.through(2) as other:
        first, second = night.score(), night.plan()
        lag(other.client)
        text = failed(night, second)
        assert list(night.seen()) == list(other.seen()) == [first]
        follow(other.client)
        assert name_of(nights, 2) in text
        nights.resumed(2, second.run_id)
    nights.assert_exact(second.run_id)


def test_without_the_wait_readers_of_the_lagging_replica_see_nothing(
    nights: TwoNights, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nights.through(1, quorum=1) as night, nights.through(2) as other:
        night.score()
        lag(other.client)
        monkeypatch.setattr(replication, "settle", lambda *_: None)
        second = night.score()
        other.client.run("SYSTEM SYNC REPLICA raypipe_runs")
        assert runs.find(other.client, second).status == runs.PUBLISHED
        assert other.seen() == {}
        follow(other.client)
    nights.assert_exact(second)


def test_a_run_that_failed_through_one_replica_is_listed_on_the_other(
    nights: TwoNights, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nights.through(1) as night, nights.through(2) as other:
        manifest = night.plan()
        monkeypatch.setattr(publish, "verify", _refuse)
        failed(night, manifest)
        assert status(other, manifest) == runs.FAILED


def _refuse(*_: object) -> None:
    raise RaypipeError("refused by the test")
