"""Provide a real ClickHouse to every test that asks for it, and a real Ray to those that need it.

The server is RAYPIPE_TEST_URL, or an embedded engine in a temporary folder. Each test gets a
database of its own. `publisher` is shared by the session and read only.
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
from raypipe.config.shared import CLICKHOUSE
from raypipe.fit import fit

TEST_URL = "RAYPIPE_TEST_URL"
# These tests are slow: in the first, only some are part of `make test`.
SLOW = {Path(__file__).parent / name for name in ("faults", "cluster", "nodes", "pages")}
PUBLISHER_USERS = 10_000
PUBLISHER_DAYS = 120
PUBLISHER_SEED = 1
PUBLISHER_LAST_DATE = date(2026, 1, 31)
# Rows of every month at once, and the older versions of some.
COPY = {"max_partitions_per_insert_block": 0, "optimize_on_insert": 0}


def _needs_ray(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "ray_session" in item.fixturenames


# Before xdist reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest group of `make test` begins first, and other tests begin when its Ray has ended.
    items.sort(key=lambda item: not _needs_ray(item))
    for item in items:
        # Only these tests need the mark `fast`. `make test` runs `-m fast`.
        if SLOW.isdisjoint(item.path.parents):
            item.add_marker(pytest.mark.fast)
        # Of the processes of `make test`, one alone starts a Ray. The other tests of a file share its fixtures.
        item.add_marker(pytest.mark.xdist_group("ray" if _needs_ray(item) else item.path.stem))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """End Ray behind the last test that needs it: runs would go on scoring on a Ray that is connected."""
    yield
    if _needs_ray(item) and nextitem is not None and not _needs_ray(nextitem):
        import ray

        ray.shutdown()


@pytest.fixture(scope="session", autouse=True)
def _nothing_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # A developer's own RAYPIPE_URL must never become the database that a test writes to.
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAYPIPE_URL", raising=False)
        if TEST_URL not in os.environ:
            patch.delenv("RAYPIPE_PASSWORD", raising=False)
        # Nor may copies of a developer's artifacts be found, or make room for those of a test.
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Return the session's ClickHouse."""
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
    """Create an empty database and drop it after the test."""
    with _fresh_database(endpoint) as fresh:
        yield fresh


@pytest.fixture
def client(database: Endpoint) -> Iterator[Client]:
    """Return a client on the test's own database."""
    with Client(database) as connected:
        yield connected


@pytest.fixture(scope="session")
def publisher(endpoint: Endpoint) -> Iterator[Endpoint]:
    """Return the synthetic publisher with 10,000 users and 120 days up to 2026-01-31. It is shared and read only."""
    from raypipe.clickhouse.schema.migrate import migrate
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
    """Start a local Ray with two CPUs, once per session."""
    from raypipe.cluster import runtime
    from raypipe.config.shared import RayConfig

    with runtime.session(endpoint, RayConfig(cpus=2)) as started:
        started.ready()
        yield


@dataclass(frozen=True)
class FittedPublisher:
    """A database with the synthetic publisher and a fitted churn champion.

    Attributes:
        artifacts: the place of the models: a folder, or `clickhouse`.

    Tests may score and publish here and look only at their own runs. The features have tiny granules, so
    a few thousand users make a dozen slices.
    """

    endpoint: Endpoint
    artifacts: Path

    @property
    def overrides(self) -> tuple[str, ...]:
        """Return the config overrides for every command on this publisher."""
        return (
            f"artifacts={self.artifacts}",
            "score.slice_rows=500",
            "score.explain.rows=20",
        )

    def environment(self) -> dict[str, str]:
        """Return the environment for a command in its own process."""
        known = {**os.environ, "RAYPIPE_URL": str(self.endpoint), "RAY_USAGE_STATS_ENABLED": "0"}
        if self.endpoint.password_file:
            known["RAYPIPE_PASSWORD_FILE"] = self.endpoint.password_file
        return known

    def command(self, *arguments: str) -> list[str]:
        """Return a raypipe command line with this publisher's overrides."""
        overrides = [part for item in self.overrides for part in ("--set", item)] if arguments[0] != "resume" else []
        return [sys.executable, "-m", "raypipe", *arguments, *overrides, "--json"]


@pytest.fixture(scope="session")
def fitted_publisher(publisher: Endpoint) -> Iterator[FittedPublisher]:
    """Fit a copy of the synthetic publisher in raypipe's own tables, models included, once per session."""
    from raypipe.clickhouse.schema.migrate import migrate
    from raypipe.demo.publisher import FILLED_TABLES, TRUTH_TABLES

    with _fresh_database(publisher) as filled:
        with Client(filled) as connected:
            migrate(connected)
            _shrink_granules(connected, "customer_user_features")
            for table in (*FILLED_TABLES, *TRUTH_TABLES):
                source = f"{identifier(publisher.database)}.{table}"
                connected.run(f"CREATE TABLE IF NOT EXISTS {table} AS {source}")
                connected.run(f"INSERT INTO {table} SELECT * FROM {source}", settings=COPY)
        yield fit_churn(FittedPublisher(filled, Path(CLICKHOUSE)))


def fit_publisher(filled: Endpoint, artifacts: Path) -> FittedPublisher:
    """Fill the tables of a database and fit churn there."""
    from raypipe.demo.publisher import build

    with Client(filled) as connected:
        _shrink_granules(connected, "customer_user_features")
        build(connected, users=PUBLISHER_USERS, days=PUBLISHER_DAYS, seed=PUBLISHER_SEED, last_date=PUBLISHER_LAST_DATE)
    return fit_churn(FittedPublisher(filled, artifacts))


# A third of the shipped rounds, which reaches nearly the same AUC.
QUICK = ("evaluate.bootstrap=50", "model.rounds=80", "model.params.eta=0.15")


def fit_churn(made: FittedPublisher) -> FittedPublisher:
    """Fit the first champion of churn."""
    from raypipe.config.load import load_pipeline
    from raypipe.project import shipped

    loaded = load_pipeline("churn", shipped() / "configs", [*made.overrides, *QUICK], environ={})
    outcome = fit.fit(made.endpoint, loaded, None, lambda stage, done, total: None)
    assert outcome.fitted.decision.promote, outcome.fitted.decision.reason
    return made


def _shrink_granules(client: Client, table: str) -> None:
    ddl = client.value(f"SHOW CREATE TABLE {identifier(table)}")
    client.run(client.topology.drop(table))
    client.run(client.topology.declared(ddl.replace("index_granularity = 8192", "index_granularity = 64")))
