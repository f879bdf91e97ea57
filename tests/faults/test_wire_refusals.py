"""Test answers that refuse: error codes, full disks, missing grants."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest

from raypipe.clickhouse import inserts, lock, retry, server_errors
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.errors import Busy, Denied, GateRefused, ServerError, Transient
from raypipe.score import run, runs, worker
from raypipe.score.manifest import Manifest
from tests.faults.oracle import own_tables
from tests.faults.proxy import exception
from tests.faults.servers import while_held
from tests.faults.wire import (
    LEDGER,
    PORTION,
    READ,
    STAGING,
    UNKNOWN,
    Wire,
    published_wrong,
)

pytestmark = pytest.mark.usefixtures("pauses")


TOO_MANY = exception(252, "TOO_MANY_PARTS", "Too many parts (3001) in table")


MEMORY = exception(241, "MEMORY_LIMIT_EXCEEDED", "(total) memory limit exceeded")


class EveryCode(dict[int, str]):
    """A list of codes that contains every code."""

    def __contains__(self, _: object) -> bool:
        return True


class TestAnswersThatRefuse:
    @pytest.mark.fast
    def test_too_many_parts_are_waited_out_with_growing_pauses(self, wire: Wire, pauses: list[float]) -> None:
        manifest = wire.plan()
        refused = wire.add(STAGING, "answer", skip=2, times=4, answer=TOO_MANY)
        wire.run(manifest)
        assert len(refused.hits) == len(pauses) == 4
        for number, pause in enumerate(pauses):
            expected = retry.FIRST_PAUSE_SECONDS * 2**number
            assert 0.5 * expected <= pause <= 1.5 * expected
        wire.exact(manifest)

    def test_too_many_parts_for_ever_fail_the_run_and_a_resume_reads_only_what_is_missing(
        self, wire: Wire, pauses: list[float]
    ) -> None:
        manifest = wire.plan()
        refused = wire.add(STAGING, "answer", skip=3, once=False, answer=TOO_MANY)
        wire.fails(manifest, Transient, "TOO_MANY_PARTS", "Too many parts (3001)")
        assert len(refused.hits) == retry.ATTEMPTS * worker.SLICE_ATTEMPTS
        assert max(pauses) <= 1.5 * retry.LONGEST_PAUSE_SECONDS
        assert len(wire.finished(manifest)) == 3
        wire.proxy.rules.clear()
        reads = wire.add(READ, "pass", once=False)
        wire.run(manifest)
        assert len(reads.hits) == len(manifest.slicing.slices) - 3 > 0
        wire.exact(manifest)

    def test_without_the_code_in_the_list_too_many_parts_fail_the_run_at_once(
        self, wire: Wire, pauses: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delitem(server_errors.TRANSIENT, 252)
        manifest = wire.plan()
        wire.add(STAGING, "answer", skip=2, times=4, answer=TOO_MANY)
        wire.fails(manifest, ServerError, "TOO_MANY_PARTS")
        assert pauses == []

    def test_an_unknown_code_is_final_and_a_resume_is_exact(self, wire: Wire, pauses: list[float]) -> None:
        manifest = wire.plan()
        odd = wire.add(STAGING, "answer_after", skip=2, once=False, answer=UNKNOWN)
        wire.fails(manifest, ServerError, "SOMETHING_NEW", "the cup is broken")
        assert (len(odd.hits), pauses) == (1, [])
        wire.resume(manifest)
        wire.exact(manifest)

    def test_without_a_list_of_codes_an_unknown_fault_is_repeated(
        self, wire: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server_errors, "TRANSIENT", EveryCode())
        manifest = wire.plan()
        odd = wire.add(STAGING, "answer_after", skip=2, once=False, answer=UNKNOWN)
        wire.fails(manifest, ServerError, "SOMETHING_NEW")
        assert len(odd.hits) > 1

    def test_a_server_short_of_memory_gets_smaller_chunks_under_new_tokens(self, wire: Wire) -> None:
        manifest = wire.staged("score.slice_rows=10000")
        assert manifest.source_rows > 4 * inserts.SMALLEST_CHUNK
        sent = wire.add(STAGING, "pass", once=False)
        # The whole chunk and its first half.
        refused = wire.add(STAGING, "answer", times=2, answer=MEMORY)
        outcome = wire.run(manifest)
        assert len(refused.hits) == 2
        assert sum(receipt.chunks for receipt in outcome.receipts) == len(manifest.slicing.slices) + 2
        tokens = [token(request) for request in sent.hits]
        assert len(set(tokens)) == len(tokens) == len(manifest.slicing.slices) + 4
        wire.exact(manifest)

    def test_a_direct_run_sends_smaller_chunks_to_the_portion_that_memory_is_short_for(self, wire: Wire) -> None:
        manifest = wire.plan("score.slice_rows=10000")
        sent = wire.add(PORTION, "pass", once=False)
        # The chunk for the second target, and its first half.
        refused = wire.add(PORTION, "answer", skip=1, times=2, answer=MEMORY)
        wire.run(manifest)
        assert len(refused.hits) == 2
        tokens = [token(request) for request in sent.hits]
        assert len(set(tokens)) == len(tokens) - 1 == 2 * len(manifest.slicing.slices) + 3
        wire.exact(manifest)

    def test_without_smaller_chunks_a_server_short_of_memory_fails_the_run(
        self, wire: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inserts, "SMALLEST_CHUNK", 1 << 30)
        manifest = wire.staged("score.slice_rows=10000")
        wire.add(STAGING, "answer", times=2, answer=MEMORY)
        wire.fails(manifest, ServerError, "MEMORY_LIMIT_EXCEEDED", "score.chunk_rows")

    def test_chunks_that_shrink_to_the_smallest_and_are_still_refused_fail_the_run(self, wire: Wire) -> None:
        manifest = wire.staged("score.slice_rows=10000")
        refused = wire.add(STAGING, "answer", once=False, answer=MEMORY)
        wire.fails(manifest, ServerError, "MEMORY_LIMIT_EXCEEDED")
        assert 1 < len(refused.hits) < 10
        wire.resume(manifest)
        wire.exact(manifest)

    def test_a_chunk_that_was_applied_before_memory_ran_out_is_refused_by_the_gate_and_a_resume_is_exact(
        self, wire: Wire
    ) -> None:
        manifest = wire.staged("score.slice_rows=10000")
        wire.add(STAGING, "answer_after", answer=MEMORY)
        wire.fails(manifest, GateRefused, "staging and ledger disagree in 1 slices")
        wire.resume(manifest)
        wire.exact(manifest)

    def test_without_the_gate_a_chunk_applied_before_memory_ran_out_is_published_twice(
        self, wire: Wire, without_gate: None
    ) -> None:
        manifest = wire.staged("score.slice_rows=10000")
        wire.add(STAGING, "answer_after", answer=MEMORY)
        wire.run(manifest)
        published_wrong(wire, manifest)

    @pytest.mark.parametrize(
        ("pattern", "skip"),
        [(STAGING, 3), (LEDGER, 1), (READ, 2), (b"REPLACE PARTITION", 0)],
        ids=["insert", "ledger", "read", "publish"],
    )
    def test_a_grant_revoked_in_the_middle_fails_the_run_with_its_reason_and_a_resume_is_exact(
        self, wire: Wire, pattern: bytes, skip: int, pauses: list[float]
    ) -> None:
        manifest = wire.plan()
        reason = "default: Not enough privileges. To execute this query, it's necessary to have the grant"
        denied = wire.add(
            pattern, "answer", skip=skip, once=False, answer=exception(497, "ACCESS_DENIED", reason, status=403)
        )
        wire.fails(manifest, Denied, "ACCESS_DENIED", "Not enough privileges", "sql/grants.sql")
        assert (len(denied.hits), pauses) == (1, [])
        wire.resume(manifest)
        wire.exact(manifest)

    def test_without_a_record_and_a_release_a_denied_run_says_nothing_and_locks_out_the_next(
        self, wire: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(run, "_record_failure", lambda *_: None)
        monkeypatch.setattr(lock, "release", lambda *_: None)
        manifest = wire.plan()
        wire.add(STAGING, "answer", skip=3, answer=exception(497, "ACCESS_DENIED", status=403))
        with pytest.raises(Denied):
            wire.run(manifest)
        assert wire.status(manifest) == runs.RUNNING
        with pytest.raises(Busy, match=manifest.run_id):
            wire.run(wire.plan())

    @pytest.mark.parametrize(
        ("definition", "rows", "code"),
        [
            ("(k UInt64) SETTINGS min_free_disk_bytes_to_perform_insert = 9000000000000000000", [1], 243),
            ("(k UInt64) SETTINGS parts_to_throw_insert = 1, parts_to_delay_insert = 1", [1], 252),
            ("(k UInt64, CONSTRAINT small CHECK k < 5)", [9], 469),
            ("(k UInt64, twice UInt64 MATERIALIZED throwIf(k = 9))", [9], 395),
        ],
        ids=["full-disk", "too-many-parts", "constraint", "materialized"],
    )
    def test_an_insert_that_the_table_itself_refuses_is_an_error(
        self, wire: Wire, definition: str, rows: list[int], code: int
    ) -> None:
        columns, found, settings = definition.partition(" SETTINGS ")
        name = "raypipe_twin_of_nobody"
        wire.client.run(f"CREATE TABLE {name} {columns} ENGINE = MergeTree ORDER BY k {found}{settings}")
        wire.client.run(f"SYSTEM STOP MERGES {name}")
        if code == 252:
            wire.client.run(f"INSERT INTO {name} VALUES (1)")
        before = wire.client.value(f"SELECT count() FROM {name}")
        with pytest.raises(ServerError) as raised:
            wire.client.insert(name, pa.table({"k": pa.array(rows, pa.uint64())}), columns=["k"])
        assert raised.value.code == code
        assert wire.client.value(f"SELECT count() FROM {name}") == before

    @pytest.mark.fast
    def test_an_answer_of_a_full_disk_fails_the_run_and_a_resume_is_exact(
        self, wire: Wire, pauses: list[float]
    ) -> None:
        manifest = wire.plan()
        full = wire.add(
            STAGING, "answer", skip=2, once=False, answer=exception(243, "NOT_ENOUGH_SPACE", "Cannot reserve 1.00 MiB")
        )
        wire.fails(manifest, ServerError, "NOT_ENOUGH_SPACE", "free space on the server's disk")
        assert (len(full.hits), pauses) == (1, [])
        wire.resume(manifest)
        wire.exact(manifest)

    def test_a_full_disk_fails_the_run_and_a_resume_is_exact(self, wire: Wire) -> None:
        manifest = wire.plan()
        error = with_a_full_disk(wire, manifest)
        assert isinstance(error, ServerError)
        found = runs.find(wire.client, manifest.run_id)
        assert found.status == runs.FAILED
        for text in ("NOT_ENOUGH_SPACE", "free space on the server's disk"):
            assert text in found.error
        assert lock.holder(wire.client, "churn") is None
        assert 0 < len(wire.finished(manifest)) < len(manifest.slicing.slices)
        wire.resume(manifest)
        wire.exact(manifest)

    @pytest.mark.parametrize("gate_is_on", [True, False], ids=["gate", "no-gate"])
    def test_without_errors_of_inserts_a_full_disk_loses_rows_which_the_gate_or_else_the_oracle_sees(
        self, wire: Wire, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, gate_is_on: bool
    ) -> None:
        insert = Client.insert

        def careless(self: Client, *arguments: Any, **options: Any) -> None:
            with suppress(ServerError):
                insert(self, *arguments, **options)

        if not gate_is_on:
            request.getfixturevalue("without_gate")
        monkeypatch.setattr(Client, "insert", careless)
        manifest = wire.plan()
        error = with_a_full_disk(wire, manifest)
        if gate_is_on:
            assert isinstance(error, GateRefused)
            assert "staging and ledger disagree" in str(error)
        else:
            assert error is None
            published_wrong(wire, manifest)


def token(request: bytes) -> str:
    """Return the deduplication token of an insert."""
    line = request[: request.index(b"\r\n")].decode()
    return parse_qs(urlsplit(line.split(" ")[1]).query)["insert_deduplication_token"][0]


def with_a_full_disk(wire: Wire, manifest: Manifest) -> BaseException | None:
    """Run with a full disk for staging from the third slice on, and return the run's error.

    The server itself refuses, by a table's minimum of free space.
    """
    setting = "min_free_disk_bytes_to_perform_insert"
    staging = identifier(manifest.staging)
    with while_held(wire.add(STAGING, "hold", skip=2), lambda: wire.run(manifest)) as running:
        wire.client.run(f"ALTER TABLE {staging} MODIFY SETTING {setting} = 9000000000000000000")
    if manifest.staging in own_tables(wire.client):
        wire.client.run(f"ALTER TABLE {staging} RESET SETTING {setting}")
    return running.exception()
