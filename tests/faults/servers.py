"""Provide a ClickHouse that a test may kill, and copies of the fitted publisher to break.

The server is an embedded engine. If the session tests against a server and CLICKHOUSE_HTTP names a tool that
starts servers (`start|stop|kill --port PORT --path FOLDER`), that tool starts it.
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
# Tables that a run reads besides the features.
REGISTRY = ("ml_model_registry", "raypipe_aliases")
PATIENCE = 30


class Embedded:
    """An embedded engine in a process that a test may kill."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lease: Lease | None = None

    def start(self) -> Endpoint:
        """Start or restart it on its folder. Each start has a new address and password."""
        self._lease = open_embedded(self._folder)
        return self._lease.endpoint

    def kill(self) -> None:
        """End it at once, like a crash."""
        if self._lease is not None:
            os.kill(self._lease.pid, signal.SIGKILL)
            self.stop()

    def stop(self) -> None:
        """Release it, so that it ends."""
        if self._lease is not None:
            lease, self._lease = self._lease, None
            lease.close()
            _ended(lease.pid)


class Genuine:
    """A server started by CLICKHOUSE_HTTP."""

    def __init__(self, folder: Path, tool: str) -> None:
        self._folder = folder
        self._tool = tool
        self._port = _free_port()
        self._runs = False

    def start(self) -> Endpoint:
        """Start or restart it on its folder at the same address."""
        self._command("start", "--port", str(self._port), "--path", str(self._folder / "data"))
        self._runs = True
        return Endpoint.parse(f"http://default@127.0.0.1:{self._port}/default")

    def kill(self) -> None:
        """End it at once, like a crash."""
        self._end("kill")

    def stop(self) -> None:
        """End it."""
        self._end("stop")

    def _end(self, how: str) -> None:
        if self._runs:
            self._runs = False
            self._command(how, "--port", str(self._port))

    def _command(self, *arguments: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        # Its log and its pid file are in TMPDIR.
        known = {**os.environ, "TMPDIR": str(self._folder)}
        done = subprocess.run([self._tool, *arguments], env=known, capture_output=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stderr.decode()


@contextmanager
def own_server(folder: Path) -> Iterator[Embedded | Genuine]:
    """Yield an unstarted server of the session's kind, and end it afterwards."""
    server = Genuine(folder, TOOL) if TOOL else Embedded(folder)
    try:
        yield server
    finally:
        server.stop()


def copied(publisher: FittedPublisher, to: Endpoint, days: Sequence[date], *, monthly: bool = False) -> FittedPublisher:
    """Copy some days of the fitted publisher and its champion into another database.

    Args:
        publisher: The source, which is only read.
        to: The other database, on any server. It is created if missing.
        days: The snapshots to copy.
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
    """Run work in a thread and hold it at a request. After the block it has continued and ended."""
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
    """Wait until a process is gone."""
    pause = threading.Event()
    with suppress(ProcessLookupError):
        for _ in range(PATIENCE * 20):
            os.kill(pid, 0)
            pause.wait(0.05)
        raise AssertionError(f"process {pid} does not end")
