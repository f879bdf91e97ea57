"""Test whether the embedded engine is alive, as the command that keeps it up sees it."""

from __future__ import annotations

import os

import pytest

from raypipe.clickhouse.embedded import lease


def test_a_process_of_another_user_is_not_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int, signal: int) -> None:
        raise PermissionError

    assert lease._is_alive(os.getpid())
    monkeypatch.setattr(os, "kill", forbidden)
    assert not lease._is_alive(os.getpid())
