"""Test what happens behind a run's commit: it stays, and what earlier runs have left is removed when nobody works."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from raypipe.clickhouse import lock, mutations
from raypipe.clickhouse.lock import Owner
from raypipe.errors import Busy, GateRefused, Unreachable, UsageError
from raypipe.score import publish, run, runs
from tests.faults.few import Night
from tests.faults.nights import TARGETS, before_call
from tests.faults.oracle import own_tables

pytestmark = pytest.mark.fast


def test_an_error_behind_the_commit_leaves_the_run_published(daily: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, commit = daily.plan(), runs.commit

    def lost(*arguments: Any, **changes: Any) -> None:
        commit(*arguments, **changes)
        raise Unreachable("the answer was lost")

    monkeypatch.setattr(runs, "commit", lost)
    with pytest.raises(Unreachable):
        daily.run(manifest)
    assert daily.find(manifest).status == runs.PUBLISHED
    daily.assert_exact(manifest)


def test_a_run_whose_rows_vanish_behind_the_swap_is_not_committed(
    daily: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = daily.score(), daily.plan()
    before_call(monkeypatch, publish, "verify", lambda: mutations.delete(daily.client, TARGETS[0], "1"))
    with pytest.raises(GateRefused, match="is not committed"):
        daily.run(second)
    assert daily.seen() == {first: second.source_rows}


def test_a_published_run_is_not_resumed(daily: Night) -> None:
    manifest = daily.plan()
    daily.run(manifest)
    with pytest.raises(UsageError, match="is finished"):
        daily.run(manifest)
    daily.assert_exact(manifest)


def test_a_run_in_the_second_of_another_is_refused_and_leaves_nothing(daily: Night) -> None:
    first, second = daily.plan("source.snapshot=true"), daily.plan("source.snapshot=true")
    daily.run(first)
    with pytest.raises(Busy, match="in the same second"):
        daily.run(replace(second, run_at=first.run_at))
    daily.assert_exact(first)
    assert own_tables(daily.client) == []


def test_what_a_pipeline_at_work_has_left_is_not_removed(daily: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run, "_tidy", lambda *_: None)
        first, last = daily.score(), daily.score()
    owner = Owner.here("churn_at_work")
    lock.acquire(daily.client, "churn", owner)
    assert run.retire_superseded(daily.client) == ()
    lock.release(daily.client, "churn", owner)
    assert run.retire_superseded(daily.client) == (first,)
    daily.assert_exact(last)
