"""Test migrations on a real server, on an empty database and on a publisher's existing one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema import current_views, version
from raypipe.clickhouse.schema.differences import compare
from raypipe.clickhouse.schema.migrate import database_exists, migrate, migrate_at, plan, plan_at, schema
from raypipe.clickhouse.statements import identifier, load_all
from raypipe.clickhouse.tables import active_parts, describe, describe_all
from raypipe.errors import ServerError

PUBLISHER = load_all(Path(__file__).parents[2] / "publisher" / "schema.sql")
PUBLISHERS = [one for one in schema() if not one.name.startswith("raypipe_")]
OWN = tuple(one.name for one in schema() if one.name.startswith("raypipe_"))


@pytest.fixture
def unmade(endpoint: Endpoint) -> Iterator[Endpoint]:
    """An endpoint whose database does not exist yet; dropped at the end."""
    name = f"raypipe_test_{uuid.uuid4().hex[:12]}"
    yield replace(endpoint, database=name)
    with Client(endpoint) as client:
        client.run(f"DROP DATABASE IF EXISTS {identifier(name)} SYNC")


@pytest.fixture
def publishers(client: Client) -> Client:
    """A client on a database with the publisher's own tables and nothing of raypipe."""
    for statement in PUBLISHER:
        client.run(statement.text)
    return client


def ddl(client: Client) -> dict[str, str]:
    return dict(
        client.rows(
            "SELECT name, create_table_query FROM system.tables WHERE database = {database:String}",
            {"database": client.endpoint.database},
        )
    )


@pytest.mark.versions
def test_an_empty_database_gets_every_table_as_declared(client: Client) -> None:
    report = migrate(client)
    assert set(report.created) == {one.name for one in schema()}
    found = describe_all(client)
    assert set(found) == set(report.created)
    for one in schema():
        assert compare(found[one.name], one) == ()
        assert one.is_view or found[one.name].columns == one.table.columns


@pytest.mark.versions
def test_a_second_migration_creates_nothing(client: Client) -> None:
    migrate(client)
    before = ddl(client)
    report = migrate(client)
    assert (report.created, report.differences) == ((), ())
    assert ddl(client) == before


def test_the_publishers_tables_have_the_same_columns_types_and_defaults(publishers: Client) -> None:
    found = describe_all(publishers)
    assert {name: table.columns for name, table in found.items()} == {one.name: one.table.columns for one in PUBLISHERS}


def test_a_migrated_database_has_the_publishers_codecs_engines_keys_and_ttl(
    publishers: Client, unmade: Endpoint
) -> None:
    migrate_at(unmade)
    codecs = "SELECT table, name, compression_codec FROM system.columns WHERE database = {database:String} ORDER BY ALL"
    engines = (
        "SELECT name, engine, sorting_key, extract(engine_full, 'TTL (.*) SETTINGS') FROM system.tables"
        " WHERE database = {database:String} AND name NOT LIKE 'raypipe%' ORDER BY name"
    )
    theirs, ours = {"database": publishers.endpoint.database}, {"database": unmade.database}
    assert publishers.rows(engines, theirs) == publishers.rows(engines, ours)
    found = [row for row in publishers.rows(codecs, ours) if not row[0].startswith("raypipe_")]
    assert publishers.rows(codecs, theirs) == found


@pytest.mark.versions
def test_the_publishers_tables_are_left_exactly_as_they_are(publishers: Client) -> None:
    before = ddl(publishers)
    report = migrate(publishers)
    assert report.created == OWN
    after = ddl(publishers)
    assert {name: after[name] for name in before} == before


def test_the_publishers_monthly_partitions_are_told_and_stop_nothing(publishers: Client) -> None:
    report = migrate(publishers)
    told = {(difference.table, difference.what) for difference in report.differences}
    # Segments and their assignments have no partition of a run's own in either.
    daily = {one.name for one in schema() if one.is_published and "segment" not in one.name}
    assert told == {(name, "partition key") for name in daily}
    assert report.problems == ()


def test_a_plan_tells_what_is_missing_and_changes_nothing(publishers: Client) -> None:
    publishers.run("DROP TABLE brands SYNC")
    before = ddl(publishers)
    report = plan(publishers)
    assert report.created == ("brands", *OWN)
    assert len(report.present) == len(PUBLISHERS) - 1
    assert ddl(publishers) == before


def test_a_missing_column_is_a_problem_that_names_it_and_is_not_added(publishers: Client) -> None:
    publishers.run("ALTER TABLE ml_model_registry DROP COLUMN model_path")
    report = migrate(publishers)
    [problem] = report.problems
    assert (problem.table, problem.what, problem.found) == ("ml_model_registry", "column model_path", "missing")
    assert "model_path" not in ddl(publishers)["ml_model_registry"]


def test_a_column_of_another_type_is_told_with_both_types(publishers: Client) -> None:
    publishers.run("ALTER TABLE customer_user_features MODIFY COLUMN total_sessions UInt64")
    told = [one for one in plan(publishers).differences if one.what == "type of column total_sessions"]
    assert [(one.found, one.expected, one.severity) for one in told] == [("UInt64", "UInt32", "note")]


def test_another_engine_is_a_problem(client: Client) -> None:
    client.run("CREATE TABLE brands (brand_id String) ENGINE = MergeTree ORDER BY brand_id")
    assert ("brands", "engine", "MergeTree") in [(one.table, one.what, one.found) for one in plan(client).problems]


def test_a_missing_database_is_created(unmade: Endpoint) -> None:
    report = migrate_at(unmade)
    assert len(report.created) == len(schema())
    assert migrate_at(unmade).created == ()


def test_on_a_server_that_is_too_old_no_database_is_created(unmade: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "MINIMUM", (99, 1))
    with pytest.raises(ServerError, match="too old"):
        migrate_at(unmade)
    assert not database_exists(unmade)


def test_a_target_whose_runs_cannot_be_told_apart_gets_no_view(client: Client) -> None:
    client.run("CREATE TABLE scores (user_id String) ENGINE = MergeTree ORDER BY user_id")
    assert "raypipe_current_scores" not in migrate(client, targets=["scores"]).created


def test_a_plan_for_a_missing_database_does_not_create_it(unmade: Endpoint) -> None:
    assert len(plan_at(unmade).created) == len(schema())
    assert not database_exists(unmade)


def test_two_migrations_at_once_both_succeed(unmade: Endpoint) -> None:
    with ThreadPoolExecutor(4) as pool:
        for report in [pool.submit(migrate_at, unmade) for _ in range(4)]:
            report.result()
    assert plan_at(unmade).created == ()


def test_each_run_of_predictions_gets_a_partition_of_its_own(client: Client) -> None:
    migrate(client)
    client.run(
        "INSERT INTO ml_model_predictions (prediction_id, prediction_type, prediction_date)"
        " VALUES ('a', 'churn', '2026-01-30'), ('b', 'churn', '2026-01-31'), ('c', 'clicks', '2026-01-31')"
    )
    filled = client.rows(
        "SELECT partition, sum(rows) FROM system.parts WHERE active AND table = 'ml_model_predictions'"
        " AND database = currentDatabase() GROUP BY partition ORDER BY partition"
    )
    assert filled == [
        ("('churn','2026-01-30')", 1),
        ("('churn','2026-01-31')", 1),
        ("('clicks','2026-01-31')", 1),
    ]


def test_predictions_for_a_date_long_past_are_kept(client: Client) -> None:
    migrate(client)
    client.run("INSERT INTO customer_churn_predictions (user_id, prediction_date) VALUES ('a', '2001-01-01')")
    client.run("OPTIMIZE TABLE customer_churn_predictions FINAL")
    assert client.value("SELECT count() FROM customer_churn_predictions") == 1


def publish(client: Client, run_id: str, pipeline: str, status: str, sequence: int, day: str = "2026-01-31") -> None:
    # The later a run, the earlier its host's clock.
    client.run(
        "INSERT INTO raypipe_runs (run_id, pipeline, date, status, sequence, started_at)"
        f" VALUES ('{run_id}', '{pipeline}', '{day}', '{status}', {sequence}, '2026-02-01 00:00:{59 - sequence}')"
    )
    client.run(f"INSERT INTO ml_model_predictions (prediction_id, batch_id) VALUES ('of {run_id}', '{run_id}')")


@pytest.mark.versions
def test_the_view_of_current_predictions_follows_the_latest_published_run(client: Client) -> None:
    migrate(client)
    publish(client, "churn_1", "churn", "PUBLISHED", 1)
    publish(client, "churn_2", "churn", "PUBLISHED", 2)
    publish(client, "churn_3", "churn", "PUBLISHING", 3)
    publish(client, "clicks_1", "clicks", "PUBLISHED", 0)
    # A rerun of the day before.
    publish(client, "churn_4", "churn", "PUBLISHED", 4, "2026-01-30")
    seen = client.rows("SELECT prediction_id FROM raypipe_current_predictions ORDER BY prediction_id")
    assert seen == [("of churn_2",), ("of churn_4",), ("of clicks_1",)]


@pytest.mark.versions
def test_the_view_shows_the_committed_run_out_of_its_copy_while_a_later_run_is_swapped_in(client: Client) -> None:
    migrate(client)
    publish(client, "churn_1", "churn", "PUBLISHED", 1)
    copy = current_views.previous("ml_model_predictions", "churn_1", 2)
    client.run(f"CREATE TABLE {copy} AS ml_model_predictions")
    client.run(f"INSERT INTO {copy} SELECT * FROM ml_model_predictions")
    assert client.rows("SELECT prediction_id FROM raypipe_current_predictions") == [("of churn_1",)]
    client.run(
        "INSERT INTO raypipe_runs (run_id, pipeline, date, status, sequence, previous) VALUES"
        f""" ('churn_2', 'churn', '2026-01-31', 'PUBLISHING', 2, '{{"ml_model_predictions": "{copy}"}}')"""
    )
    client.run("TRUNCATE TABLE ml_model_predictions")
    assert client.rows("SELECT prediction_id FROM raypipe_current_predictions") == [("of churn_1",)]
    # A later run at work, which keeps nothing.
    publish(client, "churn_3", "churn", "RUNNING", 3)
    assert client.rows("SELECT prediction_id FROM raypipe_current_predictions") == [("of churn_1",)]
    publish(client, "churn_3", "churn", "FAILED", 3)
    publish(client, "churn_4", "churn", "PUBLISHED", 4)
    assert client.rows("SELECT prediction_id FROM raypipe_current_predictions") == [("of churn_4",)]


@pytest.mark.versions
def test_rows_without_a_run_are_not_those_of_a_pipeline_without_a_published_run(client: Client) -> None:
    migrate(client)
    publish(client, "churn_1", "churn", "FAILED", 1)
    client.run("INSERT INTO ml_model_predictions (prediction_id, batch_id) VALUES ('by hand', '')")
    assert client.rows("SELECT prediction_id FROM raypipe_current_predictions") == []


@pytest.mark.versions
def test_runs_of_one_second_are_told_apart_by_their_other_marks(client: Client) -> None:
    """Two pipelines that publish into a table without batch_id may begin in the same second."""
    migrate(client)
    for model, status in (("1", "PUBLISHED"), ("2", "FAILED")):
        client.run(
            "INSERT INTO raypipe_runs (run_id, pipeline, date, status, model_version, started_at) VALUES"
            f" ('churn{model}_1', 'churn{model}', '2026-01-31', '{status}', '{model}', '2026-02-01 00:00:00')"
        )
        client.run(
            "INSERT INTO customer_churn_predictions (user_id, prediction_date, model_version, created_at)"
            f" VALUES ('of {model}', '2026-01-31', '{model}', toDateTime('2026-02-01 00:00:00', 'UTC'))"
        )
    assert client.rows("SELECT user_id FROM raypipe_current_customer_churn_predictions") == [("of 1",)]


@pytest.mark.versions
def test_a_target_of_another_database_has_a_view_by_its_whole_name(client: Client) -> None:
    elsewhere = f"{client.endpoint.database}_sales"
    client.run(f"CREATE DATABASE {elsewhere}")
    try:
        # Of one name, so that only the database tells them apart.
        for first, place in ((1, elsewhere), (11, client.endpoint.database)):
            client.run(f"CREATE TABLE {place}.scores (batch_id String, id UInt8) ENGINE = MergeTree ORDER BY id")
            client.run(f"INSERT INTO {place}.scores VALUES ('churn_1', {first}), ('churn_2', {first + 1})")
        report = migrate(client, targets=[f"{elsewhere}.scores", "no_such_table"])
        assert report.created[-1] == f"raypipe_current_{elsewhere}_scores"
        publish(client, "churn_1", "churn", "PUBLISHED", 1)
        assert client.rows(f"SELECT id FROM {report.created[-1]}") == [(1,)]
    finally:
        client.run(f"DROP DATABASE {elsewhere} SYNC")


def test_a_published_run_that_is_superseded_leaves_the_view(client: Client) -> None:
    migrate(client)
    publish(client, "churn_1", "churn", "PUBLISHED", 1)
    client.run(
        "INSERT INTO raypipe_runs (run_id, pipeline, date, status)"
        " VALUES ('churn_1', 'churn', '2026-01-31', 'SUPERSEDED')"
    )
    assert client.rows("SELECT prediction_id FROM raypipe_current_predictions") == []


def test_a_table_is_described_with_its_keys_columns_and_settings(client: Client) -> None:
    client.run(
        "CREATE TABLE t (a UInt32 DEFAULT 7, b String, c UInt32 ALIAS a + 1) ENGINE = MergeTree"
        " PARTITION BY (a % 3, b) ORDER BY (b, cityHash64(a, b)) SETTINGS non_replicated_deduplication_window = 100"
    )
    client.run("INSERT INTO t (b) VALUES ('x'), ('y')")
    table = describe(client, "t")
    assert table is not None
    assert (table.name, table.engine, table.partition_key) == ("t", "MergeTree", "(a % 3, b)")
    assert table.sorting_key == ("b", "cityHash64(a, b)")
    assert table.settings["non_replicated_deduplication_window"] == "100"
    assert [(one.name, one.type, one.default_kind, one.default_expression) for one in table.columns] == [
        ("a", "UInt32", "DEFAULT", "7"),
        ("b", "String", "", ""),
        ("c", "UInt32", "ALIAS", "a + 1"),
    ]
    assert table.total_rows == 2


def test_a_sorting_key_of_one_column_is_that_column(client: Client) -> None:
    client.run("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY (a)")
    table = describe(client, "t")
    assert table is not None
    assert table.sorting_key == ("a",)


def test_a_table_of_another_database_is_described_by_its_full_name(endpoint: Endpoint, client: Client) -> None:
    client.run("CREATE TABLE t (a UInt32) ENGINE = Memory")
    with Client(replace(endpoint, database="system")) as elsewhere:
        assert describe(elsewhere, "t") is None
        table = describe(elsewhere, f"{client.endpoint.database}.t")
    assert table is not None
    assert (table.engine, table.sorting_key, table.settings) == ("Memory", (), {})


def test_a_table_without_rows_or_existence_has_no_parts(client: Client) -> None:
    client.run("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    assert active_parts(client, "t") == active_parts(client, "absent") == 0
    client.run("INSERT INTO t VALUES (1)")
    assert active_parts(client, "t") == 1
