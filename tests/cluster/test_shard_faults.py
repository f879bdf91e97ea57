"""Kill a shard before, while and after a run scores and publishes: nothing is lost, doubled or mixed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from raypipe.clickhouse import lock, readers, retry, sharding, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Owner
from raypipe.clickhouse.schema.leftovers import clean
from raypipe.errors import Busy, RaypipeError, Unreachable
from raypipe.features import snapshots, swap
from raypipe.score import previous, publish, run, runs
from raypipe.score.worker import SliceScorer
from tests.cluster.shards import DATABASE, USERS, Night, Shards
from tests.faults.actors import awaited
from tests.faults.servers import FEATURES
from tests.faults.small import DAY

OTHER = 2


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat requests to a shard that is down without long pauses."""
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.01)


def at(patch: pytest.MonkeyPatch, owner: Any, name: str, act: Callable[[], object], call: int = 1) -> None:
    """Act before the numbered call of a function."""
    real, calls = getattr(owner, name), [0]

    def acting(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            act()
        return real(*arguments, **options)

    patch.setattr(owner, name, acting)


def test_a_shard_that_is_down_before_a_run_is_named_and_nothing_is_written(shards: Shards, night: Night) -> None:
    first = night.score()
    shards.kill(OTHER)
    try:
        with pytest.raises(Unreachable, match=r"A shard of the cluster .* does not answer"):
            shards.endpoint(DATABASE)
        with pytest.raises(RaypipeError):
            night.plan()
    finally:
        shards.start(OTHER)
    night.assert_exact(first)
    assert night.left() == []


def test_a_shard_that_dies_before_its_slices_are_scored(shards: Shards, night: Night) -> None:
    first = night.score()
    manifest = night.plan()
    with pytest.MonkeyPatch.context() as patch:
        at(patch, SliceScorer, "score", lambda: shards.kill(OTHER), call=2)
        with pytest.raises(RaypipeError):
            night.run(manifest)
    assert night.status(manifest) == runs.FAILED
    shards.start(OTHER)
    assert night.seen() == {first: USERS}
    night.assert_exact(night.run(manifest))
    assert night.left() == []


def swapped_on_one_shard(shards: Shards, night: Night) -> tuple[str, runs.Run]:
    """Kill a shard between the swaps of the first target on both."""
    first = night.score()
    manifest = night.plan()
    with pytest.MonkeyPatch.context() as patch:
        at(patch, publish, "swap", lambda: shards.kill(OTHER), call=2)
        with pytest.raises(RaypipeError):
            night.run(manifest)
    return first, runs.find(night.client, manifest.run_id)


def test_a_shard_that_dies_between_the_swaps_of_both_leaves_the_earlier_run_in_view(
    shards: Shards, night: Night
) -> None:
    first, second = swapped_on_one_shard(shards, night)
    assert second.status == runs.FAILED
    # Users get an error, and not the rows of one shard.
    with Client(night.addresses[0]) as client, pytest.raises(RaypipeError):
        client.rows("SELECT count() FROM raypipe_current_predictions")
    shards.start(OTHER)
    assert night.seen() == {first: USERS}
    night.assert_exact(night.run(night.manifest(second.run_id)))
    assert night.left() == []


def test_without_copies_of_the_earlier_run_users_see_a_part_of_it(
    shards: Shards, night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previous, "keep", lambda client, run, prepared, epoch: run.previous)
    first, second = swapped_on_one_shard(shards, night)
    shards.start(OTHER)
    with Client(night.addresses[0]) as client:
        ((rows,),) = client.rows("SELECT count() FROM raypipe_current_customer_churn_predictions")
    assert 0 < rows < USERS
    assert (first, second.status) == (runs.committed(night.client, second).run_id, runs.FAILED)


def test_another_run_after_a_shard_died_between_the_swaps(shards: Shards, night: Night) -> None:
    swapped_on_one_shard(shards, night)
    shards.start(OTHER)
    night.assert_exact(night.score())
    assert night.left() == []


def test_a_shard_that_dies_after_the_commit_shows_the_new_run_when_it_is_back(shards: Shards, night: Night) -> None:
    first = night.score()
    with pytest.MonkeyPatch.context() as patch:
        at(patch, run, "_tidy", lambda: shards.kill(OTHER))
        second = night.score()
    shards.start(OTHER)
    assert night.status(second) == runs.PUBLISHED
    assert night.seen() == {second: USERS}
    run.retire_superseded(night.client)
    clean(night.client)
    assert night.status(first) == runs.SUPERSEDED
    night.assert_exact(second)
    assert night.left() == []


def test_home_that_dies_while_a_run_publishes(shards: Shards, night: Night) -> None:
    first = night.score()
    manifest = night.plan()
    with pytest.MonkeyPatch.context() as patch:
        at(patch, publish, "swap", lambda: shards.kill(1), call=2)
        with pytest.raises(RaypipeError):
            night.run(manifest)
    shards.start(1)
    assert night.status(manifest) == runs.PUBLISHING
    assert night.seen() == {first: USERS}
    night.assert_exact(night.run(manifest, take_over=True))
    assert night.left() == []


def test_a_shard_without_new_rows_shows_the_earlier_run_until_the_commit(night: Night) -> None:
    def die() -> None:
        raise Unreachable("a shard died")

    first = night.score()
    other = sharding.shards(night.client)[1]
    of_the_day = f"FROM {FEATURES} WHERE feature_date = '{DAY}'"
    rows = other.table(f"SELECT * {of_the_day}")
    other.run(f"DELETE {of_the_day}")
    try:
        manifest = night.plan()
        with pytest.MonkeyPatch.context() as patch:
            at(patch, publish, "verify", die)
            with pytest.raises(Unreachable):
                night.run(manifest)
        assert night.seen() == {first: USERS}
        assert manifest.source_rows == USERS - rows.num_rows
        night.assert_exact(night.run(manifest))
        assert night.left() == []
    finally:
        other.insert(FEATURES, rows)


def test_users_of_both_nodes_see_one_whole_run_at_any_time(night: Night) -> None:
    published = {night.score()}
    seen: list[dict[str, int]] = []
    failures: list[BaseException] = []
    over = threading.Event()

    def read(number: int) -> None:
        try:
            with Client(night.addresses[number]) as client:
                while not over.is_set():
                    rows = client.rows("SELECT batch_id, count() FROM raypipe_current_predictions GROUP BY 1")
                    seen.append(dict(rows))
        except BaseException as error:
            failures.append(error)

    users = [threading.Thread(target=read, args=(number,)) for number in (0, 1)]
    for user in users:
        user.start()
    try:
        published |= {night.score() for _ in range(3)}
    finally:
        over.set()
        for user in users:
            user.join()
    assert not failures
    assert [rows for rows in seen if list(rows.values()) != [USERS]] == []
    assert {run_id for rows in seen for run_id in rows} <= published


class TestADayOfFeatures:
    """Put a day of features in on both shards, and die between them."""

    def half(self, night: Night, patch: pytest.MonkeyPatch) -> None:
        def die() -> None:
            raise Unreachable("a shard died")

        at(patch, swap, "put", die, call=2)
        swapping = swap.Swapping()
        client = night.client
        with (
            pytest.raises(Unreachable),
            snapshots._locked(client, f"{DAY} {DAY}", False, swapping) as held,
        ):
            self.put(client, held, swapping)

    def put(self, client: Client, held: lock.Lock, swapping: swap.Swapping) -> None:
        """Replace the day by the rows that it has, as a build does."""
        places = [
            swap.Place(shard, twins.require_swappable(shard, FEATURES), {}, occupied=True)
            for shard in sharding.shards(client)
        ]
        twin = "raypipe_twin_of_the_test"
        for place in places:
            twins.create(place.client, twin, FEATURES, place.table, "features")
            place.client.run(f"INSERT INTO {twin} SELECT * FROM {FEATURES} WHERE feature_date = '{DAY}'")
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(swap.partitions, "is_changed", lambda before, after: False)
                swap.put_all(places, twin, DAY, lambda: lock.require(client, held), swapping)
        finally:
            sharding.drop(client, twin)

    def test_the_lock_stays_and_runs_of_the_day_are_refused(self, night: Night) -> None:
        with pytest.MonkeyPatch.context() as patch:
            self.half(night, patch)
        with pytest.raises(Busy, match="are being computed"):
            night.score()
        # The process of the build is gone by the time that another looks.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Owner, "is_alive", property(lambda owner: False))
            patch.setattr(Owner, "is_dead", property(lambda owner: True))
            with pytest.raises(Busy, match="are being computed"):
                night.score()
            assert snapshots._is_half_built(night.client, DAY, DAY)
            swapping = swap.Swapping()
            with snapshots._locked(night.client, f"{DAY} {DAY}", False, swapping) as held:
                self.put(night.client, held, swapping)
        night.assert_exact(night.score())

    def test_a_day_that_is_whole_leaves_no_lock(self, night: Night) -> None:
        swapping = swap.Swapping()
        with snapshots._locked(night.client, f"{DAY} {DAY}", False, swapping) as held:
            self.put(night.client, held, swapping)
        assert not snapshots._is_half_built(night.client, DAY, DAY)
        night.assert_exact(night.score())


class TestWaitingForReaders:
    """A query of a user that has read the ledger and may not have read the shards yet."""

    SLOW = "SELECT count(), sleep(3) FROM raypipe_current_predictions"
    RUNNING = (
        "SELECT count() FROM system.processes WHERE is_initial_query AND startsWith(query, 'SELECT count(), sleep')"
    )

    def after_the_wait(self, night: Night) -> int:
        """Return how many slow queries run on the other node when the wait is over."""
        with Client(night.addresses[1]) as user, Client(night.addresses[1]) as watching:
            reading = threading.Thread(target=lambda: user.rows(self.SLOW))
            reading.start()
            try:
                awaited(lambda: bool(watching.value(self.RUNNING)), "the slow query")
                readers.await_current(night.client)
                return int(watching.value(self.RUNNING))
            finally:
                reading.join()

    def test_publishing_goes_on_when_the_query_is_over(self, night: Night) -> None:
        night.score()
        assert self.after_the_wait(night) == 0

    def test_without_patience_the_query_still_runs(self, night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
        night.score()
        monkeypatch.setattr(readers, "SETTLING_SECONDS", 0.0)
        assert self.after_the_wait(night) == 1
