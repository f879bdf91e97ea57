"""Run a contender in a fresh process; measure its wall time and the memory of its process tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROC = Path("/proc")
EVERY_SECONDS = 0.2
TICKS = os.sysconf("SC_CLK_TCK")
SHOWN_OF_AN_ERROR = 4000


@dataclass(frozen=True)
class Finished:
    """A process that exited with 0.

    Attributes:
        document: The JSON printed by the process.
        started_at: The start time, in seconds since 1970.
        seconds: The time from start to exit.
        peak_mb: The peak resident memory of the largest process of its tree.
        peak_mb_sum: The peak memory of the whole tree: private pages of all processes, and shared pages once.
        largest: The name of the largest process.
    """

    document: dict[str, Any]
    started_at: float
    seconds: float
    peak_mb: float
    peak_mb_sum: float
    largest: str


class Watch(threading.Thread):
    """Sample /proc for a process and its descendants. Without /proc all figures are zero."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self._root = root
        self._ended = threading.Event()
        self.peaks: dict[int, tuple[float, str]] = {}
        self.sum = 0.0
        self.start()

    def run(self) -> None:
        while PROC.is_dir() and not self._ended.wait(EVERY_SECONDS):
            self._sample()

    def end(self) -> None:
        self._ended.set()
        self.join()

    def largest(self) -> tuple[float, str]:
        return max(self.peaks.values(), default=(0.0, ""))

    def _sample(self) -> None:
        private, shared, files = 0.0, 0.0, 0.0
        for process in descendants(self._root):
            status = read_status(process)
            if "VmHWM" not in status:
                continue
            self.peaks[process] = (megabytes(status["VmHWM"]), status["Name"])
            private += megabytes(status["RssAnon"])
            # Every worker maps the same memory of Ray's object store.
            shared = max(shared, megabytes(status["RssShmem"]))
            # All of them map the same library files.
            files = max(files, megabytes(status["RssFile"]))
        self.sum = max(self.sum, private + shared + files)


def descendants(root: int) -> set[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            parent = read_status(int(entry.name)).get("PPid")
            if parent:
                children[int(parent)].append(int(entry.name))
    found, pending = set(), [root]
    while pending:
        process = pending.pop()
        found.add(process)
        pending += children[process]
    return found


def read_status(process: int) -> dict[str, str]:
    try:
        text = (PROC / str(process) / "status").read_text()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def busy_of(process: int) -> float:
    """Return the core-seconds of a process, 0 if it has ended."""
    try:
        fields = (PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    # utime and stime are fields 14 and 15. The first two fields end at the bracket.
    return (int(fields[11]) + int(fields[12])) / TICKS


def megabytes(text: str) -> float:
    return int(text.removesuffix(" kB")) / 1024


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> Finished:
    """Run a command to its end, in a folder or here.

    Raises:
        SystemExit: The command failed. The message holds the end of its stderr.
    """
    inherited = {**os.environ}
    # Where it is set, each process compiles raypipe and its libraries anew, which takes a second.
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    started_at, started = time.time(), time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watch = Watch(process.pid)
    output, errors = process.communicate()
    seconds = time.perf_counter() - started
    watch.end()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\nexited with {process.returncode}:\n{errors[-SHOWN_OF_AN_ERROR:]}")
    peak, name = watch.largest()
    document = json.loads(output[output.index("{") :])
    return Finished(document, started_at, seconds, round(peak, 1), round(watch.sum, 1), name)


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]
