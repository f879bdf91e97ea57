"""Test that one commit decides for all targets of a run, wherever a process dies, and however often it is repeated."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from raypipe.clickhouse import lock, mutations
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.lock import Owner
from raypipe.errors import GateRefused
from raypipe.score import previous, publish, publish_sql, run, runs, strays
from raypipe.score.manifest import Manifest, PublishTarget
from tests.faults.few import DAY, VIEWS, Died, Night, before_sending, few_readers
from tests.faults.nights import TARGETS, before_call
from tests.faults.oracle import own_tables

SCHEMAS = ("raypipe", "publisher")


@pytest.fixture(scope="module", params=SCHEMAS)
def nights(
    request: pytest.FixtureRequest, endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Night]:
    """Provide nights with daily targets, and with monthly targets."""
    with few_readers(endpoint, tmp_path_factory.mktemp("swaps"), request.param) as made:
        yield made


# `make test` has one of the two, in which more can go wrong.
DAYS = pytest.mark.parametrize("nights", [pytest.param("raypipe", marks=pytest.mark.fast), "publisher"], indirect=True)
MONTHS = pytest.mark.parametrize(
    "nights", ["raypipe", pytest.param("publisher", marks=pytest.mark.fast)], indirect=True
)


@pytest.fixture
def night(nights: Night) -> Night:
    nights.empty()
    return nights


def dies_at(night: Night, manifest: Manifest, statement: int, *, sent: bool) -> bool:
    """Run, and be killed before the n-th statement behind the gate is sent, or after; return whether there was one."""
    number, publishing = itertools.count(1), threading.Event()

    def dying(plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            due = publishing.is_set() and next(number) == statement
            if due and not sent:
                raise Died
            result = plain(*arguments, **options)
            if due:
                raise Died
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        before_call(patch, publish_sql, "expected", publishing.set)
        patch.setattr(Client, "run", dying(Client.run))
        patch.setattr(Client, "insert", dying(Client.insert))
        # A killed process writes no row of its failure, and keeps its lock.
        patch.setattr(run, "_record_failure", lambda *_: None)
        patch.setattr(lock, "release", lambda *_: None)
        try:
            night.run(manifest)
        except Died:
            return True
    return False


def killed_anywhere(night: Night, *, sent: bool) -> list[bool]:
    """Kill a rerun at each of its statements in turn, judge and repair; return whether each was committed by then."""
    committed = []
    for statement in itertools.count(1):
        night.empty()
        first, second = night.score(), night.plan()
        if not dies_at(night, second, statement, sent=sent):
            return committed
        count = night.find(first).source_rows
        committed.append(night.find(second).status == runs.PUBLISHED)
        assert night.seen() == {second.run_id if committed[-1] else first: count}, statement
        last = night.plan() if committed[-1] else second
        night.run(last, take_over=True)
        night.assert_exact(last)
        assert own_tables(night.client) == []
    raise AssertionError


@pytest.mark.parametrize("sent", [False, True], ids=["before it is sent", "after it was answered"])
def test_a_rerun_that_is_killed_at_any_statement_shows_one_whole_run_and_is_resumed(night: Night, sent: bool) -> None:
    committed = killed_anywhere(night, sent=sent)
    assert committed.count(False) >= 6
    assert committed.count(True) >= 1


def between_the_swaps(night: Night, between: Callable[[], None] = lambda: None) -> tuple[str, Manifest]:
    """Return a run, and a later run that died when it had swapped in the first of its targets."""
    first = night.score()
    between()
    second = night.plan()
    swapped = itertools.count()

    def swap(*arguments: Any) -> None:
        if next(swapped):
            raise Died
        plain(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        plain = publish.swap
        patch.setattr(publish, "swap", swap)
        with pytest.raises(Died):
            night.run(second)
    return first, second


@pytest.mark.fast
def test_a_crash_between_two_swaps_shows_the_committed_run_in_every_view(night: Night) -> None:
    first, second = between_the_swaps(night)
    assert night.seen() == {first: second.source_rows}
    # Another run than the one that died comes next.
    third = night.plan()
    night.run(third)
    night.assert_exact(third)
    assert night.find(second).status == runs.SUPERSEDED
    assert own_tables(night.client) == []


@pytest.mark.fast
@pytest.mark.parametrize("resumed", [True, False], ids=["resumed", "another run"])
def test_rows_that_a_killed_swap_has_left_do_not_become_the_copy(daily: Night, resumed: bool) -> None:
    # The committed run has replaced a run itself, whose copies are gone.
    daily.score()
    first, second = between_the_swaps(daily)
    ((copy,),) = daily.client.rows(f"SHOW TABLES LIKE 'raypipe_previous_%_of_{TARGETS[0]}'")
    daily.client.run(f"INSERT INTO {TARGETS[0]} SELECT * FROM {copy} LIMIT 1")
    daily.dies(second if resumed else daily.plan(), runs, "commit")
    assert daily.seen() == {first: second.source_rows}


@pytest.mark.fast
def test_rows_that_change_while_they_are_copied_refuse_the_run(daily: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = daily.score(), daily.plan()
    one = f"prediction_id IN (SELECT min(prediction_id) FROM {TARGETS[0]})"
    copying = re.compile("ALTER TABLE .*raypipe_previous_")
    before_sending(monkeypatch, copying, lambda: mutations.delete(daily.client, TARGETS[0], one))
    with pytest.raises(GateRefused, match="was written to while a run was published"):
        daily.run(second)
    assert daily.find(first).status == runs.PUBLISHED
    assert daily.find(second).status == runs.REFUSED


@pytest.fixture
def by_version(daily: Night) -> Iterator[PublishTarget]:
    """Provide a target with a partition per version of the model."""
    daily.client.run(
        "CREATE TABLE by_version (batch_id String, model_version String, prediction_date Date)"
        " ENGINE = MergeTree PARTITION BY (prediction_date, model_version) ORDER BY ()"
    )
    sql = "SELECT {run_id:String} AS batch_id, {model_version:String} AS model_version, {date:Date} AS prediction_date"
    yield PublishTarget("by_version", f"{sql} FROM {{staging}}")
    daily.client.run("DROP VIEW raypipe_current_by_version")
    daily.client.run("DROP TABLE by_version SYNC")


@pytest.mark.fast
def test_a_committed_run_whose_partition_is_not_replaced_stays_in_view(daily: Night, by_version: PublishTarget) -> None:
    first, second = (replace(daily.plan(), model_version=version, targets=(by_version,)) for version in ("1", "2"))
    daily.run(first)
    daily.dies(replace(second, run_at=first.run_at + timedelta(seconds=1)), runs, "commit")
    seen = daily.client.rows("SELECT batch_id, count() FROM raypipe_current_by_version GROUP BY 1")
    assert seen == [(first.run_id, first.source_rows)]


@pytest.fixture
def replacing(daily: Night) -> Iterator[Night]:
    """Provide a monthly target in which a merge keeps the later run's row of each entity and date."""
    exchange = f"EXCHANGE TABLES replacing AND {TARGETS[0]}"
    daily.client.run(
        f"CREATE TABLE replacing AS {TARGETS[0]} ENGINE = ReplacingMergeTree(created_at)"
        " PARTITION BY toYYYYMM(prediction_date) ORDER BY (company_id, brand_id, user_id, prediction_date)"
    )
    daily.client.run(exchange)
    yield daily
    daily.client.run(exchange)
    daily.client.run("DROP TABLE replacing SYNC")


@pytest.mark.fast
def test_rows_that_a_merge_replaces_before_the_commit_stay_in_view(replacing: Night) -> None:
    first, second = replacing.score(), replacing.plan()
    replacing.dies(second, runs, "commit")
    replacing.client.run(f"OPTIMIZE TABLE {TARGETS[0]} FINAL")
    assert replacing.versions()[TARGETS[0]] == {second.run_id: second.source_rows}
    assert replacing.seen() == {first: second.source_rows}


@DAYS
def test_without_a_copy_a_crash_between_two_swaps_shows_a_target_without_rows(
    nights: Night, night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previous, "keep", lambda client, row, prepared, epoch: row.previous)
    first, second = between_the_swaps(night)
    views = night.versions()
    kept = {first: second.source_rows}
    monthly = "toYYYYMM" in night.client.value(
        f"SELECT partition_key FROM system.tables WHERE database = currentDatabase() AND name = '{TARGETS[0]}'"
    )
    # Rows that are added to a month take nothing away.
    assert [views[view] for view in VIEWS] == [kept if monthly else {}, kept]


@MONTHS
def test_however_often_a_publication_is_repeated_its_rows_are_there_once(night: Night) -> None:
    manifest = lost_a_row(night)
    for _ in range(3):
        with pytest.MonkeyPatch.context() as patch:
            before_call(patch, runs, "commit", _die)
            with pytest.raises(Died):
                night.run(manifest)
        assert {night.versions()[table][manifest.run_id] for table in TARGETS} == {manifest.source_rows}
    night.run(manifest)
    night.assert_exact(manifest)


def lost_a_row(night: Night) -> Manifest:
    """Return a run that died before its commit, one of whose rows somebody has deleted since."""
    manifest = night.plan()
    night.dies(manifest, runs, "commit")
    one = "prediction_id IN (SELECT min(prediction_id) FROM {table})"
    for table in TARGETS:
        mutations.delete(night.client, table, one.format(table=table))
    return manifest


def _die() -> None:
    raise Died


@MONTHS
def test_without_deleting_what_stands_a_repeated_publication_doubles_its_rows(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = lost_a_row(night)
    monkeypatch.setattr(publish.mutations, "delete", lambda *_: None)
    with suppress(GateRefused):
        night.run(manifest)
    rows = {night.versions()[table][manifest.run_id] for table in TARGETS}
    # A replaced partition needs no deletion.
    assert rows <= {manifest.source_rows, 2 * manifest.source_rows - 1}


def bring_back(night: Night) -> tuple[str, str]:
    """Return a superseded run whose rows are in the targets again, as a restart may leave them, and the later run."""
    first = night.score()
    for table in TARGETS:
        night.client.run(f"CREATE TABLE kept_{table} AS {table}")
        night.client.run(f"INSERT INTO kept_{table} SELECT * FROM {table}")
    second = night.score()
    for table in TARGETS:
        night.client.run(f"INSERT INTO {table} SELECT * FROM kept_{table}")
        night.client.run(f"DROP TABLE kept_{table} SYNC")
    return first, second


@MONTHS
def test_rows_of_a_superseded_run_are_in_no_view_and_the_doctor_finds_and_removes_them(night: Night) -> None:
    first, second = bring_back(night)
    count = night.find(second).source_rows
    assert night.versions()[TARGETS[0]] == {first: count, second: count}
    assert night.seen() == {second: count}
    findings = strays.find(night.client)
    assert [(item.table, item.run.run_id, item.rows, item.expected) for item in findings] == [
        (table, first, count, 0) for table in TARGETS
    ]
    owner = Owner.here("churn_at_work")
    lock.acquire(night.client, "churn", owner)
    assert strays.remove(night.client, findings) == []
    lock.release(night.client, "churn", owner)
    assert strays.remove(night.client, findings) == findings
    night.assert_exact(second)
    assert strays.find(night.client) == []


@DAYS
def test_rows_that_a_committed_run_has_lost_are_found_and_not_removed(night: Night) -> None:
    run_id = night.score()
    mutations.delete(night.client, TARGETS[0], f"prediction_id IN (SELECT min(prediction_id) FROM {TARGETS[0]})")
    (finding,) = strays.find(night.client)
    count = night.find(run_id).source_rows
    assert (finding.table, finding.rows, finding.expected) == (TARGETS[0], count - 1, count)
    assert strays.remove(night.client, [finding]) == []
    assert night.versions()[TARGETS[0]] == {run_id: count - 1}


@pytest.mark.fast
def test_a_partition_whose_rows_are_all_lost_is_found(daily: Night) -> None:
    run_id = daily.score()
    daily.client.run(f"TRUNCATE TABLE {TARGETS[0]}")
    (finding,) = strays.find(daily.client)
    assert (finding.table, finding.run.run_id, finding.rows) == (TARGETS[0], run_id, 0)


@MONTHS
def test_rows_of_a_run_that_can_be_resumed_are_left_alone(night: Night) -> None:
    _, second = between_the_swaps(night)
    assert strays.find(night.client) == []
    assert night.versions()[TARGETS[0]][second.run_id] == second.source_rows


@pytest.fixture
def grown(daily: Night) -> Iterator[Callable[[], None]]:
    """Return a function that adds a user to the snapshot."""
    yield lambda: daily.client.run(
        "INSERT INTO customer_user_features SELECT * REPLACE ('new' AS user_id) FROM customer_user_features"
        " WHERE feature_date = {day:Date} AND active_last_30_days = 1 LIMIT 1",
        {"day": DAY},
    )
    mutations.delete(daily.client, "customer_user_features", "user_id = 'new'")


@pytest.mark.fast
def test_rows_of_the_committed_run_that_are_in_its_copy_are_not_lost(daily: Night, grown: Callable[[], None]) -> None:
    first, second = between_the_swaps(daily, grown)
    assert daily.versions()[TARGETS[0]] == {second.run_id: daily.find(first).source_rows + 1}
    assert daily.seen() == {first: daily.find(first).source_rows}
    assert strays.find(daily.client) == []
