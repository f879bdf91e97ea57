"""Measure core-seconds of the machine and of the server, and the server's peak memory, over a period."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from contest.processes import PROC, TICKS, busy_of, megabytes, read_status

LISTENING = "0A"


@dataclass(frozen=True)
class Usage:
    """Measure a period by Linux's counters.

    Attributes:
        server: The process id of ClickHouse.
    """

    server: int

    @property
    def cores(self) -> int:
        return len(os.sched_getaffinity(0))

    @contextmanager
    def measured(self) -> Iterator[dict[str, float]]:
        """Yield a dict that is filled at the end: core-seconds `busy` and `server_busy`, and the peak `server_mb`."""
        used: dict[str, float] = {}
        # 5 resets the peak to the current resident memory: proc_pid_clear_refs(5).
        (PROC / str(self.server) / "clear_refs").write_text("5")
        machine, server = _busy(), self.server_busy()
        yield used
        used["busy"] = round(_busy() - machine, 2)
        used["server_busy"] = round(self.server_busy() - server, 2)
        used["server_mb"] = round(megabytes(read_status(self.server)["VmHWM"]), 1)

    def server_busy(self) -> float:
        return busy_of(self.server)


def server_process(url: str) -> int:
    """Return the process on this machine that listens on a URL's port.

    Raises:
        SystemExit: No process of this user listens there.
    """
    port = urlsplit(url).port or 8123
    sockets = set()
    for table in ("tcp", "tcp6"):
        for line in (PROC / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{fields[9]}]")
    for entry in PROC.iterdir():
        if entry.name.isdigit() and sockets & set(_open(entry / "fd")):
            return int(entry.name)
    raise SystemExit(f"No process of this user listens on port {port}. Run the benchmark on the server's machine.")


def _open(folder: Path) -> Iterator[str]:
    try:
        for entry in folder.iterdir():
            yield os.readlink(entry)
    except OSError:
        # The process belongs to another user or has ended.
        return


def _busy() -> float:
    (line,) = re.findall(r"^cpu (.*)$", (PROC / "stat").read_text(), re.MULTILINE)
    user, nice, system, _, _, irq, softirq, *_ = map(int, line.split())
    return (user + nice + system + irq + softirq) / TICKS
