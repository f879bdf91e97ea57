"""Test that a former owner of a lock changes nothing: whoever takes over raises the epoch and drops its twins."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import pytest

from raypipe.clickhouse import lock, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Lock, Owner
from raypipe.clickhouse.schema.leftovers import clean
from raypipe.errors import Busy, RaypipeError
from raypipe.score import explain, portions, previous, publish, run, runs
from raypipe.score.manifest import Manifest, PublishTarget
from raypipe.score.portions import Attempt
from tests.faults.few import SWAP, Died, Night, before_sending
from tests.faults.nights import TARGETS, before_call
from tests.faults.oracle import own_tables

Pause = Callable[[pytest.MonkeyPatch, Callable[[], object]], None]
PAUSES: dict[str, Pause] = {
    "before the row": lambda patch, act: before_call(patch, run, "_opened", act),
    "before filling": lambda patch, act: before_call(patch, publish, "prepare", act),
    "filled": lambda patch, act: before_call(patch, publish, "swap", act),
    "before the swap is sent": lambda patch, act: before_sending(patch, SWAP, act),
    "before the commit": lambda patch, act: before_call(patch, runs, "commit", act),
    "before tidying": lambda patch, act: before_call(patch, run, "_tidy", act),
}


@pytest.fixture(scope="module")
def gone() -> int:
    """Return the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def take_over(night: Night, manifest: Manifest, *, dies: bool) -> None:
    """Run over the lock of the paused owner; a taker that dies keeps its lock and removes nothing."""
    if not dies:
        night.run(manifest, take_over=True)
        return
    with pytest.MonkeyPatch.context() as patch, suppress(Died):
        patch.setattr(run, "_tidy", _die)
        patch.setattr(lock, "release", lambda *_: None)
        night.run(manifest, take_over=True)


def _die(*_: Any, **options: Any) -> None:
    raise Died


# The pauses of `make test`, and whether the taker dies.
QUICK = {("before the row", True), ("filled", False), ("before the swap is sent", True), ("before the commit", False)}


@pytest.mark.parametrize(
    ("pause", "dies"),
    [
        pytest.param(
            pause,
            dies,
            id=f"{pause}-the taker {'dies before tidying' if dies else 'lives'}",
            marks=[pytest.mark.fast] * ((pause, dies) in QUICK),
        )
        for pause in PAUSES
        for dies in (False, True)
    ],
)
def test_a_paused_owner_that_wakes_up_changes_nothing(
    daily: Night, monkeypatch: pytest.MonkeyPatch, pause: str, dies: bool
) -> None:
    slow, quick = daily.plan(), daily.plan()
    quick = replace(quick, run_at=slow.run_at - timedelta(days=1))
    PAUSES[pause](monkeypatch, lambda: take_over(daily, quick, dies=dies))
    with suppress(RaypipeError):
        daily.run(slow)
        assert pause in ("before the commit", "before tidying")
    daily.assert_exact(quick)
    assert daily.find(quick).status == runs.PUBLISHED
    # The dead taker's lock stays until it is taken; what the owner left is removed.
    held = lock.holder(daily.client, "churn")
    assert (held is not None) is dies
    if held is not None:
        lock.release(daily.client, "churn", held)
    run.retire_superseded(daily.client)
    daily.assert_exact(quick)
    last = daily.score()
    daily.assert_exact(last)
    assert own_tables(daily.client) == []


# A call shortly before each look at the lock, and the kinds of tables that a run has made by then.
LOOKS: dict[str, tuple[Any, str, set[str]]] = {
    "the first row": (run, "_opened", set()),
    "the twins": (explain, "write", {"staging", "portion", "explain"}),
    "the copies": (publish, "prepare", {"staging", "portion", "explain", "twin"}),
    "the swaps": (previous, "keep", {"staging", "portion", "explain", "previous"}),
    "the commit": (run, "_commit", {"staging", "portion", "explain"}),
}


QUICK_LOOKS = ("the twins", "the swaps", "the commit")


@pytest.mark.parametrize(
    "look", [pytest.param(name, marks=[pytest.mark.fast] * (name in QUICK_LOOKS)) for name in LOOKS]
)
def test_an_owner_that_lost_its_lock_ends_at_its_next_look(
    daily: Night, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    module, name, kinds = LOOKS[look]
    slow, quick = daily.plan(), daily.plan()
    quick = replace(quick, run_at=slow.run_at - timedelta(days=1))
    before_call(monkeypatch, module, name, lambda: take_over(daily, quick, dies=True))
    with pytest.raises(Busy, match="took over the lock"):
        daily.run(slow)
    # A copy has the name of the run whose rows it keeps.
    own = [table for table in own_tables(daily.client) if slow.run_id in table or "previous" in table]
    assert {table.split("_")[1] for table in own} == kinds
    daily.assert_exact(quick)


def dying_before_its_commit(night: Night, manifest: Manifest) -> Callable[[], None]:
    """Return a run that takes the lock over and dies behind its swaps, as a killed process does."""

    def act() -> None:
        with pytest.MonkeyPatch.context() as patch, suppress(Died):
            patch.setattr(runs, "commit", _die)
            patch.setattr(lock, "release", lambda *_: None)
            night.run(manifest, take_over=True)

    return act


@pytest.mark.fast
def test_a_former_owner_does_not_touch_the_copy_that_readers_find_the_committed_run_in(
    daily: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, slow, quick = daily.score(), daily.plan(), daily.plan()
    quick = replace(quick, run_at=slow.run_at - timedelta(days=1))

    before_sending(monkeypatch, re.compile("DROP TABLE .*raypipe_previous_"), dying_before_its_commit(daily, quick))
    with suppress(RaypipeError):
        daily.run(slow)
    assert daily.seen() == {first: slow.source_rows}


@pytest.mark.fast
def test_a_late_commit_does_not_hide_the_day_behind_a_taker_that_is_not_committed(
    daily: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, slow, quick = daily.score(), daily.plan(), daily.plan()
    quick = replace(quick, run_at=slow.run_at - timedelta(days=1))

    before_call(monkeypatch, runs, "commit", dying_before_its_commit(daily, quick))
    with suppress(RaypipeError):
        daily.run(slow)
    assert daily.seen() in ({first: slow.source_rows}, {slow.run_id: slow.source_rows})


@pytest.mark.fast
def test_without_dropping_the_twins_of_lower_epochs_a_paused_owner_swaps_its_rows_in(
    daily: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = daily.plan(), daily.plan()
    quick = replace(quick, run_at=slow.run_at - timedelta(days=1))
    monkeypatch.setattr(twins, "drop_former", lambda *_: None)
    before_sending(monkeypatch, SWAP, lambda: take_over(daily, quick, dies=True))
    with suppress(RaypipeError):
        daily.run(slow)
    assert daily.find(quick).status == runs.PUBLISHED
    with pytest.raises(AssertionError):
        daily.assert_exact(quick)


@pytest.mark.fast
@pytest.mark.parametrize("pause", ["before the swap is sent", "before the commit"])
def test_an_owner_whose_own_run_is_resumed_elsewhere_changes_nothing(
    daily: Night, monkeypatch: pytest.MonkeyPatch, pause: str
) -> None:
    manifest = daily.plan()
    PAUSES[pause](monkeypatch, lambda: take_over(daily, manifest, dies=False))
    with pytest.raises(RaypipeError):
        daily.run(manifest)
    daily.assert_exact(manifest)
    assert daily.find(manifest).status == runs.PUBLISHED
    assert own_tables(daily.client) == []


@pytest.mark.fast
def test_a_former_owner_does_not_swap_in_a_twin_that_the_next_owner_of_its_run_has_half_filled(
    daily: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, link = daily.plan(), portions.link

    def half(client: Client, twin: str, run: Manifest, target: PublishTarget, of: Collection[Attempt]) -> None:
        link(client, twin, run, target, sorted(of)[:1])
        raise Died

    def resume() -> None:
        with pytest.MonkeyPatch.context() as patch, suppress(Died):
            patch.setattr(portions, "link", half)
            patch.setattr(lock, "release", lambda *_: None)
            daily.run(manifest, take_over=True)

    PAUSES["before the swap is sent"](monkeypatch, resume)
    with pytest.raises(RaypipeError):
        daily.run(manifest)
    assert daily.versions()[TARGETS[0]] == {}


@pytest.mark.fast
def test_without_the_epoch_in_its_row_a_former_owner_takes_the_commit_of_the_next_back(
    daily: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = daily.plan()
    real = runs._changed

    def by_steps(row: runs.Run, epoch: int, **changes: Any) -> runs.Run:
        return replace(real(row, epoch, **changes), version=row.version + (1 << 40))

    PAUSES["before the swap is sent"](monkeypatch, lambda: take_over(daily, manifest, dies=False))
    monkeypatch.setattr(runs, "_changed", by_steps)
    # A run that fails also looks whether its commit has counted.
    monkeypatch.setattr(runs, "FINISHED", ())
    with pytest.raises(RaypipeError):
        daily.run(manifest)
    assert daily.find(manifest).status == runs.FAILED


def dead_lock(night: Night, manifest: Manifest, gone: int) -> None:
    """Leave the lock of a process of this host that was killed."""
    owner = replace(Owner.here(manifest.run_id), pid=gone)
    night.client.run(night.client.topology.lock(Lock("churn", 1, owner).table, json.dumps(asdict(owner))))


def old_acquire(client: Client, pipeline: str, owner: Owner) -> None:
    """Take a lock without an epoch: look, drop, create."""
    name = Lock(pipeline, 1, owner).table
    held = lock.holder(client, pipeline)
    if held is not None and held.run_id == owner.run_id and held.is_dead:
        client.run(client.topology.drop(name))
    try:
        client.run(client.topology.lock(name, json.dumps(asdict(owner))))
    except RaypipeError as error:
        raise Busy("locked") from error


def racing(night: Night, manifest: Manifest, acquire: Callable[..., object], held: str) -> list[str]:
    """Let one resume pause before a statement while another resume of the same run takes the lock."""
    granted: list[str] = []

    def ask(name: str) -> None:
        with suppress(Busy):
            acquire(night.client, "churn", replace(Owner.here(manifest.run_id), since=name))
            granted.append(name)

    with pytest.MonkeyPatch.context() as patch:
        before_sending(patch, re.compile(f"{held} TABLE.*raypipe_lock_churn"), lambda: ask("second"))
        ask("first")
    return granted


@pytest.mark.fast
@pytest.mark.parametrize("held", ["CREATE", "DROP"])
def test_of_two_resumes_of_a_dead_run_one_gets_the_lock(daily: Night, gone: int, held: str) -> None:
    manifest = daily.plan()
    dead_lock(daily, manifest, gone)
    granted = racing(daily, manifest, lock.acquire, held)
    (standing,) = lock.standing(daily.client, "churn")
    assert granted == [standing.owner.since]


@pytest.mark.fast
def test_without_epochs_two_resumes_of_a_dead_run_both_get_the_lock(daily: Night, gone: int) -> None:
    manifest = daily.plan()
    dead_lock(daily, manifest, gone)
    assert racing(daily, manifest, old_acquire, "DROP") == ["second", "first"]


@pytest.mark.fast
def test_of_two_that_take_over_at_once_one_gets_the_lock(daily: Night) -> None:
    lock.acquire(daily.client, "churn", Owner.here("churn_1"))
    granted: list[int] = []

    def take(name: str) -> None:
        with suppress(Busy):
            granted.append(lock.acquire(daily.client, "churn", Owner.here(name), take_over=True).epoch)

    with pytest.MonkeyPatch.context() as patch:
        before_sending(patch, re.compile("CREATE TABLE"), lambda: take("churn_2"))
        take("churn_3")
    assert granted == [2]
    assert [item.epoch for item in lock.standing(daily.client, "churn")] == [2]


@pytest.mark.fast
def test_an_epoch_is_never_given_again_once_a_run_has_it(daily: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    # Another run takes the lock, publishes and gives it back between the look and the creation.
    quick = daily.plan()
    before_sending(monkeypatch, re.compile("CREATE TABLE .*raypipe_lock"), lambda: daily.run(quick))
    taken = lock.acquire(daily.client, "churn", Owner.here("churn_2"))
    assert taken.epoch > daily.find(quick).sequence
    assert lock.standing(daily.client, "churn") == [taken]


@pytest.mark.fast
def test_a_living_owner_in_another_namespace_of_a_host_of_the_same_name_is_not_dead(daily: Night, gone: int) -> None:
    manifest = daily.plan()
    elsewhere = replace(Owner.here(manifest.run_id), pid=gone, namespace="pid:[1]")
    lock.acquire(daily.client, "churn", elsewhere)
    with pytest.raises(Busy):
        daily.run(manifest)
    assert lock.holder(daily.client, "churn") == elsewhere


@pytest.mark.fast
def test_without_the_namespace_a_living_owner_loses_its_lock(
    daily: Night, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = daily.plan()
    elsewhere = replace(Owner.here(manifest.run_id), pid=gone, namespace="pid:[1]")
    lock.acquire(daily.client, "churn", elsewhere)
    monkeypatch.setattr(Owner, "is_dead", property(has_no_process))
    daily.run(manifest)
    assert lock.holder(daily.client, "churn") is None


def has_no_process(owner: Owner) -> bool:
    """Look for the owner's number alone."""
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.fast
def test_the_lock_of_a_dead_process_without_a_row_is_cleaned_and_no_resume_is_advised(daily: Night, gone: int) -> None:
    manifest = daily.plan()
    dead_lock(daily, manifest, gone)
    with pytest.raises(Busy, match="this process is gone") as refused:
        daily.score()
    assert "--take-over" in str(refused.value)
    assert "raypipe resume" not in str(refused.value)
    assert clean(daily.client) == ("raypipe_lock_churn_e1",)
    daily.assert_exact(daily.score())


@pytest.mark.fast
def test_a_lock_whose_run_has_a_row_is_advised_to_be_resumed(daily: Night, gone: int) -> None:
    manifest = daily.plan()
    daily.dies(manifest, run, "_publish")
    dead_lock(daily, manifest, gone)
    with pytest.raises(Busy, match=f"raypipe resume {manifest.run_id}"):
        daily.score()
    daily.run(manifest)
    daily.assert_exact(manifest)
