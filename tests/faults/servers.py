"""Provide a ClickHouse that a test may kill, and copies of the fitted publisher to break.

The server is an embedded engine; or, where the session tests against a server and CLICKHOUSE_HTTP names a tool that
starts one (`start|stop|kill --port PORT --path FOLDER`), one of those.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date
from pathlib import Path

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import Lease, open_embedded
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import identifier, load_all
from tests.conftest import TEST_URL, FittedPublisher
from tests.faults.proxy import Rule

TOOL = os.environ.get("CLICKHOUSE_HTTP") if TEST_URL in os.environ else None
PUBLISHER_TABLES = Path(__file__).parents[1] / "publisher" / "schema.sql"
FEATURES = "customer_user_features"
# What a run reads besides the features.
REGISTRY = ("ml_model_registry", "raypipe_aliases")
PATIENCE = 30


class Embedded:
    """An embedded engine in a process that may be killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lease: Lease | None = None

    def start(self) -> Endpoint:
        """Starts it on its folder, or starts it again; the address and the password are new ones each time."""
        self._lease = open_embedded(self._folder)
        return self._lease.endpoint

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        if self._lease is not None:
            os.kill(self._lease.pid, signal.SIGKILL)
            self.stop()

    def stop(self) -> None:
        """Lets go of it, so that it ends."""
        if self._lease is not None:
            lease, self._lease = self._lease, None
            lease.close()
            _ended(lease.pid)


class Genuine:
    """A server that CLICKHOUSE_HTTP starts."""

    def __init__(self, folder: Path, tool: str) -> None:
        self._folder = folder
        self._tool = tool
        self._port = _free_port()
        self._runs = False

    def start(self) -> Endpoint:
        """Starts it on its folder, or starts it again at the same address."""
        self._command("start", "--port", str(self._port), "--path", str(self._folder / "data"))
        self._runs = True
        return Endpoint.parse(f"http://default@127.0.0.1:{self._port}/default")

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        self._end("kill")

    def stop(self) -> None:
        """Ends it."""
        self._end("stop")

    def _end(self, how: str) -> None:
        if self._runs:
            self._runs = False
            self._command(how, "--port", str(self._port))

    def _command(self, *arguments: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        # Its log and the file with its process id stand in TMPDIR.
        known = {**os.environ, "TMPDIR": str(self._folder)}
        done = subprocess.run([self._tool, *arguments], env=known, capture_output=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stderr.decode()


@contextmanager
def own_server(folder: Path) -> Iterator[Embedded | Genuine]:
    """A server of the kind that the session tests against, not started yet; ended at the latest here."""
    server = Genuine(folder, TOOL) if TOOL else Embedded(folder)
    try:
        yield server
    finally:
        server.stop()


def copied(publisher: FittedPublisher, to: Endpoint, days: Sequence[date], *, monthly: bool = False) -> FittedPublisher:
    """Some days of the fitted publisher and its champion in another database, made where it is missing.

    Args:
        publisher: is only read.
        to: the other database, on any server.
        days: the snapshots to copy.
        monthly: whether the targets are the publisher's, where a partition is a month, and not raypipe's, where it is
            a run.
    """
    with Client(replace(to, database="system")) as admin:
        admin.run(f"CREATE DATABASE IF NOT EXISTS {identifier(to.database)}")
    with Client(to) as client:
        if monthly:
            for statement in load_all(PUBLISHER_TABLES):
                client.run(statement.text)
        migrate(client)
        with Client(publisher.endpoint) as source:
            client.run(f"DROP TABLE {FEATURES} SYNC")
            client.run(source.value(f"SHOW CREATE TABLE {FEATURES}").replace(f"{source.endpoint.database}.", ""))
            rows = source.table(f"SELECT * FROM {FEATURES} WHERE feature_date IN {{days:Array(Date)}}", {"days": days})
            client.insert(FEATURES, rows)
            for table in REGISTRY:
                client.insert(table, source.table(f"SELECT * FROM {identifier(table)}"))
    return replace(publisher, endpoint=to)


@contextmanager
def while_held(rule: Rule, work: Callable[[], object]) -> Iterator[Future[object]]:
    """Work in a thread, up to the request that a rule holds; behind the block it has gone on and ended."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        try:
            while not rule.hit.wait(0.1):
                assert not running.done(), running.exception()
            yield running
        finally:
            rule.released.set()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _ended(pid: int) -> None:
    """Returns when a process is no more."""
    pause = threading.Event()
    with suppress(ProcessLookupError):
        for _ in range(PATIENCE * 20):
            os.kill(pid, 0)
            pause.wait(0.05)
        raise AssertionError(f"process {pid} does not end")
