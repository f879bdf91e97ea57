"""Processes that hold an embedded engine, as a second command of raypipe would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.actors import awaited

SECONDS_TO_END = 5.0

# A command: it opens the engine, says so, and holds the engine until its input ends.
USER = """
import sys
from pathlib import Path
from raypipe.clickhouse.embedded import open_embedded
with open_embedded(Path(sys.argv[1])) as lease:
    print(lease.pid, lease.endpoint.url, flush=True)
    sys.stdin.read()
"""
# A process that uses chDB without raypipe.
DIRECT = """
import sys, chdb
held = chdb.connect(sys.argv[1])
for statement in sys.argv[2:]:
    held.query(statement)
print("open", flush=True)
sys.stdin.read()
held.close()
"""


class Commands:
    """Starts processes, and kills them at the end."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: object, script: str = USER, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **variables},
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()


@contextmanager
def commands() -> Iterator[Commands]:
    started = Commands()
    try:
        yield started
    finally:
        started.end()


def said(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def engine_of(process: subprocess.Popen[str]) -> int:
    """The engine that a command holds."""
    return int(said(process).split()[0])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ended(pid: int, seconds: float = SECONDS_TO_END) -> None:
    """Return when a process is no more."""
    awaited(lambda: not is_alive(pid), f"the end of process {pid}", seconds)
