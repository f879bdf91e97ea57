"""Test inserts that are sent twice, or after a dead attempt with other content."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from raypipe.clickhouse.client import Client
from raypipe.errors import GateRefused, Unreachable
from raypipe.score import runs, worker
from raypipe.score.manifest import Manifest
from tests.faults.nights import (
    Night,
    before_reading,
    once,
    open_gate,
)

pytestmark = pytest.mark.usefixtures("impatient")


def double_an_insert(patch: pytest.MonkeyPatch) -> None:
    """Send one insert into staging twice, like a replay after a lost answer."""
    real, sent = Client.insert, []

    def insert(self: Client, table: str, data: pa.Table, **options: Any) -> None:
        real(self, table, data, **options)
        if table.startswith("raypipe_staging") and not sent:
            sent.append(table)
            real(self, table, data, **options)

    patch.setattr(Client, "insert", insert)


def forget_tokens(patch: pytest.MonkeyPatch, night: Night, manifest: Manifest) -> None:
    """Set staging's deduplication window to 0 after it was created and checked."""
    setting = "MODIFY SETTING non_replicated_deduplication_window = 0"
    before_reading(patch, lambda: night.client.run(f"ALTER TABLE {manifest.staging} {setting}"))


@pytest.mark.fast
def test_an_insert_that_is_sent_twice_stands_once(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    double_an_insert(monkeypatch)
    night.assert_exact(night.score())


@pytest.mark.fast
def test_without_tokens_an_insert_that_is_sent_twice_is_refused_by_the_gate(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, manifest = night.content(), night.plan()
    double_an_insert(monkeypatch)
    forget_tokens(monkeypatch, night, manifest)
    with pytest.raises(GateRefused, match="staging and ledger disagree"):
        night.run(manifest)
    assert night.content() == before
    assert night.status(manifest) == runs.REFUSED


def test_without_tokens_and_gate_an_insert_that_is_sent_twice_is_published_twice(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan()
    double_an_insert(monkeypatch)
    forget_tokens(monkeypatch, night, manifest)
    open_gate(monkeypatch)
    run_id = night.run(manifest)
    with pytest.raises(AssertionError):
        night.assert_exact(run_id)


def fail_after_the_first_chunk(patch: pytest.MonkeyPatch) -> None:
    """Fail a slice's first attempt after one of its chunks is staged."""
    real = worker._Attempt._stage

    def lose() -> None:
        raise Unreachable("the connection broke")

    lost = once(lose)

    def stage(self: Any, rows: pa.Table) -> None:
        real(self, rows)
        lost()

    patch.setattr(worker._Attempt, "_stage", stage)


def token_without_content(run_id: str, piece: int, attempt: object, chunk: object, *content: object) -> str:
    return f"{run_id}/{piece}/{chunk}"


def test_a_chunk_with_other_content_than_that_of_a_dead_attempt_is_kept(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_after_the_first_chunk(monkeypatch)
    night.assert_exact(night.score("score.chunk_rows=100"))


def test_without_the_content_in_its_token_a_chunk_vanishes_and_the_gate_refuses(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = night.content()
    fail_after_the_first_chunk(monkeypatch)
    monkeypatch.setattr(worker, "content_token", token_without_content)
    with pytest.raises(GateRefused, match="staging and ledger disagree"):
        night.score("score.chunk_rows=100")
    assert night.content() == before


def test_without_the_content_in_its_token_and_the_gate_rows_are_lost(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_after_the_first_chunk(monkeypatch)
    monkeypatch.setattr(worker, "content_token", token_without_content)
    open_gate(monkeypatch)
    run_id = night.score("score.chunk_rows=100")
    with pytest.raises(AssertionError):
        night.assert_exact(run_id)
