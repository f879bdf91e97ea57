"""Test faults on the way to ClickHouse: cut, refused, lost and shortened requests and answers.

Each fault has a negative control without its guard.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest

from raypipe.clickhouse import lock, retry, server_errors
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema import leftovers
from raypipe.clickhouse.statements import identifier
from raypipe.errors import Busy, Denied, GateRefused, RaypipeError, ServerError, Transient, Unreachable
from raypipe.score import gate, ledger, publish, run, runs, worker
from raypipe.score.gate import GateCounts
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.publish import PreparedTarget
from raypipe.score.run import PublishedRun
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher, _fresh_database
from tests.faults.oracle import assert_exact, assert_nothing_left, in_process, own_tables, planned
from tests.faults.proxy import Proxy, Rule, exception, proxied, reply
from tests.faults.servers import copied, while_held

DAY = PUBLISHER_LAST_DATE - timedelta(days=30)
# About five slices: enough for some before a fault and some after it.
SLICES = "score.slice_rows=1500"
STAGING = b"INSERT INTO `raypipe_staging_"
LEDGER = b"INSERT INTO `raypipe_slices`"
RUNS = b"INSERT INTO `raypipe_runs`"
EXPLANATIONS = b"INSERT INTO `raypipe_explain_"
MONITORING = b"INSERT INTO `ml_model_monitoring`"
# Only slices are read with a bounded number of threads.
READ = b"max_threads=1"
TARGETS = ("ml_model_predictions", "customer_churn_predictions")


@dataclass(frozen=True)
class Wire:
    """A publisher of this module, with its runs through a proxy."""

    publisher: FittedPublisher
    proxy: Proxy
    client: Client

    def add(self, pattern: bytes, action: Any, **options: Any) -> Rule:
        """Activate a rule."""
        return self.proxy.add(Rule(pattern, action, **options))

    def plan(self, *overrides: str) -> Manifest:
        """Freeze a run, without the proxy."""
        return planned(self.publisher, DAY, SLICES, *overrides)

    def run(self, manifest: Manifest) -> PublishedRun:
        """A run through the proxy."""
        endpoint = replace(self.publisher.endpoint, url=self.proxy.url)
        return in_process(replace(self.publisher, endpoint=endpoint), manifest)

    def resume(self, manifest: Manifest) -> PublishedRun:
        """The same run once nothing is in its way any more."""
        return in_process(self.publisher, manifest)

    def status(self, manifest: Manifest) -> str:
        """Return a run's status from the ledger."""
        return runs.find(self.client, manifest.run_id).status

    def content(self) -> list[tuple[Any, ...]]:
        """Return rows and an order-free checksum of each target."""
        return [self.client.rows(f"SELECT count(), sum(cityHash64(*)) FROM {table}")[0] for table in TARGETS]

    def exact(self, manifest: Manifest) -> None:
        """Assert that the run is committed, both targets hold each source key once, and nothing else is left."""
        assert self.status(manifest) == runs.PUBLISHED
        assert_exact(self.client, DAY, manifest.run_id)
        keys = "count(), groupBitXor(cityHash64(company_id, brand_id, user_id))"
        published, source = (
            self.client.rows(f"SELECT {keys} FROM {table} WHERE {where}", {"day": DAY})
            for table, where in (
                ("customer_churn_predictions", "prediction_date = {day:Date}"),
                ("customer_user_features", "feature_date = {day:Date} AND active_last_30_days = 1"),
            )
        )
        assert published == source
        assert self.monitored(manifest) == 1
        assert_nothing_left(self.client)

    def monitored(self, manifest: Manifest) -> int:
        """Return the number of a run's monitoring rows."""
        return int(
            self.client.value(
                "SELECT count() FROM ml_model_monitoring WHERE JSONExtractString(metadata, 'run_id') = {run:String}",
                {"run": manifest.run_id},
            )
        )

    def fails(self, manifest: Manifest, error: type[RaypipeError], *said: str) -> None:
        """Assert that the run fails with this error, publishes nothing, releases its lock and keeps its staging."""
        before = self.content()
        with pytest.raises(error) as raised:
            self.run(manifest)
        found = runs.find(self.client, manifest.run_id)
        assert found.status == (runs.REFUSED if error is GateRefused else runs.FAILED)
        for text in said:
            assert text in found.error
            assert text in str(raised.value)
        assert self.content() == before
        assert lock.holder(self.client, manifest.pipeline) is None
        assert manifest.staging in own_tables(self.client)

    def finished(self, manifest: Manifest) -> set[int]:
        """Return the slices in the ledger."""
        return {receipt.slice for receipt in ledger.receipts(self.client, manifest.run_id)}


@contextmanager
def wired(publisher: FittedPublisher) -> Iterator[Wire]:
    """Provide a wire to a publisher, and drop the tables of its runs at the end."""
    with proxied(publisher.endpoint.url) as proxy, Client(publisher.endpoint) as client:
        yield Wire(publisher, proxy, client)
        for table in own_tables(client):
            client.run(f"DROP TABLE {identifier(table)} SYNC")


@pytest.fixture(scope="module")
def own_publisher(fitted_publisher: FittedPublisher, endpoint: Endpoint) -> Iterator[FittedPublisher]:
    """Provide a copy that these tests may break, with one published run."""
    with _fresh_database(endpoint) as own:
        publisher = copied(fitted_publisher, own, [DAY])
        in_process(publisher, planned(publisher, DAY, SLICES))
        yield publisher


@pytest.fixture
def wire(own_publisher: FittedPublisher) -> Iterator[Wire]:
    with wired(own_publisher) as through:
        yield through


@pytest.fixture(scope="module")
def monthly_publisher(fitted_publisher: FittedPublisher, endpoint: Endpoint) -> Iterator[FittedPublisher]:
    """Provide the same copy with monthly partitions, which get rows by MOVE."""
    with _fresh_database(endpoint) as own:
        publisher = copied(fitted_publisher, own, [DAY], monthly=True)
        in_process(publisher, planned(publisher, DAY, SLICES))
        yield publisher


@pytest.fixture
def monthly(monthly_publisher: FittedPublisher) -> Iterator[Wire]:
    with wired(monthly_publisher) as through:
        yield through


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the pauses between repeated requests without waiting."""
    made: list[float] = []
    # `repeat` has its pause as a default argument.
    monkeypatch.setattr(retry, "sleep", made.append)
    return made


@pytest.fixture
def without_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send inserts without their tokens."""
    plain = Client.__init__

    def forgetful(self: Client, *arguments: Any, **options: Any) -> None:
        plain(self, *arguments, **options)
        send = self._driver.raw_insert

        def without(table: str, *, settings: dict[str, Any], **rest: Any) -> object:
            off = {"insert_deduplicate": 0, **{name: "disable" for name in settings if name == "deduplicate_insert"}}
            kept = {name: value for name, value in settings.items() if "dedup" not in name}
            return send(table, settings={**kept, **off}, **rest)

        self._driver.raw_insert = without  # type: ignore[method-assign,assignment]

    monkeypatch.setattr(Client, "__init__", forgetful)


@pytest.fixture
def without_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything in staging pass the gate."""

    def passed(client: Client, manifest: Manifest, written: Sequence[Receipt]) -> GateCounts:
        sql = f"SELECT count() FROM {identifier(manifest.staging)} WHERE attempt IN {{attempts:Array(UInt64)}}"
        return GateCounts(int(client.value(sql, {"attempts": ledger.attempts(written)})), 0)

    monkeypatch.setattr(gate, "check", passed)


@pytest.fixture
def without_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the count after publishing."""
    monkeypatch.setattr(publish, "verify", lambda *_: None)


def published_wrong(wire: Wire, manifest: Manifest) -> None:
    """Assert that the run is committed and that the oracle detects the damage."""
    assert wire.status(manifest) == runs.PUBLISHED
    with pytest.raises(AssertionError):
        assert_exact(wire.client, DAY, manifest.run_id)


LOST_ANSWERS = [
    pytest.param("cut_after", b"", id="reset"),
    pytest.param("answer_after", reply(503, "no server is available"), id="503"),
]


class TestInserts:
    @pytest.mark.parametrize("action", ["cut", "cut_body", "cut_after"], ids=["before", "inside", "after"])
    def test_an_insert_whose_connection_is_reset_before_inside_or_after_it_was_applied_stands_once(
        self, wire: Wire, action: str
    ) -> None:
        manifest = wire.plan()
        sent = wire.add(STAGING, "pass", once=False)
        cut = wire.add(STAGING, action, skip=2)
        outcome = wire.run(manifest)
        assert cut.hit.is_set()
        assert len(sent.hits) == sum(receipt.chunks for receipt in outcome.receipts) + 1
        wire.exact(manifest)

    @pytest.mark.parametrize(("action", "answer"), LOST_ANSWERS)
    @pytest.mark.parametrize(
        "pattern",
        [
            pytest.param(STAGING, id="staging", marks=pytest.mark.fast),
            pytest.param(LEDGER, id="ledger"),
            pytest.param(EXPLANATIONS, id="explanations"),
        ],
    )
    def test_an_insert_that_was_applied_although_its_answer_says_nothing_of_it_stands_once(
        self, wire: Wire, pattern: bytes, action: str, answer: bytes
    ) -> None:
        manifest = wire.plan()
        lost = wire.add(pattern, action, answer=answer)
        wire.run(manifest)
        assert lost.hit.is_set()
        wire.exact(manifest)

    def test_a_503_before_the_insert_was_applied_loses_nothing(self, wire: Wire) -> None:
        manifest = wire.plan()
        busy = wire.add(STAGING, "answer", skip=1, times=3, answer=reply(503, "no server is available"))
        wire.run(manifest)
        assert len(busy.hits) == 3
        wire.exact(manifest)

    @pytest.mark.parametrize(("action", "answer"), LOST_ANSWERS)
    def test_without_tokens_the_insert_is_doubled_and_the_gate_refuses(
        self, wire: Wire, without_tokens: None, action: str, answer: bytes
    ) -> None:
        manifest = wire.plan()
        wire.add(STAGING, action, skip=2, answer=answer)
        wire.fails(manifest, GateRefused, "staging and ledger disagree in 1 slices")

    @pytest.mark.parametrize(("action", "answer"), LOST_ANSWERS)
    def test_without_tokens_and_gate_the_rows_are_published_twice(
        self, wire: Wire, without_tokens: None, without_gate: None, action: str, answer: bytes
    ) -> None:
        manifest = wire.plan()
        wire.add(STAGING, action, skip=2, answer=answer)
        wire.run(manifest)
        published_wrong(wire, manifest)

    def test_an_insert_whose_answers_are_all_lost_fails_the_run_and_a_resume_is_exact(self, wire: Wire) -> None:
        manifest = wire.plan()
        lost = wire.add(STAGING, "cut_after", skip=2, once=False)
        wire.fails(manifest, Unreachable, "No ClickHouse answers")
        assert len(lost.hits) >= retry.ATTEMPTS * worker.SLICE_ATTEMPTS
        assert len(wire.finished(manifest)) == 2
        wire.resume(manifest)
        wire.exact(manifest)

    def test_an_outage_within_the_retries_costs_the_run_nothing(self, wire: Wire) -> None:
        manifest = wire.plan()
        with while_held(wire.add(STAGING, "hold", skip=2), lambda: wire.run(manifest)) as running:
            away = wire.add(b" HTTP/1.1\r\n", "cut", times=6)
        assert running.exception() is None
        assert len(away.hits) == 6
        wire.exact(manifest)

    def test_a_monitoring_row_whose_answer_is_lost_stands_once(self, wire: Wire) -> None:
        manifest = wire.plan()
        lost = wire.add(MONITORING, "cut_after")
        # The row has no token, so it may not be sent again. A resume sees that it is there.
        with suppress(Unreachable):
            wire.run(manifest)
        assert lost.hit.is_set()
        assert wire.monitored(manifest) == 1
        if wire.status(manifest) != runs.PUBLISHED:
            wire.resume(manifest)
        wire.exact(manifest)

    @pytest.mark.parametrize(("action", "answer"), LOST_ANSWERS)
    def test_an_insert_without_a_token_is_sent_once(self, wire: Wire, action: str, answer: bytes) -> None:
        name = "raypipe_twin_of_nobody"
        wire.client.run(f"CREATE TABLE {name} (k UInt64) ENGINE = MergeTree ORDER BY k")
        sent = wire.add(name.encode(), "pass", once=False)
        with Client(replace(wire.publisher.endpoint, url=wire.proxy.url)) as through:
            wire.add(name.encode(), action, answer=answer)
            with pytest.raises(Unreachable):
                through.insert(name, pa.table({"k": pa.array([1], pa.uint64())}), columns=["k"])
        assert len(sent.hits) == 1
        assert wire.client.value(f"SELECT count() FROM {name}") == 1


TOO_MANY = exception(252, "TOO_MANY_PARTS", "Too many parts (3001) in table")
MEMORY = exception(241, "MEMORY_LIMIT_EXCEEDED", "(total) memory limit exceeded")
UNKNOWN = exception(9999, "SOMETHING_NEW", "the cup is broken")


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
        manifest = wire.plan("score.slice_rows=10000")
        assert manifest.source_rows > 4 * worker.SMALLEST_CHUNK
        sent = wire.add(STAGING, "pass", once=False)
        # The whole chunk and its first half.
        refused = wire.add(STAGING, "answer", times=2, answer=MEMORY)
        outcome = wire.run(manifest)
        assert len(refused.hits) == 2
        assert sum(receipt.chunks for receipt in outcome.receipts) == len(manifest.slicing.slices) + 2
        tokens = [token(request) for request in sent.hits]
        assert len(set(tokens)) == len(tokens) == len(manifest.slicing.slices) + 4
        wire.exact(manifest)

    def test_without_smaller_chunks_a_server_short_of_memory_fails_the_run(
        self, wire: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker, "SMALLEST_CHUNK", 1 << 30)
        manifest = wire.plan("score.slice_rows=10000")
        wire.add(STAGING, "answer", times=2, answer=MEMORY)
        wire.fails(manifest, ServerError, "MEMORY_LIMIT_EXCEEDED", "score.chunk_rows")

    def test_chunks_that_shrink_to_the_smallest_and_are_still_refused_fail_the_run(self, wire: Wire) -> None:
        manifest = wire.plan("score.slice_rows=10000")
        refused = wire.add(STAGING, "answer", once=False, answer=MEMORY)
        wire.fails(manifest, ServerError, "MEMORY_LIMIT_EXCEEDED")
        assert 1 < len(refused.hits) < 10
        wire.resume(manifest)
        wire.exact(manifest)

    def test_a_chunk_that_was_applied_before_memory_ran_out_is_refused_by_the_gate_and_a_resume_is_exact(
        self, wire: Wire
    ) -> None:
        manifest = wire.plan("score.slice_rows=10000")
        wire.add(STAGING, "answer_after", answer=MEMORY)
        wire.fails(manifest, GateRefused, "staging and ledger disagree in 1 slices")
        wire.resume(manifest)
        wire.exact(manifest)

    def test_without_the_gate_a_chunk_applied_before_memory_ran_out_is_published_twice(
        self, wire: Wire, without_gate: None
    ) -> None:
        manifest = wire.plan("score.slice_rows=10000")
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


class TestPublishing:
    # More than a driver's own retries survive.
    LOST = 2

    @pytest.mark.parametrize(("action", "answer"), LOST_ANSWERS)
    def test_a_commit_whose_answer_is_lost_is_one_commit(self, wire: Wire, action: str, answer: bytes) -> None:
        manifest = wire.plan()
        lost = wire.add(RUNS, action, skip=3, times=self.LOST, answer=answer)
        wire.run(manifest)
        assert len(lost.hits) == self.LOST
        assert b"PUBLISHED" in lost.hits[0]
        wire.exact(manifest)
        current = "SELECT uniqExact(batch_id), any(batch_id) FROM raypipe_current_predictions WHERE prediction_date = "
        assert wire.client.rows(current + "{day:Date}", {"day": DAY}) == [(1, manifest.run_id)]

    def test_without_repeating_the_commit_a_run_fails_whose_rows_are_published(
        self, wire: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retry, "ATTEMPTS", 1)
        manifest = wire.plan()
        wire.add(RUNS, "cut_after", skip=3, times=self.LOST)
        with pytest.raises(Unreachable):
            wire.run(manifest)
        assert_exact(wire.client, DAY, manifest.run_id)
        assert wire.status(manifest) == runs.FAILED

    def test_a_commit_whose_answers_are_all_lost_is_resumed_exactly(self, wire: Wire) -> None:
        manifest = wire.plan()
        # Not the row of the failure, which comes behind.
        wire.add(RUNS, "cut_after", skip=3, times=2 * retry.ATTEMPTS)
        with pytest.raises(Unreachable):
            wire.run(manifest)
        assert lock.holder(wire.client, "churn") is None
        wire.resume(manifest)
        wire.exact(manifest)

    @pytest.mark.parametrize(("action", "answer"), LOST_ANSWERS)
    @pytest.mark.parametrize("target", [0, 1])
    def test_a_swap_whose_answer_is_lost_fails_the_run_and_a_resume_is_exact(
        self, wire: Wire, target: int, action: str, answer: bytes
    ) -> None:
        manifest = wire.plan()
        swap = wire.add(b"REPLACE PARTITION", action, skip=target, once=False, answer=answer)
        with pytest.raises(Unreachable):
            wire.run(manifest)
        assert len(swap.hits) == 1
        assert wire.status(manifest) == runs.FAILED
        table = manifest.targets[target].table
        assert wire.client.value(
            f"SELECT countIf(created_at = {{at:DateTime}}) = count() FROM {table} WHERE prediction_date = {{day:Date}}",
            {"at": manifest.run_at, "day": DAY},
        )
        reads = wire.add(READ, "pass", once=False)
        wire.proxy.rules.remove(swap)
        wire.run(manifest)
        assert reads.hits == []
        wire.exact(manifest)

    def test_a_swap_that_did_not_happen_although_its_answer_says_so_is_refused_and_a_resume_is_exact(
        self, wire: Wire
    ) -> None:
        manifest = wire.plan()
        lie = wire.add(b"REPLACE PARTITION", "answer", once=False, answer=reply(200, ""))
        wire.fails(manifest, GateRefused, "does not hold its rows")
        assert len(lie.hits) == 2
        wire.resume(manifest)
        wire.exact(manifest)

    def test_without_verification_a_swap_that_did_not_happen_is_committed(
        self, wire: Wire, without_verification: None
    ) -> None:
        manifest = wire.plan()
        wire.add(b"REPLACE PARTITION", "answer", once=False, answer=reply(200, ""))
        wire.run(manifest)
        published_wrong(wire, manifest)

    @pytest.mark.parametrize(("action", "answer"), LOST_ANSWERS)
    @pytest.mark.parametrize("target", [0, 1])
    def test_a_move_whose_answer_is_lost_is_not_made_again_by_a_resume(
        self, monthly: Wire, target: int, action: str, answer: bytes
    ) -> None:
        manifest = lost_move(monthly, target, action, answer)
        monthly.resume(manifest)
        monthly.exact(manifest)

    def test_without_a_look_at_the_target_a_lost_move_is_made_again_and_refused(
        self, monthly: Wire, without_presence: None
    ) -> None:
        manifest = lost_move(monthly)
        with pytest.raises(GateRefused, match="does not hold its rows"):
            monthly.resume(manifest)
        assert monthly.status(manifest) == runs.REFUSED
        emptied(monthly)

    def test_without_a_look_at_the_target_and_without_verification_a_lost_move_is_published_twice(
        self, monthly: Wire, without_presence: None, without_verification: None
    ) -> None:
        manifest = lost_move(monthly)
        monthly.resume(manifest)
        published_wrong(monthly, manifest)
        emptied(monthly)

    def test_an_earlier_runs_rows_that_could_not_be_removed_do_not_take_the_commit_back_and_go_later(
        self, monthly: Wire
    ) -> None:
        earlier = planned(monthly.publisher, DAY, SLICES)
        in_process(monthly.publisher, earlier)
        manifest = monthly.plan()
        removal = monthly.add(b"DELETE FROM", "cut", once=False)
        monthly.run(manifest)
        assert removal.hit.is_set()
        assert monthly.status(manifest) == runs.PUBLISHED
        leftovers.clean(monthly.client)
        assert run.retire_superseded(monthly.client) == (earlier.run_id,)
        monthly.exact(manifest)

    @pytest.mark.parametrize("what", ["own-staging", "earlier-run"])
    def test_what_fails_behind_the_commit_does_not_take_it_back(self, wire: Wire, what: str) -> None:
        in_process(wire.publisher, wire.plan())
        manifest = wire.plan()
        drop = f"DROP TABLE IF EXISTS `{manifest.staging}`".encode()
        # The fifth row that a run writes into the ledger belongs to the run it replaces.
        pattern, skip = (RUNS, 4) if what == "earlier-run" else (drop, 0)
        broken = wire.add(pattern, "answer", skip=skip, answer=UNKNOWN)
        with suppress(RaypipeError):
            wire.run(manifest)
        assert broken.hit.is_set()
        assert_exact(wire.client, DAY, manifest.run_id)
        assert wire.status(manifest) == runs.PUBLISHED


@pytest.fixture
def without_presence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish without checking for existing rows."""
    plain, count = publish.prepare, publish.count

    def blind(client: Client, manifest: Manifest, target: Any, written: Sequence[Receipt], rows: int) -> PreparedTarget:
        def of_twins(client: Client, table: str, condition: str, values: dict[str, Any]) -> int:
            return -1 if table == target.table else count(client, table, condition, values)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(publish, "count", of_twins)
            return plain(client, manifest, target, written, rows)

    monkeypatch.setattr(publish, "prepare", blind)


def lost_move(monthly: Wire, target: int = 1, action: Any = "cut_after", answer: bytes = b"") -> Manifest:
    """Provide a run that failed because the answer to a successful MOVE was lost."""
    manifest = monthly.plan()
    move = monthly.add(b"MOVE PARTITION", action, skip=target, once=False, answer=answer)
    with pytest.raises(Unreachable):
        monthly.run(manifest)
    assert len(move.hits) == 1
    assert monthly.status(manifest) == runs.FAILED
    table = manifest.targets[target].table
    found = monthly.client.value(
        f"SELECT count() FROM {table} WHERE created_at = {{at:DateTime}}", {"at": manifest.run_at}
    )
    assert found == manifest.source_rows
    return manifest


def emptied(wire: Wire) -> None:
    """Remove a wrong publication for the following tests."""
    for table in TARGETS:
        wire.client.run(f"TRUNCATE TABLE {table}")
    wire.client.run("TRUNCATE TABLE raypipe_runs")
