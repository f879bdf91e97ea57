"""Measure the steps of a command: its seconds, core-seconds and memory between the lines that it prints."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from contest.processes import EVERY_SECONDS, busy_of, descendants, megabytes, read_status


class Meter(threading.Thread):
    """Sample the core-seconds and the resident memory of a process and its descendants."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self._root = root
        self._ended = threading.Event()
        self._lock = threading.Lock()
        # By process: ended processes keep their last value, so that the sum never falls.
        self._busy: dict[int, float] = {}
        self._peak = (0.0, "")
        self.start()

    def run(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            self._sample()

    def end(self) -> None:
        self._ended.set()
        self.join()

    def taken(self) -> tuple[float, float, str]:
        """Return the core-seconds so far, and the largest resident memory since the last call with its process."""
        self._sample()
        with self._lock:
            (peak, name), self._peak = self._peak, (0.0, "")
            return sum(self._busy.values()), peak, name

    def _sample(self) -> None:
        with self._lock:
            for process in descendants(self._root):
                status = read_status(process)
                if "VmRSS" in status:
                    self._busy[process] = max(busy_of(process), self._busy.get(process, 0.0))
                    self._peak = max(self._peak, (megabytes(status["VmRSS"]), status["Name"]))


def measured(
    command: Sequence[str], environment: Mapping[str, str], server: int, folder: Path | None = None
) -> Iterator[dict[str, Any]]:
    """Run a command that prints lines of JSON; yield each line with the measurements since the line before.

    Raises:
        SystemExit: the command failed.
    """
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, cwd=folder
    )
    meter = Meter(process.pid)
    started, before, server_before = time.perf_counter(), 0.0, busy_of(server)
    for line in process.stdout or ():
        busy, peak, name = meter.taken()
        now, server_busy = time.perf_counter(), busy_of(server)
        yield {
            **json.loads(line),
            "seconds": round(now - started, 2),
            "busy": round(busy - before, 2),
            "server_busy": round(server_busy - server_before, 2),
            "peak_mb": round(peak),
            "largest_process": name,
        }
        started, before, server_before = now, busy, server_busy
    meter.end()
    if process.wait():
        raise SystemExit(f"{' '.join(command)}\nexited with {process.returncode}")
