"""Test the chunk size of a resumed run, and profiles with asynchronous inserts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from raypipe.clickhouse import inserts
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.errors import DataError, RaypipeError, Unreachable
from raypipe.score import ledger, score
from raypipe.score.manifest import Manifest
from tests.faults.nights import (
    TARGETS,
    Night,
    _break,
    after_first_slice,
    before_publishing,
    before_reading,
    open_gate,
)
from tests.faults.oracle import loaded

pytestmark = pytest.mark.usefixtures("impatient")


def stop_after_the_first_slice(night: Night, patch: pytest.MonkeyPatch, manifest: Manifest) -> None:
    with patch.context() as patched:
        after_first_slice(patched, _break)
        with pytest.raises(Unreachable):
            night.run(manifest)


def test_a_resume_keeps_to_the_chunks_of_its_manifest(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = night.plan("score.chunk_rows=200")
    stop_after_the_first_slice(night, monkeypatch, manifest)
    config = loaded(night.publisher, "score.chunk_rows=1", "score.slice_rows=9000")
    outcome = score.resume(night.publisher.endpoint, config, manifest.run_id, lambda stage, done, total: None)
    assert outcome.manifest == Manifest.from_json(manifest.to_json())
    receipts = ledger.receipts(night.client, manifest.run_id)
    assert len(receipts) == len(manifest.slicing.slices)
    assert all(receipt.rows_staged / receipt.chunks > 1 for receipt in receipts)
    night.assert_exact(manifest.run_id)


def test_without_a_frozen_chunk_size_staging_would_forget_its_tokens_too_early(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan("score.chunk_rows=200")
    stop_after_the_first_slice(night, monkeypatch, manifest)
    frozen = Manifest.from_json

    def thawed(text: str) -> Manifest:
        return replace(frozen(text), chunk_rows=1)

    monkeypatch.setattr(Manifest, "from_json", thawed)
    with pytest.raises(DataError, match="forgets its inserts too early"):
        night.resume(manifest)


def asynchronous(patch: pytest.MonkeyPatch, night: Night, manifest: Manifest) -> list[list[tuple[int]]]:
    """Use a profile with asynchronous inserts. Yield how staging's rows arrived, by the server's log."""
    real, seen = Client.__init__, []

    def make(self: Client, endpoint: Endpoint, settings: Any = None) -> None:
        real(self, endpoint, {**(settings or {}), "async_insert": 1, "wait_for_async_insert": 0})

    patch.setattr(Client, "__init__", make)
    before_reading(
        patch,
        lambda: night.client.run(
            f"ALTER TABLE {manifest.staging} ADD COLUMN how UInt8 DEFAULT toUInt8(getSetting('async_insert'))"
        ),
    )
    before_publishing(
        patch, lambda: seen.append(night.client.rows(f"SELECT DISTINCT how FROM {manifest.staging} ORDER BY how"))
    )
    return seen


def test_a_profile_with_asynchronous_inserts_that_nobody_waits_for_changes_nothing(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan()
    how = asynchronous(monkeypatch, night, manifest)
    run_id = night.run(manifest)
    assert how == [[(0,)]]
    night.client.run(f"OPTIMIZE TABLE {TARGETS[1]} FINAL")
    night.assert_exact(run_id)


def test_without_strict_inserts_the_profile_makes_them_asynchronous(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan()
    how = asynchronous(monkeypatch, night, manifest)
    monkeypatch.delitem(inserts.STRICT, "async_insert")
    open_gate(monkeypatch)
    try:
        night.run(manifest)
    except RaypipeError:
        # The rows may not be there yet.
        return
    assert how == [[(1,)]]
