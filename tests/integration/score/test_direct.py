"""Test which runs are direct, and that a chunk of theirs gets its target's shape on its way in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from raypipe.clickhouse.client import Client, content_token
from raypipe.errors import GateRefused
from raypipe.score import direct, gate, ledger, portions, publish, staging
from raypipe.score.ledger import Receipt, StagedSlice
from raypipe.score.manifest import PublishTarget
from raypipe.score.shapes import shapes

Make = Callable[..., Any]
MARKS = "{run_id:String} AS batch_id, {date:Date} AS prediction_date"
PLAIN = f"SELECT user_id, toFloat64(score) AS score, {MARKS}"
TARGET = PublishTarget("t", f"{PLAIN} FROM {{staging}}")
EXPLAINED = PublishTarget(
    "t",
    f"{PLAIN}, contributions AS why FROM {{staging}} AS staged"
    " ANY LEFT JOIN {explanations} AS explanation USING (company_id, brand_id, user_id)",
)


@pytest.fixture
def run(client: Client, scoring: Make) -> Any:
    """A direct run with a target of a partition per day; the engine would merge users away."""
    client.run(
        "CREATE TABLE t (company_id String, brand_id String, user_id String, score Float64, why String,"
        " batch_id String, prediction_date Date)"
        " ENGINE = ReplacingMergeTree PARTITION BY prediction_date ORDER BY (company_id, brand_id, user_id, batch_id)"
    )
    made = scoring().with_manifest(targets=(TARGET,), direct=True)
    staging.create(client, made.manifest)
    return made


@pytest.mark.versions
@pytest.mark.parametrize(
    "sql",
    [
        TARGET.sql,
        EXPLAINED.sql,
        f"{PLAIN} FROM {{staging}} WHERE score >= 0",
        f"SELECT * REPLACE (2 * score AS score) FROM ({TARGET.sql})",
        f"SELECT user_id, score, {MARKS}, {{level}} AS why FROM {{staging}}",
    ],
)
def test_a_statement_that_treats_each_row_by_itself_makes_the_run_direct(run: Any, sql: str) -> None:
    assert direct.is_possible(run.client, run.with_manifest(targets=(replace(TARGET, sql=sql),)).manifest)


@pytest.mark.versions
@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT user_id, avg(score) AS score, {MARKS} FROM {{staging}} GROUP BY user_id",
        f"SELECT max(score) AS score, {MARKS} FROM {{staging}}",
        f"SELECT DISTINCT user_id, {MARKS} FROM {{staging}}",
        f"{PLAIN} FROM {{staging}} ORDER BY score LIMIT 3",
        f"{PLAIN} FROM {{staging}} LIMIT 1 BY user_id",
        f"SELECT user_id, rank() OVER (ORDER BY score) AS score, {MARKS} FROM {{staging}}",
        f"SELECT user_id, toFloat64(rowNumberInAllBlocks()) AS score, {MARKS} FROM {{staging}}",
        f"SELECT user_id, toString(generateUUIDv4()) AS why, {MARKS} FROM {{staging}}",
        f"SELECT user_id, score / (SELECT max(score) FROM {{staging}}) AS score, {MARKS} FROM {{staging}}",
        f"SELECT user_id, score, (SELECT max(day) FROM people) = today() AS why, {MARKS} FROM {{staging}}",
        f"{PLAIN} FROM {{staging}} WHERE user_id IN (SELECT user_id FROM people)",
        f"{PLAIN} FROM {{staging}} AS s ANY LEFT JOIN people AS p USING (user_id)",
        f"SELECT user_id, {MARKS} FROM {{staging}} ARRAY JOIN [1, 2] AS n",
        f"{PLAIN} FROM {{staging}} UNION ALL {PLAIN} FROM {{staging}}",
    ],
)
def test_a_statement_that_needs_other_rows_or_tables_waits_for_the_end_of_the_run(run: Any, sql: str) -> None:
    assert not direct.is_possible(run.client, run.with_manifest(targets=(replace(TARGET, sql=sql),)).manifest)


def test_a_run_whose_rows_are_not_one_per_entity_is_not_direct(run: Any) -> None:
    for changes in ({"duplicates": "keep_one"}, {"targets": (TARGET, replace(TARGET, rows="2 * count()"))}):
        assert not direct.is_possible(run.client, run.with_manifest(**changes).manifest)


def narrow(run: Any, users: list[str], score: float = 0.5) -> pa.Table:
    count = len(users)
    return pa.table(
        {
            "company_id": ["c"] * count,
            "brand_id": ["b"] * count,
            "user_id": users,
            "sessions": pa.array(range(count), pa.uint32()),
            "score": pa.array([score] * count, pa.float32()),
            "slice": pa.array([0] * count, pa.uint32()),
            "chunk": pa.array([0] * count, pa.uint32()),
            "attempt": pa.array([7] * count, pa.uint64()),
        }
    )


def inserted(run: Any, piece: int, attempt: int, users: list[str], score: float = 0.5) -> str:
    """Insert users into a portion, and return its name."""
    (shape,) = shapes(run.client, run.manifest)
    shape.portion(run.client, piece, attempt)(narrow(run, users, score), content_token(*users))
    return portions.named(run.manifest, run.manifest.targets[0], piece, attempt)


@pytest.mark.versions
def test_a_chunk_gets_its_targets_shape_in_one_part_and_keeps_every_row(run: Any) -> None:
    users = [f"u{number % 70_000}" for number in range(150_000)]
    name = inserted(run, 0, 7, users)
    assert run.client.rows(f"SELECT count(), uniqExact(user_id), any(batch_id) FROM {name}") == [
        (150_000, 70_000, run.manifest.run_id)
    ]
    parts = f"SELECT count(), max(level) FROM system.parts WHERE active AND table = '{name}'"
    assert run.client.rows(parts + " AND database = currentDatabase()") == [(1, 0)]


@pytest.mark.versions
def test_a_portion_writes_one_file_of_all_columns_whatever_its_target_does(run: Any) -> None:
    run.client.run("ALTER TABLE t MODIFY SETTING min_bytes_for_wide_part = 0, min_rows_for_wide_part = 0")
    name = inserted(run, 0, 7, ["u1", "u2"])
    kinds = "SELECT DISTINCT part_type FROM system.parts WHERE active AND database = currentDatabase() AND table = "
    assert run.client.rows(f"{kinds}'{name}'") == [("Compact",)]
    prepared = publish.prepare(run.client, run.manifest, TARGET, [receipt(0, 7, 2)], 2, 1)
    assert run.client.rows(f"{kinds}'{prepared.twin}'") == [("Compact",)]
    run.client.run(f"ALTER TABLE t ATTACH PARTITION ALL FROM {prepared.twin}")
    run.client.run("OPTIMIZE TABLE t FINAL")
    assert run.client.rows(f"{kinds}'t'") == [("Wide",)]


@pytest.mark.versions
def test_the_parts_of_a_portion_and_a_twin_are_not_merged(run: Any) -> None:
    (shape,) = shapes(run.client, run.manifest)
    insert = shape.portion(run.client, 0, 7)
    for number in range(12):
        insert(narrow(run, [f"u{number}"]), str(number))
    prepared = publish.prepare(run.client, run.manifest, TARGET, [receipt(0, 7, 12)], 12, 1)
    portion = portions.named(run.manifest, TARGET, 0, 7)
    for table in (portion, prepared.twin):
        run.client.run(f"OPTIMIZE TABLE {table}")
        parts = f"SELECT count() FROM system.parts WHERE active AND database = currentDatabase() AND table = '{table}'"
        assert run.client.value(parts) == 12


@pytest.mark.versions
def test_a_chunk_that_is_sent_twice_stands_once(run: Any) -> None:
    (shape,) = shapes(run.client, run.manifest)
    insert = shape.portion(run.client, 0, 7)
    for token in ("a", "a", "b"):
        insert(narrow(run, ["u1", "u2"]), token)
    assert portions.counted(run.client, run.manifest) == {(0, 7): (4,)}


@pytest.mark.parametrize("score", [1.5, -0.1, float("nan"), float("inf")])
def test_the_server_refuses_a_score_that_its_worker_should_have_rejected(run: Any, score: float) -> None:
    with pytest.raises(GateRefused, match="outside the range of their kind"):
        inserted(run, 0, 7, ["u1"], score)
    assert portions.counted(run.client, run.manifest) == {(0, 7): (0,)}


def receipt(piece: int, attempt: int, rows: int) -> Receipt:
    return Receipt(piece, attempt, rows, 0, 0, 0, 0, 0, {}, 1.0, 2.0, 1.0, rows_direct=rows)


def test_what_no_receipt_counts_is_dropped_before_a_resume(run: Any) -> None:
    ledger.record(run.client, run.manifest.run_id, receipt(0, 7, 2))
    inserted(run, 0, 7, ["u1", "u2"])
    inserted(run, 0, 8, ["u1"])
    inserted(run, 1, 9, ["u5"])
    assert [item.attempt for item in ledger.reconcile(run.client, run.manifest)] == [7]
    assert portions.counted(run.client, run.manifest) == {(0, 7): (2,)}


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM {portion} WHERE user_id = 'u1'",
        "INSERT INTO {portion} SELECT * FROM {portion}",
        "DROP TABLE {portion} SYNC",
        "ALTER TABLE t ADD COLUMN remark String",
    ],
)
def test_a_slice_whose_portion_is_not_as_its_receipt_says_is_scored_again(run: Any, change: str) -> None:
    ledger.record(run.client, run.manifest.run_id, receipt(0, 7, 2))
    portion = inserted(run, 0, 7, ["u1", "u2"])
    run.client.run(change.format(portion=portion))
    assert ledger.reconcile(run.client, run.manifest) == []
    assert portions.counted(run.client, run.manifest) == {}


@pytest.mark.versions
def test_portions_are_linked_into_the_twin_and_keep_their_rows(run: Any) -> None:
    written = [receipt(0, 7, 2), receipt(1, 8, 1)]
    for piece, attempt, users in ((0, 7, ["u1", "u2"]), (1, 8, ["u5"]), (0, 9, ["stale"])):
        inserted(run, piece, attempt, users)
    for _ in range(2):
        prepared = publish.prepare(run.client, run.manifest, TARGET, written, 3, 1)
        assert run.client.rows(f"SELECT user_id FROM {prepared.twin} ORDER BY 1") == [("u1",), ("u2",), ("u5",)]
    counts = {attempt: item.portions for attempt, item in ledger.staged(run.client, run.manifest).items()}
    assert counts == {(0, 7): (2,), (0, 9): (1,), (1, 8): (1,)}
    staging.drop(run.client, run.manifest)
    assert portions.counted(run.client, run.manifest) == {}


def test_the_portions_of_other_runs_and_pipelines_stay(run: Any) -> None:
    others = [
        run.with_manifest(run_id="churn_20260131_00000002"),
        run.with_manifest(run_id=f"my_{run.manifest.run_id}", pipeline="my_churn"),
    ]
    for each in (run, *others):
        inserted(each, 0, 7, ["u1"])
    staging.drop(run.client, run.manifest)
    assert [len(portions.counted(each.client, each.manifest)) for each in (run, *others)] == [0, 1, 1]


def test_a_receipt_is_confirmed_by_every_portion(run: Any) -> None:
    known = receipt(0, 7, 2)
    assert ledger.confirms(StagedSlice(portions=(2, 2)), known)
    for portions_of in ((2, 1), (2, 0), (2, 4), ()):
        assert not ledger.confirms(StagedSlice(portions=portions_of), known)


def test_a_population_with_a_repeated_key_is_counted_as_such(run: Any) -> None:
    bound = {"date": run.manifest.date}
    counted = run.manifest.source_rows, run.manifest.source_checksum
    population = gate.population(run.client, run.manifest.select, bound, distinct=True)
    assert (population.rows, population.checksum, population.is_distinct) == (*counted, True)
    run.client.run("INSERT INTO people VALUES ('2026-01-31', 'c', 'b', 'u3', 77)")
    assert gate.population(run.client, run.manifest.select, bound, distinct=True).is_distinct is False
