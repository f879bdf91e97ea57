"""Test reads that break off or fail in their middle."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa
import pytest

from raypipe.clickhouse.client import Client
from raypipe.errors import GateRefused, ServerError, Unreachable
from raypipe.score import runs, worker
from tests.faults.wire import (
    READ,
    Wire,
    published_wrong,
)

pytestmark = pytest.mark.usefixtures("pauses")


def cut_at(batches: int) -> Callable[[bytes], bytes]:
    """Cut an Arrow stream after the schema and some whole batches."""

    def edit(body: bytes) -> bytes:
        stream = io.BytesIO(body)
        messages = pa.ipc.MessageReader.open_stream(stream)
        for _ in range(1 + batches):
            messages.read_next_message()
        return body[: stream.tell()]

    return edit


def half(body: bytes) -> bytes:
    return body[: len(body) // 2]


def thrown(code: int, tag: str = "abcdefghijklmnop") -> bytes:
    """Return the exception that a server appends to rows after it has sent its headers."""
    text = f"Code: {code}. DB::Exception: the cup is broken. (SOME_ERROR) (version 26.7.3.1)\n"
    return f"\r\n__exception__\r\n{tag}\r\n{text}{len(text)} {tag}\r\n__exception__\r\n".encode()


CUTS = [
    pytest.param(half, id="inside", marks=pytest.mark.fast),
    pytest.param(cut_at(3), id="between"),
    pytest.param(cut_at(0), id="schema"),
]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read slices in a dozen batches, like large ones."""
    monkeypatch.setattr(worker, "BATCH_ROWS", 100)


@pytest.fixture
def without_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the client treat a broken stream as complete."""
    stream = Client.stream

    @contextmanager
    def lenient(self: Client, *arguments: Any, **options: Any) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
        with stream(self, *arguments, **options) as (schema, batches):
            yield schema, _until_it_breaks(batches)

    monkeypatch.setattr(Client, "stream", lenient)


def _until_it_breaks(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    with suppress(ServerError):
        yield from batches


@pytest.mark.usefixtures("small_batches")
class TestReads:
    @pytest.mark.parametrize("edit", CUTS)
    def test_a_slice_whose_answer_breaks_off_is_read_again(self, wire: Wire, edit: Callable[[bytes], bytes]) -> None:
        manifest = wire.plan()
        reads = wire.add(READ, "pass", once=False)
        cut = wire.add(READ, "edit", skip=2, edit=edit, complete=False)
        wire.run(manifest)
        assert cut.hit.is_set()
        assert len(reads.hits) == len(manifest.slicing.slices) + 1
        wire.exact(manifest)

    def test_a_slice_whose_answers_all_break_off_fails_the_run_and_a_resume_is_exact(self, wire: Wire) -> None:
        manifest = wire.plan()
        cut = wire.add(READ, "edit", skip=2, once=False, edit=half, complete=False)
        wire.fails(manifest, Unreachable)
        assert len(cut.hits) == worker.SLICE_ATTEMPTS
        wire.resume(manifest)
        wire.exact(manifest)

    @pytest.mark.parametrize("edit", CUTS)
    def test_without_noticing_the_cut_the_slice_is_short_and_the_gate_refuses(
        self, wire: Wire, without_cuts: None, edit: Callable[[bytes], bytes]
    ) -> None:
        manifest = wire.plan()
        wire.add(READ, "edit", skip=2, edit=edit, complete=False)
        wire.fails(manifest, GateRefused, "the source changed between the manifest")

    def test_without_noticing_the_cut_and_without_the_gate_rows_are_missing(
        self, wire: Wire, without_cuts: None, without_gate: None
    ) -> None:
        manifest = wire.plan()
        wire.add(READ, "edit", skip=2, edit=half, complete=False)
        wire.run(manifest)
        published_wrong(wire, manifest)

    def test_a_short_answer_that_looks_complete_is_never_published(self, wire: Wire) -> None:
        manifest = wire.plan()
        short = wire.add(READ, "edit", skip=2, edit=cut_at(3))
        before = wire.content()
        # Reading again and refusing are both correct. Accepting it as the slice is not.
        with suppress(GateRefused):
            wire.run(manifest)
        assert short.hit.is_set()
        if wire.status(manifest) == runs.PUBLISHED:
            wire.exact(manifest)
        else:
            assert wire.status(manifest) == runs.REFUSED
            assert wire.content() == before

    @pytest.mark.parametrize("complete", [False, True], ids=["broken-off", "looks-complete"])
    @pytest.mark.parametrize("batches", [0, 3])
    def test_an_exception_in_the_middle_of_an_answer_fails_the_run_and_a_resume_is_exact(
        self, wire: Wire, batches: int, complete: bool
    ) -> None:
        manifest = wire.plan()
        edit = cut_at(batches)
        failing = wire.add(
            READ, "edit", skip=2, once=False, edit=lambda body: edit(body) + thrown(395), complete=complete
        )
        wire.fails(manifest, ServerError, "" if complete else "Code: 395. DB::Exception: the cup is broken")
        assert failing.hit.is_set()
        wire.resume(manifest)
        wire.exact(manifest)

    @pytest.mark.parametrize("gate_is_on", [True, False], ids=["gate", "no-gate"])
    def test_without_noticing_the_exception_rows_are_missing_which_the_gate_or_else_the_oracle_sees(
        self, wire: Wire, without_cuts: None, request: pytest.FixtureRequest, gate_is_on: bool
    ) -> None:
        manifest = wire.plan()
        wire.add(READ, "edit", skip=2, edit=lambda body: cut_at(3)(body) + thrown(395), complete=False)
        if gate_is_on:
            wire.fails(manifest, GateRefused, "the source changed between the manifest")
            return
        request.getfixturevalue("without_gate")
        wire.run(manifest)
        published_wrong(wire, manifest)
