"""Test direct runs: their rows get the shape of the targets while they are scored, and publishing links them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.errors import GateRefused
from raypipe.score import gate, ledger, portions, run
from raypipe.score.manifest import Manifest
from tests.faults.few import Died, Night
from tests.faults.nights import TARGETS, open_gate
from tests.faults.oracle import own_tables

SLICES = "score.slice_rows=100"


def dies_at_write(night: Night, manifest: Manifest, write: int, *, sent: bool) -> bool:
    """Run, and be killed before the n-th write to a portion is sent, or after; return whether there was one."""
    number = itertools.count(1)

    def dying(plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Client, sql: str, *arguments: Any, **options: Any) -> Any:
            due = re.match("(CREATE TABLE|INSERT INTO) `raypipe_portion_", sql) and next(number) == write
            if due and not sent:
                raise Died
            plain(self, sql, *arguments, **options)
            if due:
                raise Died

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("run", "insert_through"):
            patch.setattr(Client, name, dying(getattr(Client, name)))
        # A killed process writes no row of its failure, and keeps its lock.
        patch.setattr(run, "_record_failure", lambda *_: None)
        patch.setattr(lock, "release", lambda *_: None)
        try:
            night.run(manifest)
        except Died:
            return True
    return False


@pytest.mark.parametrize("sent", [False, True], ids=["before it is sent", "after it was answered"])
def test_a_run_that_is_killed_at_any_write_to_a_portion_is_resumed_exactly(daily: Night, sent: bool) -> None:
    first = daily.score()
    for write in itertools.count(1):
        manifest = daily.plan(SLICES)
        if not dies_at_write(daily, manifest, write, sent=sent):
            break
        assert daily.seen() == {first: manifest.source_rows}
        daily.run(manifest, take_over=True)
        daily.assert_exact(manifest)
        assert own_tables(daily.client) == []
        first = manifest.run_id
    # A table and a chunk per slice and target.
    assert write == 4 * len(manifest.slicing.slices) + 1


def dead_before_the_gate(night: Night) -> tuple[Manifest, list[str]]:
    """Return a run that died when all slices were scored, and the names of its portions."""
    manifest = night.plan(SLICES)
    night.dies(manifest, gate, "check")
    return manifest, [name for name in own_tables(night.client) if "_portion_" in name]


CHANGES = {
    "a row is gone": "DELETE FROM {portion} WHERE user_id IN (SELECT min(user_id) FROM {portion})",
    "the rows are there twice": "INSERT INTO {portion} SELECT * FROM {portion}",
    "the table is gone": "DROP TABLE {portion} SYNC",
}


@pytest.fixture(params=CHANGES)
def disturbed(request: pytest.FixtureRequest, daily: Night) -> Manifest:
    """Return a dead run, one of whose portions was changed."""
    manifest, names = dead_before_the_gate(daily)
    portion = next(name for name in names if TARGETS[0] in name)
    daily.client.run(CHANGES[request.param].format(portion=portion))
    return manifest


@pytest.mark.fast
def test_a_portion_that_was_changed_is_scored_again(daily: Night, disturbed: Manifest) -> None:
    before = {receipt.attempt for receipt in ledger.receipts(daily.client, disturbed.run_id)}
    daily.run(disturbed)
    daily.assert_exact(disturbed)
    after = {receipt.attempt for receipt in ledger.receipts(daily.client, disturbed.run_id)}
    assert len(before - after) == 1
    assert own_tables(daily.client) == []


def without_reconciliation(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ledger, "reconcile", lambda client, manifest: ledger.receipts(client, manifest.run_id))


@pytest.mark.fast
def test_without_reconciliation_the_gate_refuses_a_changed_portion(
    daily: Night, disturbed: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_reconciliation(monkeypatch)
    with pytest.raises(GateRefused, match="staging and ledger disagree in 1 slices"):
        daily.run(disturbed)
    assert daily.seen() == {}


def test_without_reconciliation_and_gate_a_row_less_in_a_portion_is_not_published(
    daily: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, names = dead_before_the_gate(daily)
    portion = next(name for name in names if TARGETS[1] in name)
    daily.client.run(f"DELETE FROM {portion} WHERE entity_id IN (SELECT min(entity_id) FROM {portion})")
    without_reconciliation(monkeypatch)
    open_gate(monkeypatch)
    with pytest.raises(GateRefused, match="are not the staged rows"):
        daily.run(manifest)


@pytest.mark.fast
def test_linking_a_dead_attempt_as_well_doubles_rows_which_the_publication_refuses(
    daily: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, _ = dead_before_the_gate(daily)
    plain = portions.link

    def twice(client: Client, twin: str, manifest: Manifest, target: Any, attempts: Any) -> None:
        plain(client, twin, manifest, target, attempts)
        plain(client, twin, manifest, target, list(attempts)[:1])

    monkeypatch.setattr(portions, "link", twice)
    with pytest.raises(GateRefused, match="are not the staged rows"):
        daily.run(manifest)
    monkeypatch.undo()
    daily.run(manifest)
    daily.assert_exact(manifest)


def statements(patch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of the statements that a run sends from now on."""
    sent: list[str] = []
    plain = Client.run

    def listed(self: Client, sql: str, *arguments: Any, **options: Any) -> None:
        sent.append(sql)
        plain(self, sql, *arguments, **options)

    patch.setattr(Client, "run", listed)
    return sent


@pytest.mark.fast
@pytest.mark.parametrize("direct", [True, False], ids=["direct", "staged"])
def test_publishing_a_direct_run_copies_no_row(daily: Night, monkeypatch: pytest.MonkeyPatch, direct: bool) -> None:
    manifest = daily.plan(SLICES)
    assert manifest.direct
    sent = statements(monkeypatch)
    daily.run(replace(manifest, direct=direct))
    daily.assert_exact(manifest)
    copies = [sql for sql in sent if re.match("INSERT INTO `raypipe_twin_", sql)]
    links = [sql for sql in sent if "ATTACH PARTITION ALL FROM `raypipe_portion_" in sql]
    pieces = len(manifest.slicing.slices)
    assert (len(copies), len(links)) == ((0, 2 * pieces) if direct else (2, 0))


def explained(night: Night) -> dict[str, str]:
    rows = night.client.rows(f"SELECT user_id, feature_importance FROM {TARGETS[0]} WHERE feature_importance != ''")
    return dict(rows)


@pytest.mark.fast
@pytest.mark.parametrize("count", [7, 150, 1000])
def test_the_same_rows_are_explained_as_in_a_run_that_is_not_direct(daily: Night, count: int) -> None:
    found = []
    for direct in (True, False):
        daily.empty()
        manifest = replace(daily.plan(SLICES, f"score.explain.rows={count}"), direct=direct)
        daily.run(manifest)
        daily.assert_exact(manifest)
        found.append(explained(daily))
        written = ledger.receipts(daily.client, manifest.run_id)
        # Only what may be explained is written twice.
        held = sum(min(count, receipt.rows_read) for receipt in written)
        assert sum(receipt.rows_staged for receipt in written) == (held if direct else manifest.source_rows)
    assert found[0] == found[1]
    assert len(found[0]) == min(count, manifest.source_rows)


# What tells one run from another.
OF_THE_RUN = {TARGETS[0]: "prediction_id, created_at", TARGETS[1]: "prediction_id, predicted_at, batch_id, created_at"}


@pytest.mark.fast
def test_direct_and_staged_rows_are_the_same(daily: Night) -> None:
    contents = []
    for direct in (True, False):
        daily.empty()
        daily.run(replace(daily.plan(SLICES, "score.explain.rows=20"), direct=direct))
        contents.append(
            [
                daily.client.rows(f"SELECT * EXCEPT ({names}) FROM {table} ORDER BY ALL")
                for table, names in OF_THE_RUN.items()
            ]
        )
    assert contents[0] == contents[1]
