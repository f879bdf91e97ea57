"""Test the doctor on a real server, healthy and broken."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta

import pytest

from raypipe import doctor
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.lock import Owner
from raypipe.clickhouse.schema import grants, leftovers, version
from raypipe.clickhouse.schema.leftovers import clean
from raypipe.clickhouse.schema.migrate import migrate, plan, schema
from raypipe.clickhouse.schema.needed import Needed, needed
from raypipe.clickhouse.statements import Statement, identifier, load_all
from raypipe.clickhouse.tables import describe_all
from raypipe.doctor import Check, examine
from raypipe.errors import ServerError
from raypipe.project import shipped

RUN = "churn_20260131_0badcafe"
OTHER = "clicks_20260131_00c0ffee"


EVERYTHING = Needed(schema())


def check(endpoint: Endpoint, name: str, needed: Needed = EVERYTHING) -> Check:
    return {one.name: one for one in examine(endpoint, needed)}[name]


def run_is(client: Client, run_id: str, status: str) -> None:
    client.run(f"INSERT INTO raypipe_runs (run_id, pipeline, status) VALUES ('{run_id}', 'churn', '{status}')")


def make(client: Client, *tables: str, comment: str = "") -> None:
    for table in tables:
        client.run(f"CREATE TABLE {identifier(table)} (x UInt8) ENGINE = Null COMMENT '{comment}'")


@pytest.mark.versions
def test_a_migrated_database_has_no_problem(client: Client) -> None:
    migrate(client)
    found = examine(client.endpoint, EVERYTHING, embedded=True)
    assert [one for one in found if one.status == "problem"] == []
    assert [one.name for one in found] == [
        *("connection", "version", "clocks", "disk of the server"),
        *("tables", "grants", "deduplication", "partitions", "leftovers"),
        *("Ray", "resources", "disk here", "shared memory", "embedded engine"),
    ]


def test_an_examination_changes_nothing(client: Client) -> None:
    make(client, f"raypipe_staging_{RUN}")
    examine(client.endpoint, EVERYTHING)
    assert set(describe_all(client)) == {f"raypipe_staging_{RUN}"}


def test_missing_tables_are_a_problem_with_the_command_that_helps(database: Endpoint) -> None:
    found = check(database, "tables")
    assert (found.status, found.next_step) == ("problem", "raypipe migrate")
    assert "raypipe_runs" in found.detail


def test_a_table_without_a_needed_column_is_a_problem_that_names_it(client: Client) -> None:
    migrate(client)
    client.run("ALTER TABLE ml_model_predictions DROP COLUMN batch_id")
    assert "ml_model_predictions: column batch_id is missing" in check(client.endpoint, "tables").detail


def test_only_the_tables_that_are_needed_have_to_exist(client: Client) -> None:
    own = needed(["sales"], [])
    migrate(client, own.declarations)
    assert check(client.endpoint, "grants", own).status == "ok"
    client.run("CREATE TABLE sales (x UInt8) ENGINE = Null")
    assert check(client.endpoint, "tables", own).status == "ok"
    assert check(client.endpoint, "tables").status == "problem"


def test_a_source_that_does_not_exist_is_a_problem_that_names_it(client: Client) -> None:
    own = needed(["sales"], [])
    migrate(client, own.declarations)
    found = check(client.endpoint, "tables", own)
    assert (found.status, "sales" in found.detail) == ("problem", True)


def test_grants_on_foreign_sources_and_targets_are_asked_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(client)
    asked: list[grants.Grant] = []
    monkeypatch.setattr(grants, "missing", lambda _, wanted: asked.extend(wanted))
    check(client.endpoint, "grants", replace(EVERYTHING, foreign=("crm", "sales"), targets=("sales",)))
    foreign = [str(grant) for grant in asked if grant.on.endswith((".crm", ".sales"))]
    database = client.endpoint.database
    assert foreign == [f"SELECT ON {database}.crm", f"SELECT, INSERT, ALTER DELETE ON {database}.sales"]


def test_a_missing_database_is_a_problem_with_the_command_that_helps(endpoint: Endpoint) -> None:
    found = check(replace(endpoint, database="raypipe_absent"), "database")
    assert (found.status, found.next_step) == ("problem", "raypipe migrate")
    assert "raypipe_absent" in found.detail


def test_a_server_that_does_not_answer_is_a_problem_and_the_machine_is_still_examined() -> None:
    found = {one.name: one.status for one in examine(Endpoint("http://127.0.0.1:9"), EVERYTHING)}
    assert found["connection"] == "problem"
    assert found["Ray"] == "ok"
    assert "tables" not in found


def test_a_server_too_old_is_refused_with_its_version_and_the_one_needed(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    version.require_version(client)
    monkeypatch.setattr(version, "MINIMUM", (99, 1))
    with pytest.raises(ServerError) as refused:
        plan(client)
    assert refused.value.found == client.version
    assert "99.1 or newer" in str(refused.value)
    assert check(client.endpoint, "version").status == "problem"


def test_a_clock_that_is_off_is_told_by_how_much(database: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 10)
    assert check(database, "clocks").status == "warning"
    monkeypatch.setattr(time, "time", lambda: real() + 100)
    found = check(database, "clocks")
    assert (found.status, "100" in found.detail or "99" in found.detail) == ("problem", True)


def test_a_table_with_too_many_partitions_is_named(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MANY_PARTITIONS", 2)
    client.run("CREATE TABLE crowded (a UInt8) ENGINE = MergeTree PARTITION BY a ORDER BY a")
    client.run("INSERT INTO crowded SELECT number FROM numbers(3)")
    found = check(client.endpoint, "partitions")
    assert (found.status, found.detail) == ("warning", "crowded has 3")


def test_tables_of_a_run_that_is_over_are_told(client: Client) -> None:
    migrate(client)
    run_is(client, RUN, "PUBLISHED")
    make(client, f"raypipe_staging_{RUN}")
    found = check(client.endpoint, "leftovers")
    assert found.status == "warning"
    assert f"raypipe_staging_{RUN}" in found.detail


def test_old_tables_of_a_run_without_an_end_are_told_with_what_ends_it(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(client)
    run_is(client, RUN, "RUNNING")
    make(client, f"raypipe_staging_{RUN}")
    assert check(client.endpoint, "leftovers").status == "ok"
    monkeypatch.setattr(doctor, "PATIENCE", timedelta(seconds=-1))
    found = check(client.endpoint, "leftovers")
    assert (found.status, f"raypipe_staging_{RUN}" in found.detail) == ("warning", True)
    assert "raypipe resume RUN" in found.next_step


def test_cleaning_drops_every_table_of_a_run_that_is_over_and_the_lock_of_its_dead_process(client: Client) -> None:
    migrate(client)
    run_is(client, RUN, "RUNNING")
    run_is(client, RUN, "PUBLISHED")
    made = [
        f"raypipe_{kind}_{RUN}" for kind in ("staging", "portion_t", "twin_ml_model_predictions", "explain", "snapshot")
    ]
    make(client, *made)
    gone = replace(Owner.here(RUN), started="0")
    make(client, "raypipe_lock_churn_e1", comment=json.dumps(asdict(gone)))
    before = set(describe_all(client))
    dropped = clean(client)
    assert set(dropped) == {*made, "raypipe_lock_churn_e1"}
    assert set(describe_all(client)) == before - set(dropped)


def test_cleaning_spares_a_running_run_and_a_young_unknown_one(client: Client) -> None:
    migrate(client)
    run_is(client, RUN, "RUNNING")
    make(client, f"raypipe_staging_{RUN}", f"raypipe_training_{OTHER}")
    assert clean(client) == ()


@pytest.fixture
def aged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Every table counts as old from the call on."""
    return lambda: monkeypatch.setattr(leftovers, "PATIENCE", timedelta(0))


def test_cleaning_drops_an_unknown_runs_table_once_it_is_old(client: Client, aged: Callable[[], None]) -> None:
    make(client, f"raypipe_training_{OTHER}")
    assert clean(client) == ()
    aged()
    assert clean(client) == (f"raypipe_training_{OTHER}",)


def test_a_database_that_keeps_no_times_does_not_make_its_tables_old(client: Client) -> None:
    place = f"{client.endpoint.database}_memory"
    client.run(f"CREATE DATABASE {place} ENGINE = Memory")
    try:
        with Client(replace(client.endpoint, database=place)) as memory:
            memory.run(f"CREATE TABLE raypipe_training_{OTHER} (x UInt8) ENGINE = Memory")
            (leftover,) = leftovers.leftovers(memory)
            assert (leftover.age, clean(memory)) == (None, ())
    finally:
        client.run(f"DROP DATABASE {place} SYNC")


@pytest.mark.parametrize("status", ["FAILED", "INTERRUPTED"])
def test_cleaning_spares_a_run_that_may_be_resumed(client: Client, aged: Callable[[], None], status: str) -> None:
    migrate(client)
    run_is(client, RUN, status)
    make(client, f"raypipe_staging_{RUN}")
    assert clean(client) == ()
    aged()
    assert clean(client) == (f"raypipe_staging_{RUN}",)


def test_cleaning_drops_a_lock_last_so_that_no_run_starts_before_all_else_is_gone(client: Client) -> None:
    migrate(client)
    run_is(client, RUN, "PUBLISHED")
    gone = replace(Owner.here(RUN), started="0")
    make(client, "raypipe_lock_churn_e1", comment=json.dumps(asdict(gone)))
    client.run(f"CREATE TABLE raypipe_staging_{RUN} (x UInt8) ENGINE = MergeTree ORDER BY x")
    client.run(f"INSERT INTO raypipe_staging_{RUN} VALUES (1)")
    with Client(client.endpoint, {"max_table_size_to_drop": 1}) as careful, pytest.raises(ServerError):
        clean(careful)
    assert {"raypipe_lock_churn_e1", f"raypipe_staging_{RUN}"} <= set(describe_all(client))


@pytest.mark.parametrize("statement", load_all(shipped() / "sql" / "grants.sql"), ids=lambda one: one.text[:60])
def test_the_server_understands_the_example_grants(client: Client, statement: Statement) -> None:
    client.rows(f"EXPLAIN AST {statement.text}")
