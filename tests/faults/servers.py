"""A ClickHouse of a test's own, which it may kill, and copies of the fitted publisher to break."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date
from hashlib import sha256
from pathlib import Path
from xml.sax.saxutils import escape

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import Lease, open_embedded
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import identifier, load_all
from tests.conftest import FittedPublisher
from tests.faults.proxy import Rule

PUBLISHER_TABLES = Path(__file__).parents[1] / "publisher" / "schema.sql"
FEATURES = "customer_user_features"
# Tables that a run reads besides the features.
REGISTRY = ("ml_model_registry", "raypipe_aliases", "raypipe_artifacts")
PATIENCE = 30
TESTER = "tester"
LIMITED = "limited"


class Embedded:
    """An embedded engine in a process that may be killed, and that keeps its address and password when it is back."""

    def __init__(self, folder: Path, *, grants: Sequence[str] = (), filters: Mapping[str, str] | None = None) -> None:
        """Prepare the folder.

        Args:
            folder: The engine's folder.
            grants: All that a second user, `LIMITED`, may do.
            filters: Conditions by `database.table` for the rows that `LIMITED` sees.
        """
        self._folder = folder
        self._lease: Lease | None = None
        self._secret = folder / "secret"
        password = secrets.token_hex(16)
        users = user(TESTER, password) + (user(LIMITED, password, grants, filters=filters) if grants or filters else "")
        configured(folder, f"<http_port>{free_port()}</http_port>", users=users)
        self._secret.touch(mode=0o600)
        self._secret.write_text(password)

    def start(self) -> Endpoint:
        """Start the engine on its folder, or start it again."""
        self._lease = open_embedded(self._folder)
        return replace(self._lease.endpoint, user=TESTER, password_file=str(self._secret))

    def kill(self) -> None:
        """End the engine at once, as a crash would."""
        if self._lease is not None:
            os.kill(self._lease.pid, signal.SIGKILL)
            self.stop()

    def stop(self) -> None:
        """Let go of the engine, so that it ends."""
        if self._lease is not None:
            lease, self._lease = self._lease, None
            lease.close()
            _ended(lease.pid)


def user(
    name: str,
    password: str,
    grants: Sequence[str] = (),
    profile: str = "default",
    filters: Mapping[str, str] | None = None,
) -> str:
    """Return a user of users.xml, who may do everything where no grants are given."""
    seen = ""
    for place, condition in (filters or {}).items():
        database, table = place.split(".")
        seen += f"<{database}><{table}><filter>{escape(condition)}</filter></{table}></{database}>"
    granted = "".join(f"<query>{escape(grant)}</query>" for grant in grants)
    return f"""
        <{name}>
            <password_sha256_hex>{sha256(password.encode()).hexdigest()}</password_sha256_hex>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>{profile}</profile>
            <quota>default</quota>
            {f"<grants>{granted}</grants>" if granted else ""}
            {f"<databases>{seen}</databases>" if seen else ""}
        </{name}>
    """


def configured(folder: Path, config: str = "", *, users: str = "", profiles: str = "") -> None:
    """Add to the configuration of the engine that is to start on a folder."""
    accounts = f"<profiles>{profiles}</profiles><users>{users}</users>"
    for name, text in (("config.d", config), ("users.d", accounts)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "test.xml").write_text(f"<clickhouse>{text}</clickhouse>")


@contextmanager
def own_server(folder: Path) -> Iterator[Embedded]:
    """A server that is not started yet, and that ends at the latest here."""
    server = Embedded(folder)
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


def free_port() -> int:
    """Return a port that nobody listens on."""
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
