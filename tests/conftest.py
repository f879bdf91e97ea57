"""Fixtures: a real ClickHouse for every test that asks, and a real Ray for those that need one.

The server is the one RAYPIPE_TEST_URL names, or an embedded engine in a temporary folder. Each test gets a
database of its own on it; `publisher` is shared by the session and must not be written to.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import open_embedded
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import identifier

TEST_URL = "RAYPIPE_TEST_URL"
FAULTS = Path(__file__).parent / "faults"
PUBLISHER_USERS = 10_000
PUBLISHER_DAYS = 120
PUBLISHER_SEED = 1
PUBLISHER_LAST_DATE = date(2026, 1, 31)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Only a fault test has to say that it is fast; `make test` runs `-m fast`.
    for item in items:
        if FAULTS not in item.path.parents:
            item.add_marker(pytest.mark.fast)


@pytest.fixture(scope="session", autouse=True)
def _no_connection_from_outside() -> Iterator[None]:
    # A developer's own RAYPIPE_URL must never become the database that a test writes to.
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAYPIPE_URL", raising=False)
        if TEST_URL not in os.environ:
            patch.delenv("RAYPIPE_PASSWORD", raising=False)
        yield


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The ClickHouse that the session tests against."""
    url = os.environ.get(TEST_URL)
    if url:
        yield Endpoint.parse(url)
        return
    with open_embedded(tmp_path_factory.mktemp("clickhouse")) as lease:
        yield lease.endpoint


@contextmanager
def _fresh_database(server: Endpoint) -> Iterator[Endpoint]:
    name = f"raypipe_test_{uuid.uuid4().hex[:12]}"
    with Client(server) as admin:
        admin.run(f"CREATE DATABASE {identifier(name)}")
        try:
            yield replace(server, database=name)
        finally:
            admin.run(f"DROP DATABASE IF EXISTS {identifier(name)} SYNC")


@pytest.fixture
def database(endpoint: Endpoint) -> Iterator[Endpoint]:
    """A fresh, empty database, dropped after the test."""
    with _fresh_database(endpoint) as fresh:
        yield fresh


@pytest.fixture
def client(database: Endpoint) -> Iterator[Client]:
    """A client whose default database is the test's own."""
    with Client(database) as connected:
        yield connected


@pytest.fixture(scope="session")
def publisher(endpoint: Endpoint) -> Iterator[Endpoint]:
    """The synthetic publisher with 10,000 users and 120 days up to 2026-01-31. Shared: read only."""
    from raypipe.clickhouse.migrate import migrate
    from raypipe.demo.publisher import build

    with _fresh_database(endpoint) as filled:
        with Client(filled) as connected:
            migrate(connected)
            build(
                connected,
                users=PUBLISHER_USERS,
                days=PUBLISHER_DAYS,
                seed=PUBLISHER_SEED,
                last_date=PUBLISHER_LAST_DATE,
            )
        yield filled


@pytest.fixture(scope="session")
def ray_session(endpoint: Endpoint) -> Iterator[None]:
    """A local Ray with two CPUs, started once a session."""
    from raypipe import runtime

    with runtime.session(endpoint, cpus=2) as started:
        started.ready()
        yield


@dataclass(frozen=True)
class FittedPublisher:
    """A database with the synthetic publisher, whose churn model is fitted and champion.

    Tests may score and publish here; each looks at its own run alone. The features have tiny granules, so that
    a few thousand users make a dozen slices.
    """

    endpoint: Endpoint
    artifacts: Path

    @property
    def overrides(self) -> tuple[str, ...]:
        """Config overrides that every command on this publisher needs."""
        return (
            f"artifacts={self.artifacts}",
            "score.slice_rows=500",
            "score.explain.rows=20",
        )

    def environment(self) -> dict[str, str]:
        """The environment of a command in a process of its own."""
        known = {**os.environ, "RAYPIPE_URL": str(self.endpoint), "RAY_USAGE_STATS_ENABLED": "0"}
        if self.endpoint.password_file:
            known["RAYPIPE_PASSWORD_FILE"] = self.endpoint.password_file
        return known

    def command(self, *arguments: str) -> list[str]:
        """A raypipe command line with this publisher's overrides."""
        overrides = [part for item in self.overrides for part in ("--set", item)] if arguments[0] != "resume" else []
        return [sys.executable, "-m", "raypipe", *arguments, *overrides, "--json"]


@pytest.fixture(scope="session")
def fitted_publisher(
    endpoint: Endpoint, ray_session: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FittedPublisher]:
    """The synthetic publisher with 10,000 users in raypipe's own tables, fitted once a session."""
    from raypipe.clickhouse.migrate import migrate

    with _fresh_database(endpoint) as filled:
        with Client(filled) as connected:
            migrate(connected)
        yield fit_publisher(filled, tmp_path_factory.mktemp("artifacts"))


def fit_publisher(filled: Endpoint, artifacts: Path) -> FittedPublisher:
    """Fills the tables of a database and fits churn there; Ray must run."""
    from raypipe import nightly
    from raypipe.config.load import load_pipeline, shipped
    from raypipe.demo.publisher import build

    made = FittedPublisher(filled, artifacts)
    with Client(filled) as connected:
        _shrink_granules(connected, "customer_user_features")
        build(connected, users=PUBLISHER_USERS, days=PUBLISHER_DAYS, seed=PUBLISHER_SEED, last_date=PUBLISHER_LAST_DATE)
    loaded = load_pipeline("churn", shipped() / "configs", [*made.overrides, "evaluate.bootstrap=50"], environ={})
    outcome = nightly.fit(filled, loaded, None, lambda stage, done, total: None)
    assert outcome.fitted.decision.promote, outcome.fitted.decision.reason
    return made


def _shrink_granules(client: Client, table: str) -> None:
    ddl = client.value(f"SHOW CREATE TABLE {identifier(table)}")
    client.run(f"DROP TABLE {identifier(table)} SYNC")
    client.run(ddl.replace("index_granularity = 8192", "index_granularity = 64"))
