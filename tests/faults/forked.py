"""Run commands as processes forked from a process that has imported raypipe: the imports take most of a short run."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.faults import disturbed
from tests.faults.actors import Command

_IMPORTED = ("tests.faults.disturbed", "raypipe.night", "raypipe.doctor", "raypipe.models.xgboost")


class Forked:
    """A forked process, with the methods of `subprocess.Popen` that `Command` needs."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        self.args = process.name
        self.pid = int(process.pid or 0)

    @property
    def returncode(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            TimeoutExpired: it has not ended.
        """
        self._process.join(timeout)
        code = self.returncode
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)


@contextmanager
def forked(log: Path, line: list[str], environment: Mapping[str, str]) -> Iterator[Command]:
    """Start a command line as a process, and kill it at the end."""
    process = _context().Process(target=_perform, args=(log, line, dict(environment)), name=" ".join(line[3:]))
    process.start()
    command = Command(Forked(process), log)
    try:
        yield command
    finally:
        command.kill()


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    return context


def _perform(log: Path, line: list[str], environment: Mapping[str, str]) -> None:
    os.setsid()
    for number, path in ((1, log.with_name(f"{log.name}.stdout")), (2, log)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    # Behind `python -m tests.faults.disturbed`.
    sys.argv[1:] = line[3:]
    disturbed.perform()
