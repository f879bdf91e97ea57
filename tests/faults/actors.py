"""Run commands as processes, stop them at a request, and kill their scoring actors."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tests.conftest import FittedPublisher
from tests.faults.proxy import Rule

T = TypeVar("T")

PATIENCE = 60
# Ray names a worker's process after its actor.
TITLE = "ray::ScoringActor"
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
STAGING_INSERT = b"INSERT INTO `raypipe_staging_"
# The statement is in the request's line, as its body has the rows.
PORTION_INSERT = b"INSERT+INTO+%60raypipe_portion_"
LEDGER_INSERT = b"INSERT INTO `raypipe_slices`"
# A run's row is written when it opens, is staged, publishes and is committed.
RUNS_INSERT = b"INSERT INTO `raypipe_runs`"
SWAP = b"REPLACE PARTITION"


def awaited(look: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Wait until `look` returns a true value, and return it."""
    pause = threading.Event()
    for _ in range(int(seconds * 20)):
        if found := look():
            return found
        pause.wait(0.05)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


def processes() -> list[tuple[int, int, str]]:
    """Return the id, parent and command line of every process on this machine, except zombies."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(maxsplit=3) for line in listed.stdout.splitlines()]
    return [(int(pid), int(parent), "".join(title)) for pid, parent, state, *title in rows if state[0] != "Z"]


def descendants(pid: int) -> dict[int, str]:
    """Return the processes below a process, with their titles."""
    below: dict[int, str] = {}
    alive = processes()
    while more := {own: title for own, parent, title in alive if parent in (pid, *below) and own not in below}:
        below |= more
    return below


def _session(pid: int) -> int:
    with suppress(ProcessLookupError):
        return os.getsid(pid)
    return 0


def kill(pids: list[int]) -> None:
    """Kill the processes that are still alive."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Process(Protocol):
    """A child process, such as `subprocess.Popen`."""

    pid: int

    @property
    def returncode(self) -> Any:
        """Return the exit code, or None while it runs."""

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, unless it has ended."""


@dataclass(frozen=True)
class Command:
    """A raypipe command in a session of its own. Ray's workers leave its process group, but not its session."""

    process: Process
    log: Path

    @property
    def members(self) -> dict[int, str]:
        """Return its processes, including Ray's, with their titles."""
        return {pid: title for pid, _, title in processes() if _session(pid) == self.process.pid}

    @property
    def actors(self) -> list[int]:
        """Return the processes of its scoring actors."""
        return [pid for pid, title in self.members.items() if title.startswith(TITLE)]

    def kill_actors(self) -> list[int]:
        """Wait for its scoring actors, kill them, and return their process ids."""
        found = awaited(lambda: self.actors, "no scoring actor")
        kill(found)
        return found

    def kill(self) -> None:
        """Kill all its processes at once."""
        kill([self.process.pid])
        kill(list(self.members))
        self.process.wait(PATIENCE)

    def gone(self) -> None:
        """Wait until all its processes except Ray's agents have ended.

        The agents do no work for a run. After their cluster is killed, they look for it for a minute before they end.
        """

        def left() -> list[str]:
            return [title for title in self.members.values() if title not in AGENTS]

        with suppress(AssertionError):
            awaited(lambda: not left(), "the end of a command's processes", 30)
        assert left() == []

    def wait(self) -> int:
        """Wait for it to end by itself, and return its exit code."""
        return self.process.wait(PATIENCE)

    def until(self, rule: Rule) -> None:
        """Wait until a request is hit. If the command ends first, fail with its log."""
        for _ in range(PATIENCE * 20):
            if rule.hit.wait(0.05):
                return
            assert self.process.poll() is None, self.said
        raise AssertionError(f"no request with {rule.pattern!r} in {PATIENCE} s:\n{self.said}")

    @property
    def said(self) -> str:
        """Return its stderr so far."""
        return self.log.read_text()

    @property
    def printed(self) -> str:
        """Return its stdout so far."""
        return _stdout(self.log).read_text()


def _stdout(log: Path) -> Path:
    return log.with_name(f"{log.name}.stdout")


@contextmanager
def started(publisher: FittedPublisher, log: Path, *arguments: str, **variables: str) -> Iterator[Command]:
    """Start a command on a Ray of its own, as a process, and kill what remains of it at the end."""
    with log.open("wb") as stderr, _stdout(log).open("wb") as stdout:
        process = subprocess.Popen(
            publisher.command(*arguments),
            env={**publisher.environment(), "RAY_ADDRESS": "local", **variables},
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    command = Command(process, log)
    try:
        yield command
    finally:
        command.kill()
