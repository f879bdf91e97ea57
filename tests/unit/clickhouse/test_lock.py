"""Test the owner of a lock: its identity, and whether it is alive."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from raypipe.clickhouse import processes
from raypipe.clickhouse.lock import Lock, Owner


def test_this_process_is_alive() -> None:
    mine = Owner.here("churn_1")
    assert (mine.run_id, mine.pid) == ("churn_1", os.getpid())
    assert mine.is_alive
    assert not mine.is_dead


def test_a_process_that_has_ended_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    ended = replace(Owner.here("churn_1"), pid=process.pid)
    assert ended.is_dead
    assert not ended.is_alive
    assert not replace(Owner.here("churn_1"), pid=process.pid, host="elsewhere").is_dead


def test_a_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert not Owner.here("churn_1").is_dead


def test_two_owners_of_the_same_run_are_told_apart() -> None:
    assert Owner.here("churn_1") != Owner.here("churn_1")


def test_an_owner_is_shown_with_its_run_process_host_and_time() -> None:
    assert str(Owner("churn_1", "box", 7, "2026-01-31T00:00:00")) == (
        "run churn_1, process 7 on box, since 2026-01-31T00:00:00"
    )


def test_a_process_that_got_the_number_of_a_dead_one_is_another() -> None:
    mine = Owner.here("churn_1")
    assert not mine.is_dead
    assert replace(mine, started="1").is_dead


@pytest.mark.parametrize("part", ["boot", "namespace"])
def test_a_process_of_another_machine_or_namespace_cannot_be_known(part: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    gone = replace(Owner.here("churn_1"), pid=process.pid)
    assert gone.is_dead
    for unknown in ("another", ""):
        owner = replace(gone, **{part: unknown})
        assert not owner.is_dead
        # Its lock goes once it is old.
        assert not owner.is_alive


def test_without_a_proc_folder_no_process_is_taken_for_dead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    gone = replace(Owner.here("churn_1"), pid=process.pid)
    monkeypatch.setattr(processes, "PROC", tmp_path)
    assert not gone.is_dead
    assert not replace(Owner.here("churn_1"), pid=process.pid).is_dead


def test_an_owner_that_another_version_wrote_is_read_as_far_as_it_goes() -> None:
    assert Owner.from_json('{"run_id": "churn_1", "zone": "b"}') == Owner("churn_1")
    for text in ("", "a lock", "[1]"):
        assert Owner.from_json(text) == Owner("")


def test_a_lock_is_named_for_its_pipeline_and_epoch() -> None:
    assert Lock("churn", 7, Owner.here("churn_1")).table == "raypipe_lock_churn_e7"
