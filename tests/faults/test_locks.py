"""Test stale locks, take-overs, and runs that meet at one lock."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Lock, Owner
from raypipe.errors import Busy, RaypipeError, ServerError, Unreachable, UsageError
from raypipe.score import gate, publish, run, runs, score, staging
from raypipe.score.manifest import Manifest
from tests.faults.nights import (
    DAY,
    Night,
    _break,
    before_call,
    before_publishing,
    older,
    once,
)
from tests.faults.oracle import assert_exact, loaded, own_tables

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture(scope="module")
def gone() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_stale_lock_of_a_dead_owner_is_taken_over_only_where_that_is_asked_for(night: Night, gone: int) -> None:
    first, second = night.plan(), night.plan()
    lock.acquire(night.client, "churn", replace(Owner.here(first.run_id), pid=gone))
    before = night.content()
    with pytest.raises(Busy, match=r"this process is gone") as refused:
        night.run(second)
    assert "--take-over" in str(refused.value)
    assert first.run_id in str(refused.value)
    assert night.content() == before
    night.assert_exact(night.run(second, take_over=True))


def test_the_stale_lock_of_its_own_dead_owner_does_not_stop_a_resume(
    night: Night, monkeypatch: pytest.MonkeyPatch, gone: int
) -> None:
    manifest = night.plan()
    with monkeypatch.context() as patch:
        before_publishing(patch, _break)
        with pytest.raises(Unreachable):
            night.run(manifest)
    lock.acquire(night.client, "churn", replace(Owner.here(manifest.run_id), pid=gone))
    night.assert_exact(night.resume(manifest))


def keep_tables_of_runs(patch: pytest.MonkeyPatch) -> None:
    """Keep a committing run from dropping the tables of other runs, which they need to publish."""
    patch.setattr(staging, "drop", lambda *_: None)


def test_without_the_lock_two_runs_at_once_both_publish(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = older(night.plan()), night.plan()
    monkeypatch.setattr(lock, "acquire", lambda client, pipeline, owner, **_: Lock(pipeline, 1, owner))
    monkeypatch.setattr(lock, "require", lambda *_: None)
    keep_tables_of_runs(monkeypatch)
    before_publishing(monkeypatch, lambda: night.run(second))
    night.run(first)
    with pytest.raises(AssertionError):
        assert_exact(night.client, DAY, second.run_id)


def test_an_owner_whose_lock_was_taken_over_does_not_publish(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, quick = older(night.plan()), night.plan()
    before_publishing(monkeypatch, lambda: night.run(quick, take_over=True))
    with pytest.raises(Busy, match="took over"):
        night.run(slow)
    assert night.status(quick) == runs.PUBLISHED
    night.assert_exact(quick.run_id)


def test_without_asking_for_the_lock_again_the_former_owner_replaces_the_rows_of_the_next(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = older(night.plan()), night.plan()
    monkeypatch.setattr(lock, "require", lambda *_: None)
    keep_tables_of_runs(monkeypatch)
    before_publishing(monkeypatch, lambda: night.run(quick, take_over=True))
    # Its commit is too late by the ledger, but its rows are swapped in.
    with pytest.raises(Busy, match="took over the run"):
        night.run(slow)
    with pytest.raises(AssertionError):
        assert_exact(night.client, DAY, quick.run_id)


def after_the_first_target(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something when one target has the run's rows and the other does not."""
    real, due = Client.run, once(act)

    def run(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        real(self, sql, *arguments, **options)
        if re.match(r"ALTER TABLE .* PARTITION ID", sql):
            due()

    patch.setattr(Client, "run", run)


def before_removal(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something after the commit, before the rows of earlier runs are removed."""
    before_call(patch, runs, "earlier", act)


def before_commit(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something after the swaps, before the run's row is committed."""
    before_call(patch, run, "_commit", act)


@pytest.mark.parametrize(
    "moment", [after_the_first_target, before_removal, before_commit], ids=lambda one: one.__name__
)
def test_an_owner_whose_lock_is_taken_over_while_it_publishes_leaves_the_rows_of_the_next_alone(
    night: Night, monkeypatch: pytest.MonkeyPatch, moment: Callable[..., None]
) -> None:
    slow, quick = older(night.plan()), night.plan()
    moment(monkeypatch, lambda: night.run(quick, take_over=True))
    # After its commit a run has nothing more to lose.
    with nullcontext() if moment is before_removal else pytest.raises(RaypipeError):
        night.run(slow)
    assert night.status(quick) == runs.PUBLISHED
    assert current(night) == quick.source_rows
    night.assert_exact(quick.run_id)


def current(night: Night) -> int:
    """Return the day's rows in the view."""
    sql = "SELECT count() FROM raypipe_current_predictions WHERE prediction_date = {day:Date}"
    return int(night.client.value(sql, {"day": DAY}))


def test_an_owner_whose_own_run_was_taken_over_and_finished_does_not_take_its_commit_back(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan()
    before_publishing(monkeypatch, lambda: night.run(manifest, take_over=True))
    with pytest.raises(RaypipeError):
        night.run(manifest)
    assert_exact(night.client, DAY, manifest.run_id)
    assert night.status(manifest) == runs.PUBLISHED
    assert current(night) == manifest.source_rows


@pytest.fixture
def failed(night: Night) -> Manifest:
    """Provide a run that failed just before publishing."""
    manifest = night.plan()
    with pytest.MonkeyPatch.context() as patch:
        before_publishing(patch, _break)
        with pytest.raises(Unreachable):
            night.run(manifest)
    return manifest


def test_a_run_that_is_finished_while_another_resume_waits_for_its_lock_stays_as_it_is(
    night: Night, failed: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_call(monkeypatch, lock, "acquire", lambda: night.resume(failed))
    with pytest.raises(UsageError, match=f"{failed.run_id} is finished and cannot be resumed") as refused:
        night.run(failed)
    assert refused.value.found == runs.PUBLISHED
    assert night.status(failed) == runs.PUBLISHED
    assert current(night) == failed.source_rows
    night.assert_exact(failed.run_id)


@pytest.mark.parametrize("marked", [True, False], ids=["superseded", "died before it said so"])
def test_a_resume_does_not_take_the_place_of_a_later_run_of_its_date(
    night: Night, failed: Manifest, monkeypatch: pytest.MonkeyPatch, marked: bool
) -> None:
    with monkeypatch.context() as patch:
        if not marked:
            patch.setattr(run, "_tidy", lambda *_: None)
        newest = night.score()
    with pytest.raises(
        UsageError, match="is finished and cannot be resumed" if marked else "is published for its date"
    ):
        night.run(failed)
    assert night.status(failed) == (runs.SUPERSEDED if marked else runs.FAILED)
    assert_exact(night.client, DAY, newest)
    night.assert_exact(night.score())


def test_two_runs_that_were_planned_in_the_same_second_are_not_mixed_up(night: Night) -> None:
    first = night.plan()
    second = replace(night.plan("source.snapshot=true"), run_at=first.run_at)
    night.run(first)
    before = night.content()
    with pytest.raises(Busy, match="same second") as refused:
        night.run(second)
    assert first.run_id in str(refused.value)
    assert night.content() == before
    night.assert_exact(first.run_id)


def test_a_run_that_finds_the_lock_held_leaves_nothing_behind_and_one_that_began_keeps_what_it_needs(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, other = night.plan("source.snapshot=true"), night.plan("source.snapshot=true")
    with monkeypatch.context() as patch:
        before_publishing(patch, _break)
        with pytest.raises(Unreachable):
            night.run(begun)
    kept = sorted(set(own_tables(night.client)) - {other.snapshot})
    assert begun.snapshot in kept
    owner = Owner.here("churn_somebody")
    lock.acquire(night.client, "churn", owner)
    for manifest in (begun, other):
        with pytest.raises(Busy):
            night.run(manifest)
    lock.release(night.client, "churn", owner)
    assert sorted(own_tables(night.client)) == kept
    night.assert_exact(night.resume(begun))


def test_a_population_is_not_copied_while_another_run_holds_the_lock(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score.prepare, "manifest", lambda *_, **__: pytest.fail("the population was read"))
    lock.acquire(night.client, "churn", Owner.here("churn_somebody"))
    with pytest.raises(Busy, match="churn_somebody"):
        score.score(night.publisher.endpoint, loaded(night.publisher), DAY, "champion", lambda *_: None)


def test_a_run_that_failed_behind_its_swap_stays_in_view_while_it_is_resumed(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan()

    def fail(*_: Any) -> None:
        raise ServerError("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(publish, "verify", fail)
        with pytest.raises(ServerError):
            night.run(manifest)
    seen: list[int] = []
    before_call(monkeypatch, gate, "check", lambda: seen.append(current(night)))
    night.resume(manifest)
    assert seen == [manifest.source_rows]
