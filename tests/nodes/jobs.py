"""Submit commands and programs to a Ray of several nodes, whose ClickHouse is behind a proxy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from raypipe.project import shipped
from tests import clusters
from tests.clusters import BIN, Head, Node
from tests.conftest import FittedPublisher
from tests.faults.actors import TITLE, Command, awaited
from tests.faults.proxy import Proxy, proxied

# Some twenty slices.
SMALL = ("score.slice_rows=500",)
PATIENCE = 400


@dataclass(frozen=True)
class Cluster:
    """A head with a token and the project that jobs bring along.

    Attributes:
        project: A folder with copies of the shipped configs and SQL, as a user has it.
    """

    head: Head
    proxy: Proxy
    project: Path

    @contextmanager
    def nodes(self, count: int) -> Iterator[list[Node]]:
        """Join nodes of one CPU each to the head, which runs jobs and no actors."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.head.joined(cpus=1)) for _ in range(count)]

    def raypipe(self, *arguments: str, overrides: tuple[str, ...] = ()) -> list[str]:
        """Return `raypipe submit` of a command."""
        return [sys.executable, "-m", "raypipe", "submit", self.head.address, "--", *_command(arguments, overrides)]

    def ray(self, *arguments: str, overrides: tuple[str, ...] = ()) -> list[str]:
        """Return Ray's own `ray job submit` of a command."""
        return self.program("-m", "raypipe", *_command(arguments, overrides))

    def program(self, *arguments: str) -> list[str]:
        """Return Ray's own `ray job submit` of a Python program."""
        submit = [str(BIN / "ray"), "job", "submit", "--address", self.head.address, "--working-dir", "."]
        return [*submit, "--", "python", *arguments]

    @contextmanager
    def submitted(self, log: Path, command: list[str]) -> Iterator[Command]:
        """Submit from a shell that knows only the token, in the project's folder."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env={
                    **{name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ},
                    "PATH": self.head.environment["PATH"],
                    "PYTHONPATH": self.head.environment["PYTHONPATH"],
                    "RAY_AUTH_MODE": "token",
                    "RAY_AUTH_TOKEN": self.head.token,
                },
                cwd=self.project,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started = Command(process, log)
        try:
            yield started
        finally:
            started.kill()


def _command(arguments: tuple[str, ...], overrides: tuple[str, ...]) -> list[str]:
    settings = [part for item in (*SMALL, *overrides) for part in ("--set", item)]
    return [*arguments, *settings]


@contextmanager
def cluster(publisher: FittedPublisher, folder: Path) -> Iterator[Cluster]:
    """Start a head without CPUs, whose jobs use the publisher's ClickHouse."""
    for name in ("configs", "sql"):
        shutil.copytree(shipped() / name, folder / name)
    user, database = publisher.endpoint.user, publisher.endpoint.database
    with proxied(publisher.endpoint.url) as proxy:
        settings = {
            "RAYPIPE_URL": f"http://{user}@{proxy.url.partition('://')[2]}/{database}",
            "RAYPIPE_PASSWORD": publisher.endpoint.password(),
        }
        with clusters.head(cpus=0, **settings) as head:
            yield Cluster(head, proxy, folder)


def used(command: Command, nodes: list[Node]) -> set[int]:
    """Wait for a command, and return the positions of the nodes that have had a scoring actor meanwhile."""
    seen: set[int] = set()

    def ended() -> bool:
        seen.update(at for at, node in enumerate(nodes) if node.workers(TITLE))
        return command.process.poll() is not None

    awaited(ended, "the end of a command", PATIENCE)
    return seen
