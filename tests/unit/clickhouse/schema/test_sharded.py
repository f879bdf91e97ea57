"""Test which tables each database of a sharded cluster gets."""

from __future__ import annotations

from raypipe.clickhouse.endpoint import Endpoint, Sharding
from raypipe.clickhouse.schema.migrate import schema
from raypipe.clickhouse.schema.sharded import databases

NODES = tuple(Endpoint(f"http://node{number}:8123", database="analytics_shard") for number in (1, 2))
SHARDING = Sharding("pair", "analytics", NODES)


def ddl() -> dict[tuple[str, str], dict[str, str]]:
    """Return the statements by node, database and table."""
    statements: dict[tuple[str, str], dict[str, str]] = {}
    for endpoint, declarations in databases(SHARDING, schema()):
        place = statements.setdefault((endpoint.url, endpoint.database), {})
        place.update({item.name: item.ddl for item in declarations})
    return statements


def test_every_table_and_view_is_in_each_database_of_each_node() -> None:
    wanted = {item.name for item in schema()}
    places = ddl()
    assert len(places) == 6
    assert all(wanted <= names.keys() for names in places.values())


def test_a_users_table_is_on_the_shards_and_spread_by_the_user() -> None:
    places = ddl()
    node = NODES[1].url
    assert "ENGINE = MergeTree" in places[node, "analytics_shard"]["customer_events"]
    for database in ("analytics", "analytics_home"):
        assert places[node, database]["customer_events"].endswith(
            "AS `analytics_shard`.`customer_events`"
            " ENGINE = Distributed('pair', 'analytics_shard', 'customer_events', sipHash64(user_id))"
        )


def test_a_ledger_is_at_home_and_rows_go_to_the_first_shard() -> None:
    places = ddl()
    node = NODES[1].url
    assert "ReplacingMergeTree" in places[node, "analytics_home"]["raypipe_runs"]
    for database in ("analytics", "analytics_shard"):
        assert places[node, database]["raypipe_runs"].endswith(
            "ENGINE = Distributed('pair', 'analytics_home', 'raypipe_runs', 0)"
        )


def test_users_views_send_one_set_to_all_shards() -> None:
    views = ddl()[NODES[0].url, "analytics"]
    assert "GLOBAL IN" in views["raypipe_current_predictions"]
    assert "FROM `raypipe_standing_ml_model_predictions`" in views["raypipe_current_predictions"]
