"""Provide two shards, and the replicated cluster of the environment; `make test-cluster` runs these tests."""

from __future__ import annotations

import os
import shlex
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import identifier
from tests.cluster.shards import Night, Shards, night_on, two_shards

REPLICAS = "RAYPIPE_TEST_REPLICAS"
NAME = "RAYPIPE_TEST_CLUSTER_NAME"
CONTROL = "RAYPIPE_TEST_CLUSTER_CONTROL"
KEEPER = "keeper"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name in (REPLICAS, NAME) if not os.environ.get(name)]
    for item in items:
        if item.path.is_relative_to(os.path.dirname(__file__)):
            item.add_marker(pytest.mark.cluster)
            if missing and "servers" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=f"no cluster: {' and '.join(missing)} are not set"))


@dataclass(frozen=True)
class Replicas:
    """Two replicas of one shard, in a database of their own.

    Attributes:
        nodes: the endpoints of the replicas, each with the cluster's name.
    """

    nodes: tuple[Endpoint, ...]

    @property
    def first(self) -> Endpoint:
        """Return the first replica."""
        return self.nodes[0]

    def client(self, number: int) -> Client:
        """Connect to a replica, 1 or 2."""
        return Client(self.nodes[number - 1])

    def kill(self, what: int | str) -> None:
        """Kill a replica, or the Keeper."""
        _control("kill", what)

    def restart(self, what: int | str) -> None:
        """Start a replica or the Keeper again on its data, and return when it answers."""
        _control("restart", what)


def _control(command: str, what: int | str) -> None:
    own = os.environ.get(CONTROL)
    if not own:
        pytest.skip(f"no way to kill a node: {CONTROL} is not set")
    subprocess.run([*shlex.split(own), command, str(what)], check=True, timeout=120)


@pytest.fixture(scope="session")
def servers() -> tuple[Endpoint, ...]:
    """Return the replicas' endpoints in the database `default`."""
    return tuple(replace(Endpoint.parse(url), cluster=os.environ[NAME]) for url in os.environ[REPLICAS].split())


@pytest.fixture(scope="module")
def replicas(servers: tuple[Endpoint, ...]) -> Iterator[Replicas]:
    """Create a database of the module's own on every replica, and drop it at the end."""
    name = f"analytics_{uuid.uuid4().hex[:8]}"
    on_cluster = f"{identifier(name)} ON CLUSTER {identifier(str(servers[0].cluster))}"
    with Client(servers[0]) as admin:
        admin.run(f"CREATE DATABASE {on_cluster}")
        try:
            yield Replicas(tuple(replace(server, database=name) for server in servers))
        finally:
            admin.run(f"DROP DATABASE IF EXISTS {on_cluster} SYNC")


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    """Start two shards; a test that kills a shard starts it again."""
    with two_shards(tmp_path_factory.mktemp("shards")) as started:
        yield started


@pytest.fixture(scope="session")
def filled(shards: Shards, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """Create a publisher on two shards."""
    made = night_on(shards, tmp_path_factory.mktemp("artifacts"))
    yield made
    made.client.close()


@pytest.fixture
def night(filled: Night) -> Night:
    """Provide the publisher on two shards, without a run."""
    filled.empty()
    return filled
