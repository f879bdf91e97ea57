"""Join the engine that runs on a folder, or start it."""

import fcntl
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import urllib3

import raypipe
from raypipe.clickhouse.embedded.folder import EngineState, Folder
from raypipe.clickhouse.embedded.settings import USER
from raypipe.clickhouse.endpoint import PASSWORD_VARIABLE
from raypipe.errors import Busy, Unreachable

START_SECONDS = 60.0
# An engine that is alive but busy may be slow to answer; a stopped engine never does.
ANSWER_SECONDS = 15.0
PING_SECONDS = 5.0
_POLL_SECONDS = 0.05
_DYING_SECONDS = 2.0
_PROCESS = "raypipe.clickhouse.embedded.process"


def join_or_start(folder: Folder) -> EngineState:
    """Return where the engine on a folder answers; the caller holds the users' lock.

    Raises:
        Busy: another process holds the folder and doesn't answer.
        Unreachable: the engine didn't start; the message has the end of its log.
    """
    with _start_lock(folder):
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            owner = folder.lock("owner.lock", fcntl.LOCK_EX)
            if owner is not None:
                return _start(folder, owner)
            state = folder.read_state()
            if state is not None and _answers(folder, state):
                return state
            if time.monotonic() >= deadline:
                raise busy(folder, "is held by an engine that does not answer")
            time.sleep(_POLL_SECONDS)


@contextmanager
def _start_lock(folder: Folder) -> Iterator[None]:
    held = folder.lock("start.lock", fcntl.LOCK_EX, START_SECONDS + ANSWER_SECONDS)
    if held is None:
        raise busy(folder, "is being started by another command that does not come to an end")
    try:
        yield
    finally:
        os.close(held)


def _answers(folder: Folder, state: EngineState) -> bool:
    """Return whether the engine at this address accepts the folder's password and runs a query."""
    try:
        password = folder.password.read_text(encoding="utf-8").strip()
        headers = {"X-ClickHouse-User": USER, "X-ClickHouse-Key": password}
        answer = urllib3.request(
            "POST", state.url, body="SELECT 1", headers=headers, timeout=PING_SECONDS, retries=False
        )
    except (OSError, urllib3.exceptions.HTTPError):
        return False
    return answer.status == HTTPStatus.OK


def _start(folder: Folder, owner: int) -> EngineState:
    """Start the engine's process, which inherits the owner's lock."""
    try:
        pid = folder.foreign_owner(_DYING_SECONDS)
        if pid is not None:
            raise busy(folder, "is open in a process that uses chDB directly", pid)
        folder.remove_state()
        process = _spawn(folder, owner)
    finally:
        os.close(owner)
    # Nobody else would take the exit status of an engine that ends before this process.
    threading.Thread(target=process.wait, daemon=True).start()
    assert process.stdout is not None
    with process.stdout as told:
        # Closed as soon as the engine answers or has ended.
        select.select([told], [], [], START_SECONDS)
    state = folder.read_state()
    if state is None:
        process.kill()
        raise failed(folder, "did not start")
    return state


def _spawn(folder: Folder, owner: int) -> subprocess.Popen[bytes]:
    package = str(Path(raypipe.__file__).parent.parent)
    environment = {name: value for name, value in os.environ.items() if name != PASSWORD_VARIABLE}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
    log = folder.open_log()
    try:
        return subprocess.Popen(
            # -P: a module in the engine's folder must not take the place of a real one.
            [sys.executable, "-P", "-m", _PROCESS, str(folder.root), str(owner)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=(owner,),
            # Ctrl-C on one command must not end the engine of the others.
            start_new_session=True,
            cwd=folder.root,
            env=environment,
        )
    finally:
        os.close(log)


def busy(folder: Folder, what: str, pid: str | None = None) -> Busy:
    """Return the error for a folder that another process holds."""
    if pid is None:
        state = folder.read_state()
        pid = str(state.pid) if state else "unknown"
    return Busy(
        f"The embedded engine's folder {folder.root} {what}",
        found=f"process {pid}",
        allowed="a folder that is free, or whose engine answers",
        next_step=f"wait for process {pid} or end it (kill {pid}), or name another folder with --url chdb:PATH",
    )


def failed(folder: Folder, what: str) -> Unreachable:
    """Return the error for an engine that isn't there, with the end of its log."""
    return Unreachable(
        f"The embedded engine on {folder.root} {what}",
        found=folder.last_log_lines() or "nothing in its log",
        next_step=f"read {folder.log}",
    )
