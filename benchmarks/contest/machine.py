"""What a stretch of time cost: core-seconds of the whole machine and of the server, and the server's peak memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from contest.processes import PROC, megabytes, read_status

LISTENING = "0A"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Measures a stretch of time, by Linux's counters.

    Attributes:
        server: the process that ClickHouse runs in.
    """

    server: int

    @property
    def cores(self) -> int:
        return len(os.sched_getaffinity(0))

    @contextmanager
    def measured(self) -> Iterator[dict[str, float]]:
        """Yields a document that is filled at the end: `busy` and `server_busy` core-seconds, `server_mb` at most."""
        used: dict[str, float] = {}
        # 5 sets the peak back to what is resident now: proc_pid_clear_refs(5).
        (PROC / str(self.server) / "clear_refs").write_text("5")
        machine, server = _busy(), self._server_busy()
        yield used
        used["busy"] = round(_busy() - machine, 2)
        used["server_busy"] = round(self._server_busy() - server, 2)
        used["server_mb"] = round(megabytes(read_status(self.server)["VmHWM"]), 1)

    def _server_busy(self) -> float:
        fields = (PROC / str(self.server) / "stat").read_text().rpartition(")")[2].split()
        # utime and stime are the 14th and the 15th field, of which two stand before the bracket.
        return (int(fields[11]) + int(fields[12])) / TICKS


def server_process(url: str) -> int:
    """The process on this machine that listens on a URL's port.

    Raises:
        SystemExit: none does, or it belongs to somebody else.
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
    raise SystemExit(f"no process of yours listens on port {port}: this benchmark needs the server on this machine")


def _open(folder: Path) -> Iterator[str]:
    try:
        for entry in folder.iterdir():
            yield os.readlink(entry)
    except OSError:
        # Somebody else's process, or one that ended meanwhile.
        return


def _busy() -> float:
    (line,) = re.findall(r"^cpu (.*)$", (PROC / "stat").read_text(), re.MULTILINE)
    user, nice, system, _, _, irq, softirq, *_ = map(int, line.split())
    return (user + nice + system + irq + softirq) / TICKS
