"""The embedded engine as the commands that use it see it.

Commands on the same folder share one engine. It is started for the first of them and ends with the last, also when
they are killed.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import threading
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType

from raypipe.clickhouse.embedded import start
from raypipe.clickhouse.embedded.folder import Folder
from raypipe.clickhouse.embedded.settings import USER
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.errors import ConfigError

PACKAGE = "chdb-core"
# The first whose extension can listen.
OLDEST = (26, 7)
_POLL_SECONDS = 0.5


class Lease:
    """A command's hold on an embedded engine, which lives at least as long.

    Attributes:
        endpoint: where the engine answers.
        pid: the engine's process.
    """

    def __init__(self, endpoint: Endpoint, pid: int, held: int) -> None:
        self.endpoint = endpoint
        self.pid = pid
        self._held: int | None = held

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the engine; it ends when nobody holds it any more."""
        held, self._held = self._held, None
        if held is not None:
            os.close(held)


def open_embedded(path: Path) -> Lease:
    """Start the engine on a folder, or join the engine that runs there.

    Raises:
        ConfigError: the folder can't be used, or a package is missing.
        Busy: another process holds the folder and doesn't answer.
        Unreachable: the engine didn't start; the message has the end of its log.
    """
    require_engine()
    folder = Folder.create(path)
    held = folder.lock("users.lock", fcntl.LOCK_SH, start.START_SECONDS)
    if held is None:
        raise start.busy(folder, "is stopping and does not come to an end")
    try:
        state = start.join_or_start(folder)
    except BaseException:
        os.close(held)
        raise
    return Lease(Endpoint(state.url, USER, password_file=str(folder.password)), state.pid, held)


def serve(path: Path, announce: Callable[[Endpoint], None]) -> None:
    """Keep the engine on a folder up until SIGINT or SIGTERM; commands that use it then may finish.

    Args:
        path: the engine's folder.
        announce: told where the engine answers.

    Raises:
        Unreachable: the engine ended meanwhile.
    """
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with open_embedded(path) as lease:
            announce(lease.endpoint)
            while not ended.wait(_POLL_SECONDS):
                if not _is_alive(lease.pid):
                    raise start.failed(Folder.create(path), "ended")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        # Another user's process may have the number of the engine that ended.
        return False
    return True


def require_engine() -> str:
    """Return the version of the package that holds the engine.

    Raises:
        ConfigError: the package is missing or too old.
    """
    try:
        installed = version(PACKAGE)
    except PackageNotFoundError:
        installed = ""
    if tuple(map(int, re.findall(r"\d+", installed)[:2])) < OLDEST:
        needed = f"{PACKAGE} {'.'.join(map(str, OLDEST))} or newer"
        raise ConfigError(
            f"The embedded engine needs {needed}",
            found=f"{PACKAGE} {installed}, which cannot listen" if installed else f"no {PACKAGE}",
            allowed=f"{needed}, or the URL of a ClickHouse server",
            next_step="pip install 'chdb-core>=26.7' (the extra `local`)",
        )
    return installed
