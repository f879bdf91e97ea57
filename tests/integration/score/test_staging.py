"""Test staging and the ledger: inserts are recorded, and the data decides which slices are done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from raypipe.artifact.contract import key_hash
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.tables import describe
from raypipe.errors import DataError
from raypipe.score import ledger, staging


def test_staging_is_partitioned_by_slice_and_remembers_ten_times_its_chunks(scoring: Callable[..., Any]) -> None:
    run = scoring(source_rows=30_000, chunk_rows=100)
    staging.create(run.client, run.manifest)
    staging.check(run.client, run.manifest)
    table = describe(run.client, run.manifest.staging)
    assert table is not None
    assert table.partition_key == "slice"
    # 300 full chunks, and one more that may be short in each of the two slices.
    assert table.settings["non_replicated_deduplication_window"] == "3020"


def test_creating_staging_again_keeps_what_is_in_it(scoring: Callable[..., Any]) -> None:
    run = scoring()
    run.stage(0)
    staging.create(run.client, run.manifest)
    assert run.client.value(f"SELECT count() FROM {run.manifest.staging}") == 5


def test_a_chunk_that_is_sent_again_under_its_token_stands_once(scoring: Callable[..., Any]) -> None:
    run = scoring()
    staging.create(run.client, run.manifest)
    for _ in range(2):
        run.insert(0, ["u0", "u1"], attempt=1, chunk=0, token="t")
    assert run.client.value(f"SELECT count() FROM {run.manifest.staging}") == 2


@pytest.mark.parametrize("window", ["0", "1"])
def test_staging_that_forgets_its_tokens_is_refused(scoring: Callable[..., Any], window: str) -> None:
    run = scoring()
    staging.create(run.client, run.manifest)
    run.client.run(f"ALTER TABLE {run.manifest.staging} MODIFY SETTING non_replicated_deduplication_window = {window}")
    with pytest.raises(DataError, match="forgets its inserts") as refused:
        staging.check(run.client, run.manifest)
    assert f"window = {window}" in str(refused.value)


@pytest.mark.parametrize("look", [staging.check, staging.require])
def test_staging_that_is_gone_is_named(scoring: Callable[..., Any], look: Callable[..., None]) -> None:
    run = scoring()
    with pytest.raises(DataError, match="no longer exists"):
        look(run.client, run.manifest)


def test_what_each_slice_does_costs_one_statement(scoring: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    run = scoring()
    receipt = run.stage(0)
    sent: list[str] = []
    for name in ("query", "command", "raw_insert"):
        real = getattr(run.client._driver, name)
        monkeypatch.setattr(run.client._driver, name, lambda *a, real=real, **k: sent.append(a[0]) or real(*a, **k))
    staging.require(run.client, run.manifest)
    assert len(sent) == 1
    ledger.record(run.client, run.manifest.run_id, receipt)
    assert len(sent) == 2


def test_a_copied_population_that_is_gone_is_named(scoring: Callable[..., Any]) -> None:
    run = scoring()
    with pytest.raises(DataError, match="copy of the population"):
        staging.create(run.client, replace(run.manifest, snapshot="raypipe_snapshot_gone"))


def test_dropping_a_run_leaves_nothing_of_it_and_everything_else(scoring: Callable[..., Any]) -> None:
    run, other = scoring(), scoring("churn_20260131_00000002")
    kept = {other.manifest.staging, other.manifest.twin(other.manifest.targets[0], 2)}
    twins = {run.manifest.twin(run.manifest.targets[0], epoch) for epoch in (1, 2)}
    snapshot = f"raypipe_snapshot_{run.manifest.run_id}"
    for name in (run.manifest.staging, run.manifest.explanations, snapshot, *twins, *kept):
        run.client.run(f"CREATE TABLE {name} (x UInt8) ENGINE = MergeTree ORDER BY x COMMENT 'churn'")
    for _ in range(2):
        staging.drop(run.client, run.manifest)
    left = {row[0] for row in run.client.rows("SHOW TABLES LIKE 'raypipe%'")}
    assert left == {
        "raypipe_rejected_rows",
        "raypipe_counted_rejections",
        "raypipe_runs",
        "raypipe_aliases",
        "raypipe_slices",
        *kept,
    }


CARRIED = {
    "a": ("Nullable(String)", "if(number % 2, NULL, 'x')"),
    "b": ("LowCardinality(String)", "'it''s'"),
    "c": ("LowCardinality(Nullable(String))", "NULL"),
    "d": ("Date", "toDate('2149-06-06')"),
    "e": ("DateTime", "toDateTime('2026-03-29 01:30:00', 'UTC')"),
    "f": ("DateTime64(6, 'UTC')", "toDateTime64('2026-01-01 00:00:00.123456', 6, 'UTC')"),
    "g": ("Decimal(18, 4)", "toDecimal64('-1.2345', 4)"),
    "h": ("Bool", "true"),
    "i": ("UInt64", "18446744073709551615"),
    "j": ("Float64", "0.1"),
    "k": ("Array(String)", "['a', 'b']"),
    "l": ("Date32", "toDate32('1950-01-01')"),
    "m": ("Int8", "-1"),
}


@pytest.mark.parametrize("name", CARRIED)
def test_carried_columns_of_every_type_reach_staging_as_they_were_read(
    client: Client, scoring: Callable[..., Any], name: str
) -> None:
    kind, value = CARRIED[name]
    run = scoring(keys=("k",), key_types=("UInt64",), carry=("v",), carry_types=(kind,))
    client.run(f"CREATE TABLE source (k UInt64, v {kind}) ENGINE = MergeTree ORDER BY k")
    client.run(f"INSERT INTO source SELECT number, {value} FROM numbers(4)")
    staging.create(client, run.manifest)
    read = client.table("SELECT k, v FROM source")
    rows = read.append_column("score", pa.array([0.5] * 4, pa.float32()))
    for column, type_ in (("slice", pa.uint32()), ("chunk", pa.uint32()), ("attempt", pa.uint64())):
        rows = rows.append_column(column, pa.array([1] * 4, type_))
    client.insert(run.manifest.staging, rows, columns=rows.schema.names)
    difference = f"SELECT k, v FROM {run.manifest.staging} EXCEPT SELECT k, v FROM source"
    assert client.value(f"SELECT count() FROM ({difference})") == 0
    assert client.value(f"SELECT count() FROM {run.manifest.staging}") == 4


def test_staging_hashes_its_keys_as_the_source_query_does(scoring: Callable[..., Any]) -> None:
    run = scoring()
    run.stage(0)
    found = run.client.value(
        f"SELECT count() FROM {run.manifest.staging} WHERE key_hash = {key_hash(run.manifest.keys)}"
    )
    assert found == 5


def test_a_receipt_written_twice_is_one_row_of_the_ledger(scoring: Callable[..., Any]) -> None:
    run = scoring()
    receipt = run.stage(0)
    for _ in range(2):
        ledger.record(run.client, run.manifest.run_id, receipt)
    assert ledger.receipts(run.client, run.manifest.run_id) == [receipt]


def test_the_newest_receipt_of_a_slice_counts(scoring: Callable[..., Any]) -> None:
    run = scoring()
    first, second = run.stage(0, attempt=1), run.stage(0, attempt=2)
    ledger.record(run.client, run.manifest.run_id, first)
    ledger.record(run.client, run.manifest.run_id, second)
    assert ledger.receipts(run.client, run.manifest.run_id) == [second]


@pytest.mark.versions
def test_what_staging_confirms_is_kept_on_a_resume(scoring: Callable[..., Any]) -> None:
    run = scoring()
    written = run.staged()
    assert ledger.reconcile(run.client, run.manifest) == written
    assert run.client.value(f"SELECT count() FROM {run.manifest.staging}") == 10


@pytest.mark.versions
def test_a_slice_without_a_receipt_is_dropped_and_done_again(scoring: Callable[..., Any]) -> None:
    run = scoring()
    receipt = run.stage(0, attempt=1)
    ledger.record(run.client, run.manifest.run_id, receipt)
    run.stage(1, attempt=2)
    assert ledger.reconcile(run.client, run.manifest) == [receipt]
    assert run.client.rows(f"SELECT DISTINCT slice FROM {run.manifest.staging}") == [(0,)]


def test_a_receipt_without_its_rows_does_not_count(scoring: Callable[..., Any]) -> None:
    run = scoring()
    first, second = run.staged()
    run.client.run(f"ALTER TABLE {run.manifest.staging} DROP PARTITION 1")
    assert ledger.reconcile(run.client, run.manifest) == [first]
    assert second.slice == 1


def test_a_slice_with_a_row_too_few_is_dropped_and_done_again(scoring: Callable[..., Any]) -> None:
    run = scoring()
    first, _ = run.staged()
    run.client.run(f"DELETE FROM {run.manifest.staging} WHERE user_id = 'u7'")
    assert ledger.reconcile(run.client, run.manifest) == [first]
    assert run.client.rows(f"SELECT DISTINCT slice FROM {run.manifest.staging}") == [(0,)]


def test_a_slice_with_other_keys_than_its_receipt_says_is_done_again(scoring: Callable[..., Any]) -> None:
    run = scoring()
    first, second = run.stage(0, attempt=1), run.stage(1, attempt=2)
    ledger.record(run.client, run.manifest.run_id, first)
    ledger.record(run.client, run.manifest.run_id, replace(second, staged_checksum=second.staged_checksum + 1))
    assert ledger.reconcile(run.client, run.manifest) == [first]


def test_the_rows_of_an_attempt_that_died_do_not_stand_in_the_way(scoring: Callable[..., Any]) -> None:
    run = scoring()
    run.stage(0, ["u0", "u1"], attempt=7)
    written = run.staged()
    assert ledger.reconcile(run.client, run.manifest) == written


def test_a_dropped_slice_may_be_staged_again_under_the_very_same_tokens(scoring: Callable[..., Any]) -> None:
    run = scoring()
    staging.create(run.client, run.manifest)
    run.insert(0, ["u0"], attempt=1, chunk=0, token="t")
    assert ledger.reconcile(run.client, run.manifest) == []
    run.insert(0, ["u0"], attempt=1, chunk=0, token="t")
    assert run.client.value(f"SELECT count() FROM {run.manifest.staging}") == 1


def test_a_slice_all_of_whose_rows_were_rejected_is_done(scoring: Callable[..., Any]) -> None:
    run = scoring()
    receipt = replace(run.stage(0, rejected=5), chunks=0)
    ledger.record(run.client, run.manifest.run_id, receipt)
    assert ledger.reconcile(run.client, run.manifest) == [receipt]
