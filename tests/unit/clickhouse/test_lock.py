"""Test the owner of a lock: its identity, and whether it is alive."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from raypipe.clickhouse.lock import Owner, lock_table


def test_this_process_is_alive() -> None:
    mine = Owner.here("churn_1")
    assert (mine.run_id, mine.pid) == ("churn_1", os.getpid())
    assert not mine.is_dead


def test_a_process_that_has_ended_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert replace(Owner.here("churn_1"), pid=process.pid).is_dead
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


def test_a_lock_is_named_for_its_pipeline() -> None:
    assert lock_table("churn") == "raypipe_lock_churn"
