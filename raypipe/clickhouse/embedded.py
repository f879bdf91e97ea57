"""The embedded engine's life, seen from the commands that use it.

`open_embedded(path)` joins the engine on that folder, or starts it as a process of its own. Commands on the same
folder share it; it ends with the last of them, also when they are killed. `raypipe.clickhouse.facade` says what stands
in the folder and how the protocol differs from a server's.
"""

from __future__ import annotations

import fcntl
import http.client
import importlib.util
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import raypipe
from raypipe.clickhouse.endpoint import PASSWORD_VARIABLE, Endpoint
from raypipe.clickhouse.facade.folder import Folder, State
from raypipe.errors import Busy, ConfigError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 60.0
# An engine that is alive but busy may be slow to answer; one that is stopped never does.
ANSWER_SECONDS = 15.0
_PING_SECONDS = 5.0
_POLL_SECONDS = 0.05
_DYING_SECONDS = 2.0
_NEEDED = ("chdb", "starlette", "uvicorn", "lz4", "zstandard")


class Lease:
    """One user's hold on an embedded engine, which lives at least as long.

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
        """Lets go of the engine; the last one to do so ends it."""
        held, self._held = self._held, None
        if held is not None:
            os.close(held)


def open_embedded(path: Path) -> Lease:
    """Starts the engine on a folder, or joins the one that runs there.

    Raises:
        ConfigError: the folder can't be used, or a package is missing.
        Busy: another process holds the folder and doesn't answer.
        Unreachable: the engine didn't start; the message has the end of its log.
    """
    _require_packages()
    folder = Folder.create(path)
    held = folder.lock("users.lock", fcntl.LOCK_SH, START_SECONDS)
    if held is None:
        raise _busy(folder, "is stopping and does not come to an end")
    try:
        with _start_lock(folder):
            state = _join_or_start(folder)
    except BaseException:
        os.close(held)
        raise
    return Lease(Endpoint(state.url, password_file=str(folder.password)), state.pid, held)


def serve(path: Path, announce: Callable[[Endpoint], None]) -> None:
    """Keeps the engine on a folder up until SIGINT or SIGTERM; commands that use it then may finish.

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
            while not ended.wait(_POLL_SECONDS * 10):
                if not _is_alive(lease.pid):
                    raise _failed(Folder.create(path), "ended")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_packages() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            "The embedded engine needs packages that are not installed",
            found=f"no {', '.join(missing)}",
            allowed="the extra `local`, or the URL of a ClickHouse server",
            next_step="pip install chdb starlette uvicorn lz4 zstandard (the extra `local`)",
        )


@contextmanager
def _start_lock(folder: Folder) -> Iterator[None]:
    held = folder.lock("start.lock", fcntl.LOCK_EX, START_SECONDS + ANSWER_SECONDS)
    if held is None:
        raise _busy(folder, "is being started by another command that does not come to an end")
    try:
        yield
    finally:
        os.close(held)


def _join_or_start(folder: Folder) -> State:
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        owner = folder.lock("owner.lock", fcntl.LOCK_EX)
        if owner is not None:
            return _start(folder, owner)
        state = folder.read_state()
        if state is not None and state.version == raypipe.__version__ and _answers(folder, state):
            return state
        if time.monotonic() >= deadline:
            raise _busy(folder, "is held by an engine that does not answer" + _other_version(state))
        time.sleep(_POLL_SECONDS)


def _other_version(state: State | None) -> str:
    if state is None or state.version == raypipe.__version__:
        return ""
    return f" this version (it is of raypipe {state.version}, this is {raypipe.__version__})"


def _answers(folder: Folder, state: State) -> bool:
    """Whether the engine at this address accepts the folder's password and runs a query."""
    address = urlsplit(state.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_PING_SECONDS)
    try:
        password = folder.password.read_text(encoding="utf-8").strip()
        connection.request("POST", "/", "SELECT 1", {"X-ClickHouse-User": "default", "X-ClickHouse-Key": password})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _start(folder: Folder, owner: int) -> State:
    """Starts the engine's process, which inherits the owner's lock."""
    try:
        pid = folder.foreign_owner(_DYING_SECONDS)
        if pid is not None:
            raise _busy(folder, "is open in a process that uses chDB directly", pid)
        folder.remove_state()
        ready, told = os.pipe()
        try:
            process = _spawn(folder, owner, told)
        finally:
            os.close(told)
    finally:
        os.close(owner)
    # Nobody else would take the exit status of an engine that ends before this process.
    threading.Thread(target=process.wait, daemon=True).start()
    try:
        # It answers, or it ends and its side of the pipe closes.
        is_told, _, _ = select.select([ready], [], [], START_SECONDS)
        state = folder.read_state() if is_told and os.read(ready, 16) else None
    finally:
        os.close(ready)
    if state is None:
        process.kill()
        raise _failed(folder, "did not start")
    return state


def _spawn(folder: Folder, owner: int, told: int) -> subprocess.Popen[bytes]:
    package = str(Path(raypipe.__file__).parent.parent)
    environment = {name: value for name, value in os.environ.items() if name != PASSWORD_VARIABLE}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
    entry = "raypipe.clickhouse.server"
    # -P: a module in the engine's folder must not take the place of a real one.
    command = [sys.executable, "-P", "-m", entry, str(folder.root), "--owner", str(owner), "--ready", str(told)]
    log = folder.open_log()
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(owner, told),
            start_new_session=True,
            cwd=folder.root,
            env=environment,
        )
    finally:
        os.close(log)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _busy(folder: Folder, what: str, pid: str | None = None) -> Busy:
    if pid is None:
        state = folder.read_state()
        pid = str(state.pid) if state else "unknown"
    return Busy(
        f"The embedded engine's folder {folder.root} {what}",
        found=f"process {pid}",
        allowed="a folder that is free, or held by an engine of this version",
        next_step=f"wait for process {pid} or end it (kill {pid}), or name another folder with --url chdb:PATH",
    )


def _failed(folder: Folder, what: str) -> Unreachable:
    return Unreachable(
        f"The embedded engine on {folder.root} {what}",
        found=folder.last_log_lines() or "nothing in its log",
        next_step=f"read {folder.log}",
    )
