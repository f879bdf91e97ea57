"""Test inserts that are sent twice, or after a dead attempt with other content."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from raypipe.clickhouse.client import Client
from raypipe.errors import GateRefused, Unreachable
from raypipe.score import chunks, portions, runs
from raypipe.score.chunks import Chunks
from raypipe.score.manifest import Manifest
from tests.faults.nights import (
    Night,
    before_reading,
    once,
    open_gate,
)

pytestmark = pytest.mark.usefixtures("impatient")


both = pytest.mark.parametrize("direct", [True, False], ids=["direct", "staged"])
direct_fast = pytest.mark.parametrize(
    "direct", [pytest.param(True, id="direct", marks=pytest.mark.fast), pytest.param(False, id="staged")]
)


def plan(night: Night, direct: bool, *overrides: str) -> Manifest:
    manifest = night.plan(*overrides)
    assert manifest.direct
    return replace(manifest, direct=direct)


def double_an_insert(patch: pytest.MonkeyPatch) -> None:
    """Send one insert into staging, and one into a portion, twice, like a replay after a lost answer."""
    for name, own in (("insert", "raypipe_staging"), ("insert_through", "INSERT INTO `raypipe_portion")):
        patch.setattr(Client, name, _doubled(getattr(Client, name), own))


def _doubled(real: Any, own: str) -> Any:
    sent = []

    def insert(self: Client, into: str, *arguments: Any, **options: Any) -> None:
        real(self, into, *arguments, **options)
        if into.startswith(own) and not sent:
            sent.append(into)
            real(self, into, *arguments, **options)

    return insert


def forget_tokens(patch: pytest.MonkeyPatch, night: Night, manifest: Manifest) -> None:
    """Set the deduplication window of portions, and of staging once it was created and checked, to 0."""
    patch.setattr(portions, "REMEMBERED_CHUNKS", 0)
    setting = "MODIFY SETTING non_replicated_deduplication_window = 0"
    # A direct run looks at staging again before each slice.
    if not manifest.direct:
        before_reading(patch, lambda: night.client.run(f"ALTER TABLE {manifest.staging} {setting}"))


@direct_fast
def test_an_insert_that_is_sent_twice_stands_once(night: Night, monkeypatch: pytest.MonkeyPatch, direct: bool) -> None:
    double_an_insert(monkeypatch)
    night.assert_exact(night.run(plan(night, direct)))


@direct_fast
def test_without_tokens_an_insert_that_is_sent_twice_is_refused_by_the_gate(
    night: Night, monkeypatch: pytest.MonkeyPatch, direct: bool
) -> None:
    before, manifest = night.content(), plan(night, direct)
    double_an_insert(monkeypatch)
    forget_tokens(monkeypatch, night, manifest)
    with pytest.raises(GateRefused, match="staging and ledger disagree"):
        night.run(manifest)
    assert night.content() == before
    assert night.status(manifest) == runs.REFUSED


def test_without_tokens_and_gate_an_insert_that_is_sent_twice_is_published_twice(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = plan(night, direct=False)
    double_an_insert(monkeypatch)
    forget_tokens(monkeypatch, night, manifest)
    open_gate(monkeypatch)
    run_id = night.run(manifest)
    with pytest.raises(AssertionError):
        night.assert_exact(run_id)


def fail_after_the_first_chunk(patch: pytest.MonkeyPatch) -> None:
    """Fail a slice's first attempt after one of its chunks is written."""
    real = Chunks.put

    def lose() -> None:
        raise Unreachable("the connection broke")

    lost = once(lose)

    def put(self: Chunks, rows: Any) -> None:
        real(self, rows)
        lost()

    patch.setattr(Chunks, "put", put)


def token_without_content(run_id: str, piece: int, attempt: object, chunk: object, *content: object) -> str:
    return f"{run_id}/{piece}/{chunk}"


@both
def test_a_chunk_with_other_content_than_that_of_a_dead_attempt_is_kept(
    night: Night, monkeypatch: pytest.MonkeyPatch, direct: bool
) -> None:
    fail_after_the_first_chunk(monkeypatch)
    night.assert_exact(night.run(plan(night, direct, "score.chunk_rows=100")))


# An attempt has portions of its own, but shares staging with the others.


def test_without_the_content_in_its_token_a_chunk_vanishes_and_the_gate_refuses(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = night.content()
    fail_after_the_first_chunk(monkeypatch)
    monkeypatch.setattr(chunks, "content_token", token_without_content)
    with pytest.raises(GateRefused, match="staging and ledger disagree"):
        night.run(plan(night, False, "score.chunk_rows=100"))
    assert night.content() == before


def test_without_the_content_in_its_token_and_the_gate_rows_are_lost(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_after_the_first_chunk(monkeypatch)
    monkeypatch.setattr(chunks, "content_token", token_without_content)
    open_gate(monkeypatch)
    run_id = night.run(plan(night, False, "score.chunk_rows=100"))
    with pytest.raises(AssertionError):
        night.assert_exact(run_id)
