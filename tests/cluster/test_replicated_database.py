"""Test a database with the engine Replicated, which sends each CREATE and DROP to every node by itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from raypipe.clickhouse import cluster_checks
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import plan
from raypipe.clickhouse.statements import identifier
from tests.cluster.conftest import Replicas
from tests.cluster.equality import compare
from tests.cluster.nights import TwoNights, publisher_on
from tests.cluster.projects import project

NOT_REPLICATED = """
SELECT count() FROM system.tables
WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND engine NOT LIKE 'Replicated%'
"""


@contextmanager
def replicated_database(servers: tuple[Endpoint, ...]) -> Iterator[Replicas]:
    """Create a Replicated database on each replica, and drop it at the end."""
    name = f"spreading_{uuid.uuid4().hex[:8]}"
    alone = [replace(server, cluster=None) for server in servers]
    try:
        for server in alone:
            with Client(server) as admin:
                engine = f"Replicated('/clickhouse/databases/{name}', '{{shard}}', '{{replica}}')"
                admin.run(f"CREATE DATABASE {identifier(name)} ENGINE = {engine}")
        yield Replicas(tuple(replace(server, database=name) for server in servers))
    finally:
        for server in alone:
            with Client(server) as admin:
                admin.run(f"DROP DATABASE IF EXISTS {identifier(name)} SYNC")


@pytest.fixture(scope="module")
def spreading(servers: tuple[Endpoint, ...]) -> Iterator[Replicas]:
    with replicated_database(servers) as made:
        yield made


@pytest.fixture(scope="module")
def nights(spreading: Replicas, tmp_path_factory: pytest.TempPathFactory) -> TwoNights:
    return publisher_on(spreading, tmp_path_factory.mktemp("nights"))


def test_migrate_makes_replicated_tables_on_both_nodes(nights: TwoNights) -> None:
    for number in (1, 2):
        with nights.replicas.client(number) as client:
            assert (plan(client).created, plan(client).problems) == ((), ())
            cluster_checks.require_usable(client)
            assert client.value(NOT_REPLICATED) == 0


def test_runs_through_either_replica_replace_each_other(nights: TwoNights) -> None:
    for number in (1, 2):
        with nights.through(number) as night:
            run_id = night.score()
        nights.assert_exact(run_id)


def test_commands_of_two_nights_leave_the_same_on_both_nodes(servers: tuple[Endpoint, ...], tmp_path: Path) -> None:
    with replicated_database(servers) as made, made.client(1) as one, made.client(2) as other:
        publisher = project(tmp_path, str(made.first), str(made.first.cluster))
        assert publisher.run("migrate")["differences"] == []
        publisher.run("demo", "--users", "1000")
        for node in made.nodes:
            night = publisher.run("nightly", "--only", "churn", url=str(node))
            assert [(step["status"], step["verified"]) for step in night["pipelines"]] == [
                ("done", None),
                ("done", True),
            ]
        assert compare(one, other).differences == {}


def test_a_table_is_on_the_other_node_when_its_create_returns(spreading: Replicas) -> None:
    with spreading.client(1) as one, spreading.client(2) as other:
        for number in range(10):
            name = f"letters_{number}"
            one.run(one.topology.create(name, "(a String)", order="a"))
            assert other.value(f"SELECT is_readonly FROM system.replicas WHERE table = '{name}'") == 0
            one.insert_rows(name, [{"a": "x"}])
            assert other.rows(f"SELECT a FROM {name}") == [("x",)]
