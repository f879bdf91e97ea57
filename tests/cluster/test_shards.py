"""Test raypipe on two real shards: its tables, a population on both, and one commit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from raypipe.clickhouse import nodes, sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.nodes import Node
from raypipe.clickhouse.schema.migrate import database_exists, migrate_at, plan_at
from raypipe.errors import ConfigError, GateRefused
from raypipe.project import shipped
from raypipe.score import gate, runs
from tests.cluster.shards import CLUSTER, USERS, Night, Shards
from tests.faults.small import DAY
from tests.integration.conftest import _few_users, _registered


def test_every_node_gets_every_table(shards: Shards) -> None:
    endpoint = shards.endpoint("tables")
    report = migrate_at(endpoint)
    assert not report.problems
    assert not migrate_at(endpoint).created
    by_node = []
    for number in (1, 2):
        with Client(shards.address(number, "tables")) as client:
            by_node.append(
                client.rows(
                    "SELECT database, name, engine FROM system.tables WHERE startsWith(database, 'tables') ORDER BY ALL"
                )
            )
    assert by_node[0] == by_node[1]
    engines = {(database, name): engine for database, name, engine in by_node[0]}
    assert engines["tables_shard", "customer_user_features"] == "MergeTree"
    assert engines["tables_home", "customer_user_features"] == "Distributed"
    assert engines["tables_home", "raypipe_runs"] == "ReplacingMergeTree"
    assert engines["tables_shard", "raypipe_runs"] == "Distributed"
    assert {engine for (database, _), engine in engines.items() if database == "tables"} == {"Distributed", "View"}


def test_a_table_that_differs_on_one_node_is_named(shards: Shards) -> None:
    endpoint = shards.endpoint("differing")
    migrate_at(endpoint)
    with Client(shards.address(2, "differing_shard")) as client:
        client.run("DROP TABLE users SYNC")
        client.run("CREATE TABLE users (user_id String) ENGINE = MergeTree ORDER BY tuple()")
    (first, *_) = plan_at(endpoint).problems
    assert first.table == f"users at {endpoint.sharding.shards[1].url.removeprefix('http://')}/differing_shard"


@pytest.mark.parametrize(
    ("there", "problem"),
    [({"version": "25.8.1.1"}, "different versions"), ({"clock": 1e9}, "The clocks of the nodes")],
)
def test_shards_that_differ_are_refused_before_a_table_is_made(
    shards: Shards, monkeypatch: pytest.MonkeyPatch, there: dict[str, Any], problem: str
) -> None:
    real = nodes.listed

    def listed(client: Client) -> list[Node]:
        return [node if node.is_here else replace(node, **there) for node in real(client)]

    endpoint, address = shards.endpoint("not_created"), shards.address(1, "default")
    monkeypatch.setattr(nodes, "listed", listed)
    with pytest.raises(ConfigError, match=problem):
        migrate_at(endpoint)
    assert not any(database_exists(shard) for shard in endpoint.sharding.shards)
    with (
        pytest.raises(ConfigError, match=problem),
        connected(str(address), address.password_file, cluster=CLUSTER),
    ):
        pass


def test_a_population_on_two_shards_is_published_where_it_is(night: Night) -> None:
    run_id = night.score()
    night.assert_exact(run_id)
    rows = [shard.value("SELECT count() FROM ml_model_predictions") for shard in sharding.shards(night.client)]
    assert min(rows) > 0
    assert sum(rows) == USERS
    assert {piece.shard for piece in night.manifest(run_id).slicing.slices} == {0, 1}
    assert night.left() == []


def test_every_node_shows_the_same_run(night: Night) -> None:
    first = night.score()
    second = night.score()
    assert night.status(first) == runs.SUPERSEDED
    night.assert_exact(second)
    assert night.seen() == {second: USERS}


def test_scores_are_those_of_one_server(shards: Shards, night: Night, tmp_path_factory: pytest.TempPathFactory) -> None:
    night.score()
    alone = replace(shards.address(1, "alone"), cluster=None)
    migrate_at(alone)
    columns = "company_id, brand_id, user_id, churn_probability, churn_risk_level, feature_importance"
    with Client(alone) as client:
        _few_users(client, USERS)
        model = _registered(client, shipped(), tmp_path_factory.mktemp("alone"))
        publisher = replace(night.publisher, endpoint=alone, artifacts=model.artifacts)
        Night(publisher, client, night.addresses).score("score.explain.rows=20")
        wanted = client.rows(f"SELECT {columns} FROM customer_churn_predictions ORDER BY ALL")
    night.score("score.explain.rows=20")
    sql = f"SELECT {columns} FROM raypipe_current_customer_churn_predictions ORDER BY ALL"
    assert night.client.rows(sql) == wanted
    assert sum(bool(row[-1]) for row in wanted) >= 20


class TestAKeyOnTwoShards:
    @pytest.fixture(autouse=True)
    def twice(self, night: Night) -> Iterator[None]:
        one, other = sharding.shards(night.client)
        rows = one.table(f"SELECT * FROM customer_user_features WHERE feature_date = '{DAY}' LIMIT 1")
        other.insert("customer_user_features", rows)
        yield
        (user,) = rows.column("user_id").to_pylist()
        other.run(f"DELETE FROM customer_user_features WHERE user_id = '{user}'")

    def test_the_run_is_refused(self, night: Night) -> None:
        with pytest.raises(GateRefused, match="entities more than once"):
            night.score()
        assert night.seen() == {}

    def test_without_the_count_over_all_shards_an_entity_is_published_twice(
        self, night: Night, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gate, "_distinct", lambda client, manifest, written, alone: manifest.source_rows)
        run_id = night.score()
        assert night.seen() == {run_id: USERS + 1}


def test_a_population_of_the_first_shard_alone_is_refused(night: Night) -> None:
    with pytest.raises(ConfigError, match="on the first shard alone"):
        sharding.require_sharded(night.client, "brands")
    sharding.require_sharded(night.client, "customer_user_features")
