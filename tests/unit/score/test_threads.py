"""Test how a run divides a machine among its threads."""

from __future__ import annotations

from pathlib import Path

import pytest

from raypipe.cluster import machine
from raypipe.score.threads import Threads


@pytest.mark.parametrize(
    ("threads", "slices", "expected"),
    [
        (Threads(largest=None, cpus=1, machine=8), 100, (8, 1)),
        (Threads(largest=None, cpus=2, machine=8), 100, (4, 2)),
        (Threads(largest=3, cpus=1, machine=8), 100, (3, 1)),
        (Threads(largest=3, cpus=1, machine=8), 1, (1, 3)),
        (Threads(largest=16, cpus=1, machine=8), 100, (16, 1)),
        (Threads(largest=None, cpus=1, machine=8), 3, (3, 2)),
        (Threads(largest=None, cpus=1, machine=8), 1, (1, 8)),
        (Threads(largest=None, cpus=4, machine=2), 100, (1, 4)),
    ],
)
def test_slices_limits_and_cpus_decide_the_threads_and_their_cpus(
    threads: Threads, slices: int, expected: tuple[int, int]
) -> None:
    assert threads.shares(slices) == expected


def test_without_a_limit_all_cpus_of_the_process_are_used() -> None:
    assert Threads(largest=None, cpus=1, machine=None).shares(1) == (1, machine.cpus())


@pytest.mark.parametrize(
    ("text", "expected"), [("max 100000", None), ("100000 100000", 1), ("50000 100000", 1), ("9900000 100000", None)]
)
def test_the_limit_of_a_container_counts(tmp_path: Path, text: str, expected: int | None) -> None:
    quota = tmp_path / "cpu.max"
    unlimited = machine.cpus(tmp_path / "absent")
    quota.write_text(f"{text}\n")
    assert machine.cpus(quota) == (expected or unlimited)
