"""What stands in the folder of an embedded engine, and who may touch it when.

    data/         chDB's database
    password      of the engine that runs now (mode 0600)
    server.json   where it answers, and its pid (mode 0600)
    server.log    what it printed
    owner.lock    held by the engine as long as it lives
    users.lock    shared by the commands that use the engine; the engine takes it alone when the last has ended
    start.lock    held while somebody looks for the engine and starts it

The locks are flock(2): the kernel gives them back when a process ends, however it ends, so nothing has to be
cleaned up after a killed one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from raypipe.errors import ConfigError

PRIVATE = 0o600
_POLL_SECONDS = 0.02
_LONGEST_LOG = 1 << 20
_PID = re.compile(r"PID:\s*(\d+)")


@dataclass(frozen=True)
class State:
    """Where an engine answers.

    Attributes:
        url: its address.
        pid: its process.
        version: of raypipe; engines of another version may speak differently.
    """

    url: str
    pid: int
    version: str


@dataclass(frozen=True)
class Folder:
    """The folder of one embedded engine."""

    root: Path

    @classmethod
    def create(cls, path: Path) -> Folder:
        """The folder at `path`, made if it is missing.

        Raises:
            ConfigError: it can't be made, written or used by chDB.
        """
        root = path.expanduser().absolute()
        problem = f"The folder of the embedded engine cannot be used: {root}"
        if "?" in str(root):
            raise ConfigError(problem, found="a question mark in its name, which chDB reads as an option")
        if (root / "store").exists() and not (root / "server.json").exists():
            raise ConfigError(
                problem,
                found="a database that chDB was opened on directly",
                allowed="a new folder, or one that raypipe made",
                next_step=f"name another folder, or move this database to {root}/data of a new one",
            )
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(cls(root)._open("start.lock"))
        except OSError as error:
            raise ConfigError(problem, found=error.strerror, next_step="name a folder that you may write") from error
        return cls(root)

    @property
    def data(self) -> Path:
        """chDB's database."""
        return self.root / "data"

    @property
    def password(self) -> Path:
        """The file with the password."""
        return self.root / "password"

    @property
    def log(self) -> Path:
        """What the engine printed."""
        return self.root / "server.log"

    def _open(self, name: str) -> int:
        return os.open(self.root / name, os.O_RDWR | os.O_CREAT, PRIVATE)

    def lock(self, name: str, how: int, seconds: float = 0.0) -> int | None:
        """A file descriptor that holds a lock; None when others held it for all the time."""
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

    def read_state(self) -> State | None:
        """Where the engine says it answers; None when it has not said so."""
        try:
            return State(**json.loads((self.root / "server.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write_state(self, state: State) -> None:
        """Says where the engine answers."""
        self.write_private("server.json", json.dumps(asdict(state)) + "\n")

    def remove_state(self) -> None:
        """Says that the engine answers no more."""
        (self.root / "server.json").unlink(missing_ok=True)

    def write_private(self, name: str, text: str) -> None:
        """Replaces a file that only its owner may read; readers see the old text or the new one."""
        new = self.root / f".{name}.new"
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        new.replace(self.root / name)

    def foreign_owner(self, seconds: float) -> str | None:
        """The pid, as text, of a process that has chDB open on the data and is not our engine.

        Asked by who holds the owner's lock. An engine that is being killed gives back its locks one after the other,
        so one that is held counts only when it still is after a while.
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
        """A file descriptor that appends to the log; a long log begins anew."""
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE)
        if os.fstat(log).st_size > _LONGEST_LOG:
            os.ftruncate(log, 0)
        return log

    def last_log_lines(self, count: int = 5) -> str:
        """The end of what the engine printed."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-count:])
