"""Test a source that changes while a run reads it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raypipe.errors import GateRefused
from raypipe.score import gate
from tests.faults.nights import (
    DAY,
    Night,
    add,
    after_first_slice,
    before_reading,
    exchanged,
    key,
    removed,
)
from tests.faults.oracle import assert_exact

pytestmark = pytest.mark.usefixtures("impatient")


def added(night: Night) -> None:
    """Add a user to the part already read."""
    add(night, key(night, "first"))


CHANGES = pytest.mark.parametrize("change", [added, removed, exchanged], ids=lambda change: change.__name__)


@CHANGES
def test_a_source_that_changes_while_it_is_read_is_refused(
    night: Night, monkeypatch: pytest.MonkeyPatch, change: Callable[[Night], None]
) -> None:
    night.score()
    before, manifest = night.content(), night.plan()
    assert len(manifest.slicing.slices) > 1
    after_first_slice(monkeypatch, lambda: change(night))
    with pytest.raises(GateRefused, match="source changed") as refused:
        night.run(manifest)
    assert "source.snapshot: true" in str(refused.value)
    assert night.content() == before


@CHANGES
def test_without_looking_at_the_source_again_a_mixture_of_two_states_is_published(
    night: Night, monkeypatch: pytest.MonkeyPatch, change: Callable[[Night], None]
) -> None:
    manifest = night.plan()
    monkeypatch.setattr(gate, "_as_read", lambda *_: None)
    monkeypatch.setattr(gate, "_still_the_same", lambda *_: None)
    monkeypatch.setattr(gate, "require_unchanged", lambda *_: None)
    after_first_slice(monkeypatch, lambda: change(night))
    run_id = night.run(manifest)
    with pytest.raises(AssertionError):
        night.assert_exact(run_id)


@CHANGES
def test_a_copied_source_may_change_while_its_copy_is_read(
    night: Night, monkeypatch: pytest.MonkeyPatch, change: Callable[[Night], None]
) -> None:
    back = night.keep_source()
    manifest = night.plan("source.snapshot=true")
    assert manifest.snapshot is not None
    before_reading(monkeypatch, lambda: change(night))
    run_id = night.run(manifest)
    with pytest.raises(AssertionError):
        assert_exact(night.client, DAY, run_id)
    back()
    night.assert_exact(run_id)


@CHANGES
def test_without_a_copy_the_same_change_is_refused(
    night: Night, monkeypatch: pytest.MonkeyPatch, change: Callable[[Night], None]
) -> None:
    before, manifest = night.content(), night.plan("source.snapshot=false")
    before_reading(monkeypatch, lambda: change(night))
    with pytest.raises(GateRefused, match="source changed"):
        night.run(manifest)
    assert night.content() == before
