"""Test what a cluster that cannot be used gets: a refusal before anything is written, with node and table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from raypipe.clickhouse import nodes
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.nodes import Node
from raypipe.clickhouse.schema.migrate import database_exists, migrate, migrate_at, plan
from raypipe.errors import ConfigError
from tests.cluster.conftest import Replicas
from tests.cluster.projects import project


@pytest.fixture
def alone(replicas: Replicas) -> Iterator[Client]:
    """Provide the second replica without its cluster: its statements stay on the node."""
    migrate_at(replicas.first)
    with Client(replace(replicas.nodes[1], cluster=None)) as client:
        yield client
        client.run("DROP TABLE IF EXISTS raypipe_runs SYNC")
    with replicas.client(1) as first:
        first.run(first.topology.drop("raypipe_runs"))


def command(replicas: Replicas, number: int = 1, cluster: str | None = None) -> None:
    """Connect through a replica as every command does that reads or writes rows."""
    node = replicas.nodes[number - 1]
    with connected(str(node), cluster=cluster or node.cluster):
        pass


def name_of(client: Client, *, here: bool) -> str:
    return next(node.name for node in nodes.listed(client) if node.is_here is here)


def test_an_unknown_cluster_is_refused_with_those_that_are_known(replicas: Replicas) -> None:
    with pytest.raises(ConfigError, match="does not know the cluster nowhere") as refused:
        command(replicas, cluster="nowhere")
    assert str(replicas.first.cluster) in str(refused.value.allowed)


def test_a_migrated_database_has_the_same_tables_on_every_node(replicas: Replicas) -> None:
    migrate_at(replicas.first)
    for number in (1, 2):
        with replicas.client(number) as client:
            report = plan(client)
            assert (report.created, report.problems) == ((), ())
        command(replicas, number)


def test_a_table_that_a_node_lacks_is_named(replicas: Replicas, alone: Client, tmp_path: Path) -> None:
    alone.run("DROP TABLE raypipe_runs SYNC")
    with replicas.client(1) as first, replicas.client(2) as second:
        with pytest.raises(ConfigError, match="raypipe_runs") as refused:
            command(replicas)
        assert f"missing on {name_of(first, here=False)}" in str(refused.value.found)
        (problem,) = plan(first).problems
        assert (problem.table, problem.found) == ("raypipe_runs", "missing")
        # There a new table would have a path of its own.
        assert migrate(second).created == ()
        demo = project(tmp_path, str(replicas.first), str(replicas.first.cluster))
        assert "raypipe_runs" in demo.run("demo", "--users", "100", code=2)["error"]["problem"]
        assert first.value("SELECT count() FROM customer_sessions") == 0


def test_a_table_with_another_key_on_a_node_is_named(replicas: Replicas, alone: Client) -> None:
    ddl = str(alone.value("SHOW CREATE TABLE raypipe_runs"))
    other = ddl.replace("ORDER BY (pipeline, run_id)", "ORDER BY run_id")
    other = re.sub("'/[^']*'", "'/other/{database}/{table}/{shard}'", other, count=1)
    alone.run("DROP TABLE raypipe_runs SYNC")
    alone.run(other)
    with pytest.raises(ConfigError, match="raypipe_runs is not the same") as refused:
        command(replicas)
    with replicas.client(1) as first:
        assert f"sorting key is run_id on {name_of(first, here=False)}" in str(refused.value.found)


def test_a_table_that_is_not_replicated_is_a_problem(replicas: Replicas, alone: Client) -> None:
    with replicas.client(1) as first:
        first.run(first.topology.drop("raypipe_runs"))
        first.run("CREATE TABLE raypipe_runs (a String) ENGINE = MergeTree ORDER BY a")
        found = [str(problem) for problem in plan(first).problems if problem.what == "engine"]
        assert any("engine is MergeTree, not ReplicatedMergeTree" in text for text in found)


@pytest.mark.parametrize(
    ("there", "problem"),
    [({"version": "25.8.1.1"}, "different versions"), ({"clock": 1e9}, "The clocks of the nodes")],
)
def test_nodes_that_differ_are_named(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch, there: dict[str, object], problem: str
) -> None:
    real = nodes.listed

    def listed(client: Client) -> list[Node]:
        # One machine has one clock, and the harness one version.
        return [node if node.is_here else replace(node, **there) for node in real(client)]  # type: ignore[arg-type]

    monkeypatch.setattr(nodes, "listed", listed)
    with pytest.raises(ConfigError, match=problem) as refused:
        command(replicas)
    with replicas.client(1) as first:
        assert name_of(first, here=False) in str(refused.value.found)
    missing = replace(replicas.first, database="not_created")
    with pytest.raises(ConfigError, match=problem):
        migrate_at(missing)
    assert not database_exists(missing)
