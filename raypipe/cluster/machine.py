"""Count the CPUs that this process may use."""

import os
from contextlib import suppress
from pathlib import Path

# The quota and the period of a container's CPU time, in microseconds; the quota is `max` without a limit.
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cpus(quota: Path = _QUOTA) -> int:
    """Return the CPUs of this process: those it may run on, within a container's limit; at least 1."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        limit, period = map(int, quota.read_text(encoding="ascii").split())
        usable = min(usable, limit // period)
    return max(1, usable)
