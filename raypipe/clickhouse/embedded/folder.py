"""The folder of an embedded engine: its files, and the locks that say who may touch it.

    data/         ClickHouse's own folder
    config.xml    ClickHouse's configuration, and users.xml: written at each start
    password      of the engine that runs now
    server.json   where the engine answers, and its pid
    server.log    what the engine printed
    owner.lock    held by the engine as long as it lives
    users.lock    shared by the commands that use the engine; the engine takes it alone when the last has ended
    start.lock    held by a command that looks for the engine and starts it

Only the owner may read them. The locks are flock(2): the kernel gives them back when a process ends, however it ends,
so nothing has to be cleaned up after a killed one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from raypipe.errors import ConfigError

PRIVATE = 0o600
_POLL_SECONDS = 0.02
_LONGEST_LOG = 1 << 20
_SHOWN_LOG_LINES = 5
_PID = re.compile(r"PID:\s*(\d+)")
_PATTERN = re.compile(r"[?*{}]")


@dataclass(frozen=True)
class EngineState:
    """Where an engine answers.

    Attributes:
        url: its address.
        pid: its process.
    """

    url: str
    pid: int


@dataclass(frozen=True)
class Folder:
    """The folder of one embedded engine."""

    root: Path

    @classmethod
    def create(cls, path: Path) -> Folder:
        """Return the folder at a path, made if it is missing.

        Raises:
            ConfigError: the folder can't be made, written or used by ClickHouse.
        """
        root = path.expanduser().absolute()
        problem = f"The folder of the embedded engine cannot be used: {root}"
        if _PATTERN.search(str(root)):
            found = "a character in its path that ClickHouse reads as a pattern"
            raise ConfigError(problem, found=found, allowed="a path without any of ? * { }")
        if (root / "store").exists():
            raise ConfigError(
                problem,
                found="a database that chDB was opened on directly",
                allowed="a new folder, or one that raypipe made",
                next_step=f"name another folder, or move this database to {root}/data of a new one",
            )
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Everybody could add a user to the engine's configuration.
            if root.stat().st_mode & stat.S_IWOTH:
                raise ConfigError(problem, found="a folder that everybody may write", next_step=f"chmod 700 {root}")
            os.close(cls(root)._open("start.lock"))
        except OSError as error:
            raise ConfigError(problem, found=error.strerror, next_step="name a folder that you may write") from error
        return cls(root)

    @property
    def data(self) -> Path:
        """Return ClickHouse's own folder."""
        return self.root / "data"

    @property
    def password(self) -> Path:
        """Return the file with the password."""
        return self.root / "password"

    @property
    def log(self) -> Path:
        """Return the file with the engine's output."""
        return self.root / "server.log"

    def _open(self, name: str) -> int:
        return os.open(self.root / name, os.O_RDWR | os.O_CREAT, PRIVATE)

    def lock(self, name: str, how: int, seconds: float = 0.0) -> int | None:
        """Return a file descriptor that holds a lock, or None when others held the lock all the time."""
        return self._lock(self._open(name), how, seconds)

    def _lock(self, held: int, how: int, seconds: float) -> int | None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(held, how | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(held)
                    return None
                time.sleep(_POLL_SECONDS)
            except OSError:
                os.close(held)
                raise
            else:
                return held

    def wait_for_last_user(self) -> None:
        """Block until nobody uses the engine, and keep newcomers waiting until this process ends."""
        fcntl.flock(self._open("users.lock"), fcntl.LOCK_EX)

    def read_state(self) -> EngineState | None:
        """Return where the engine says it answers, or None when it has not said so."""
        try:
            return EngineState(**json.loads((self.root / "server.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write_state(self, state: EngineState) -> None:
        """Say where the engine answers."""
        self.write_private("server.json", json.dumps(asdict(state)) + "\n")

    def remove_state(self) -> None:
        """Say that the engine answers no more."""
        (self.root / "server.json").unlink(missing_ok=True)

    def write_private(self, name: str, text: str) -> None:
        """Replace a file that only its owner may read; readers see the old text or the new one."""
        new = self.root / f".{name}.new"
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        new.replace(self.root / name)

    def foreign_owner(self, seconds: float) -> str | None:
        """Return the pid, as text, of a process other than our engine that has the data open.

        The caller holds the owner's lock. A killed engine gives back its locks one after the other, so ClickHouse's
        own lock counts only when it is still held after some seconds.
        """
        status = self.data / "status"
        try:
            free = self._lock(os.open(status, os.O_RDWR), fcntl.LOCK_SH, seconds)
        except FileNotFoundError:
            return None
        if free is not None:
            os.close(free)
            return None
        match = _PID.search(status.read_text(encoding="utf-8", errors="replace"))
        return match[1] if match else "unknown"

    def open_log(self) -> int:
        """Return a file descriptor that appends to the log; a long log begins anew."""
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE)
        if os.fstat(log).st_size > _LONGEST_LOG:
            os.ftruncate(log, 0)
        return log

    def last_log_lines(self) -> str:
        """Return the end of what the engine printed."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_SHOWN_LOG_LINES:])
