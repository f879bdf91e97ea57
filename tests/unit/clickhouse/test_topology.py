"""Test the statements for one server and for a cluster as text, without a cluster."""

from __future__ import annotations

import pytest

from raypipe.clickhouse.topology import Topology

ONE = Topology()
CLUSTER = Topology("news")
SPREADING = Topology("news", spreads_ddl=True)


def test_a_run_s_table_on_one_server_remembers_its_inserts() -> None:
    assert ONE.create("s", "(a String)", order="tuple()", partition="slice", window=1000, keep=True) == (
        "CREATE TABLE IF NOT EXISTS `s` (a String) ENGINE = MergeTree PARTITION BY slice ORDER BY tuple()"
        " SETTINGS allow_nullable_key = 1, non_replicated_deduplication_window = 1000"
    )


def test_a_run_s_table_on_a_cluster_is_replicated_and_remembers_them_for_a_week() -> None:
    assert CLUSTER.create("s", "(a String)", order="tuple()", partition="slice", window=1000, keep=True) == (
        "CREATE TABLE IF NOT EXISTS `s` ON CLUSTER `news` (a String) ENGINE = ReplicatedMergeTree PARTITION BY slice"
        " ORDER BY tuple() SETTINGS allow_nullable_key = 1, replicated_deduplication_window = 1000,"
        " replicated_deduplication_window_seconds = 604800"
    )


def test_a_copied_population_takes_its_columns_from_the_query() -> None:
    assert ONE.create("c", "", order="(k)", tail=" EMPTY AS\nSELECT 1 AS k") == (
        "CREATE TABLE `c` ENGINE = MergeTree ORDER BY (k) SETTINGS allow_nullable_key = 1 EMPTY AS\nSELECT 1 AS k"
    )


@pytest.mark.parametrize(
    ("told", "made"),
    [
        ("ReplicatedMergeTree('/a/{shard}/t', '{replica}') ORDER BY k", "ReplicatedMergeTree() ORDER BY k"),
        (
            "ReplicatedReplacingMergeTree('/a/t', '{replica}', updated_at) PARTITION BY d ORDER BY k",
            "ReplicatedReplacingMergeTree(updated_at) PARTITION BY d ORDER BY k",
        ),
        ("ReplicatedMergeTree ORDER BY k", "ReplicatedMergeTree ORDER BY k"),
    ],
)
def test_a_twin_on_a_cluster_gets_a_path_of_its_own(told: str, made: str) -> None:
    assert CLUSTER.twin("w", "t", told, "churn") == (
        f"CREATE TABLE `w` ON CLUSTER `news` AS `t` ENGINE = {made} COMMENT 'churn'"
    )


def test_a_twin_on_one_server_is_made_like_its_target() -> None:
    assert ONE.twin("w", "db.t", "MergeTree ORDER BY k", "churn") == "CREATE TABLE `w` AS `db`.`t` COMMENT 'churn'"


def test_a_portion_has_its_target_s_engine_and_remembers_its_inserts() -> None:
    engine = "ReplacingMergeTree ORDER BY k SETTINGS index_granularity = 8"
    assert ONE.twin("w", "t", engine, "churn", {"non_replicated_deduplication_window": 7}) == (
        f"CREATE TABLE `w` AS `t` ENGINE = {engine}, non_replicated_deduplication_window = 7 COMMENT 'churn'"
    )


def test_a_lock_on_a_cluster_is_a_path_that_only_one_can_make() -> None:
    assert ONE.lock("l", "it's") == r"CREATE TABLE `l` (x UInt8) ENGINE = Null COMMENT 'it\'s'"
    path = "ReplicatedMergeTree('/raypipe/locks/news/{database}/l', 'lock') ORDER BY x"
    assert path in CLUSTER.lock("l", "it's")
    assert CLUSTER.forget_lock("d", "l") == "SYSTEM DROP REPLICA 'lock' FROM ZKPATH '/raypipe/locks/news/d/l'"


DDL = "CREATE TABLE IF NOT EXISTS t\n(\n    a String\n)\nENGINE = ReplacingMergeTree(v)\nORDER BY a"


def test_a_declared_table_is_created_on_every_node_and_replicated() -> None:
    assert CLUSTER.declared(DDL) == DDL.replace(" t\n", " t ON CLUSTER `news`\n").replace("= R", "= ReplicatedR")
    assert CLUSTER.declared("CREATE VIEW IF NOT EXISTS `v`\nAS SELECT 1") == (
        "CREATE VIEW IF NOT EXISTS `v` ON CLUSTER `news`\nAS SELECT 1"
    )
    assert CLUSTER.declared("CREATE DATABASE d") == "CREATE DATABASE d ON CLUSTER `news`"
    replicated = DDL.replace("= R", "= ReplicatedR")
    assert CLUSTER.declared(replicated).count("Replicated") == 1
    assert ONE.declared(DDL) == DDL


def test_a_database_that_spreads_its_ddl_gets_it_once_and_is_a_lock_itself() -> None:
    assert SPREADING.declared(DDL) == DDL.replace("= R", "= ReplicatedR")
    assert SPREADING.drop("t") == "DROP TABLE IF EXISTS `t` SYNC"
    assert SPREADING.lock("l", "me") == ONE.lock("l", "me")


def test_a_look_at_all_nodes_leaves_out_those_that_do_not_answer() -> None:
    assert CLUSTER.all_nodes("system.parts") == "clusterAllReplicas('news', system.parts)"
    assert CLUSTER.live_settings["skip_unavailable_shards"] == 1
    assert (ONE.all_nodes("system.parts"), ONE.live_settings) == ("system.parts", {})


def test_dropping_reaches_every_node() -> None:
    assert CLUSTER.drop("t") == "DROP TABLE IF EXISTS `t` ON CLUSTER `news` SYNC"
    assert ONE.drop("t") == "DROP TABLE IF EXISTS `t` SYNC"


def test_the_name_of_a_cluster_is_quoted() -> None:
    with pytest.raises(Exception, match="news`"):
        Topology("news`; DROP").drop("t")
