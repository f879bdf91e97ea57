"""Tell whether a process is gone, also where another process has got its number."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process, by the boot of its machine, its PID namespace, its number and the time of its start.

    Two containers may have one host name and the same numbers. Without /proc the texts are empty.
    """

    pid: int
    boot: str
    namespace: str
    started: str

    @property
    def is_near(self) -> bool:
        """Return whether the process runs, or ran, where its number means the same as here."""
        known = here()
        return bool(known.boot and known.namespace) and (self.boot, self.namespace) == (known.boot, known.namespace)

    @property
    def is_gone(self) -> bool:
        """Return whether the process has ended; False where that cannot be known from here."""
        if not self.is_near:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            # A process of another user.
            pass
        started = _started(self.pid)
        return bool(started and self.started) and started != self.started


def here() -> Process:
    """Return this process."""
    boot = namespace = ""
    with suppress(OSError):
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = str((PROC / "self/ns/pid").readlink())
    return Process(os.getpid(), boot, namespace, _started(os.getpid()))


def _started(pid: int) -> str:
    """Return when a process started, in ticks since the boot; '' where that cannot be read."""
    with suppress(OSError, IndexError):
        # The name in parentheses may contain spaces; the start is the 22nd field.
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    return ""
