"""Test the statements for one server and for a cluster as text, without a cluster."""

from __future__ import annotations

import pytest

from raypipe.clickhouse.topology import Topology

ONE = Topology()
CLUSTER = Topology("news", shards=2)
REPLICAS = Topology("news")
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


def test_one_server_swaps_by_one_statement() -> None:
    assert ONE.replace("t", "w", "abc") == [("ALTER TABLE `t` REPLACE PARTITION ID 'abc' FROM `w`", {})]
    assert ONE.move("t", "w", "abc") == [("ALTER TABLE `w` MOVE PARTITION ID 'abc' TO TABLE `t`", {})]


def test_replicas_of_one_shard_swap_as_one_server_does_and_follow_by_themselves() -> None:
    assert REPLICAS.replace("t", "w", "abc") == ONE.replace("t", "w", "abc")
    assert REPLICAS.move("t", "w", "abc") == ONE.move("t", "w", "abc")
    assert REPLICAS.attach("w", "t", "abc") == ONE.attach("w", "t", "abc")
    assert REPLICAS.fill("w", "a", "SELECT a FROM `s`") == ONE.fill("w", "a", "SELECT a FROM `s`")
    assert REPLICAS.delete("t", "a = 1") == ONE.delete("t", "a = 1")
    assert REPLICAS.truncate("t") == "TRUNCATE TABLE `t`"
    assert (REPLICAS.everywhere("t"), REPLICAS.system("parts")) == ("`t`", "system.parts")


def test_a_cluster_catches_up_with_the_twin_before_it_swaps_on_every_replica() -> None:
    sync = ("SYSTEM SYNC REPLICA ON CLUSTER `news` `w`", {})
    replace = ("ALTER TABLE `t` ON CLUSTER `news` REPLACE PARTITION ID 'abc' FROM `w`", {"alter_sync": 2})
    move = ("ALTER TABLE `w` ON CLUSTER `news` MOVE PARTITION ID 'abc' TO TABLE `t`", {"alter_sync": 2})
    assert CLUSTER.replace("t", "w", "abc") == [sync, replace]
    assert CLUSTER.move("t", "w", "abc") == [sync, move]


def test_a_twin_gets_a_partition_s_files_from_its_target() -> None:
    assert ONE.attach("w", "t", "abc") == ("ALTER TABLE `w` ATTACH PARTITION ID 'abc' FROM `t`", {})
    assert CLUSTER.attach("w", "t", "abc") == (
        "ALTER TABLE `w` ON CLUSTER `news` ATTACH PARTITION ID 'abc' FROM `t`",
        {"alter_sync": 2},
    )


def test_each_shard_fills_its_own_twin_from_its_own_rows() -> None:
    statements = CLUSTER.fill("w", "a", "SELECT a FROM `s`", ["h1:9000", "h2:9000"])
    assert statements == [
        f"INSERT INTO FUNCTION remote('{host}', currentDatabase(), 'w') (a)"
        f" SELECT a FROM remote('{host}', view(SELECT a FROM (\nSELECT a FROM `s`\n)))"
        for host in ("h1:9000", "h2:9000")
    ]
    assert ONE.fill("w", "a", "SELECT a FROM `s`") == ["INSERT INTO `w` (a) SELECT a FROM (\nSELECT a FROM `s`\n)"]


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
    assert REPLICAS.declared(DDL) == DDL.replace(" t\n", " t ON CLUSTER `news`\n").replace("= R", "= ReplicatedR")
    assert REPLICAS.declared("CREATE VIEW IF NOT EXISTS `v`\nAS SELECT 1") == (
        "CREATE VIEW IF NOT EXISTS `v` ON CLUSTER `news`\nAS SELECT 1"
    )
    assert REPLICAS.declared("CREATE DATABASE d") == "CREATE DATABASE d ON CLUSTER `news`"
    replicated = DDL.replace("= R", "= ReplicatedR")
    assert REPLICAS.declared(replicated).count("Replicated") == 1
    assert ONE.declared(DDL) == DDL


def test_a_database_that_spreads_its_ddl_gets_it_once_and_is_a_lock_itself() -> None:
    assert SPREADING.declared(DDL) == DDL.replace("= R", "= ReplicatedR")
    assert SPREADING.drop("t") == "DROP TABLE IF EXISTS `t` SYNC"
    assert SPREADING.lock("l", "me") == ONE.lock("l", "me")


def test_counts_on_a_cluster_see_all_shards_and_all_nodes() -> None:
    assert CLUSTER.everywhere("db.t") == "cluster('news', 'db', 't')"
    assert CLUSTER.everywhere("t") == "cluster('news', currentDatabase(), 't')"
    assert CLUSTER.system("parts") == "clusterAllReplicas('news', system.parts)"
    assert (ONE.everywhere("t"), ONE.system("parts")) == ("`t`", "system.parts")


def test_dropping_and_deleting_reach_every_node() -> None:
    assert CLUSTER.drop("t") == "DROP TABLE IF EXISTS `t` ON CLUSTER `news` SYNC"
    assert CLUSTER.drop_partition("t", 3) == ("ALTER TABLE `t` ON CLUSTER `news` DROP PARTITION 3", {"alter_sync": 2})
    assert ONE.drop("t") == "DROP TABLE IF EXISTS `t` SYNC"


@pytest.mark.parametrize(("topology", "on", "waits"), [(ONE, "", 0), (CLUSTER, " ON CLUSTER `news`", 2)])
def test_a_deletion_waits_for_the_replicas_of_a_cluster_alone(topology: Topology, on: str, waits: int) -> None:
    assert topology.delete("t", "a = 1") == (f"DELETE FROM `t`{on} WHERE a = 1", {"lightweight_deletes_sync": waits})
    assert topology.rewrite("t", "a = 1") == (f"ALTER TABLE `t`{on} DELETE WHERE a = 1", {"mutations_sync": waits})


def test_a_replicated_table_removes_its_outdated_parts_itself() -> None:
    assert ONE.settle("t") == ("ALTER TABLE `t` DROP PARTITION ID 'none'", {})
    assert CLUSTER.settle("t") is None


def test_the_name_of_a_cluster_is_quoted() -> None:
    with pytest.raises(Exception, match="news`"):
        Topology("news`; DROP").drop("t")
