"""Test inserts that are cut, refused or applied without an answer."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from raypipe.clickhouse import retry
from raypipe.clickhouse.client import Client
from raypipe.errors import GateRefused, Unreachable
from raypipe.score import runs, worker
from tests.faults.proxy import reply
from tests.faults.servers import while_held
from tests.faults.wire import (
    LEDGER,
    LOST_ANSWERS,
    PORTION,
    STAGING,
    Wire,
    published_wrong,
)

pytestmark = pytest.mark.usefixtures("pauses")


EXPLANATIONS = b"INSERT INTO `raypipe_explain_"


MONITORING = b"INSERT INTO `ml_model_monitoring`"


@pytest.fixture
def without_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send inserts without their tokens."""
    plain = Client.__init__

    def forgetful(self: Client, *arguments: Any, **options: Any) -> None:
        plain(self, *arguments, **options)
        for name in ("raw_insert", "command"):
            setattr(self._driver, name, _without_token(getattr(self._driver, name)))

    monkeypatch.setattr(Client, "__init__", forgetful)


def _without_token(send: Any) -> Any:
    def without(*arguments: Any, settings: dict[str, Any] | None = None, **rest: Any) -> object:
        if settings and "insert_deduplication_token" in settings:
            off = {"insert_deduplicate": 0, **{name: "disable" for name in settings if name == "deduplicate_insert"}}
            settings = {**{name: value for name, value in settings.items() if "dedup" not in name}, **off}
        return send(*arguments, settings=settings, **rest)

    return without


INSERTS = pytest.mark.parametrize("pattern", [STAGING, PORTION], ids=["staging", "portion"])


class TestInserts:
    @INSERTS
    @pytest.mark.parametrize("action", ["cut", "cut_body", "cut_after"], ids=["before", "inside", "after"])
    def test_an_insert_whose_connection_is_reset_before_inside_or_after_it_was_applied_stands_once(
        self, wire: Wire, action: str, pattern: bytes
    ) -> None:
        manifest = wire.plan()
        sent = wire.add(pattern, "pass", once=False)
        cut = wire.add(pattern, action, skip=2)
        outcome = wire.run(manifest)
        assert cut.hit.is_set()
        tables = 1 if pattern == STAGING else len(manifest.targets)
        assert len(sent.hits) == tables * len(outcome.receipts) + 1
        wire.exact(manifest)

    @pytest.mark.parametrize(("action", "answer"), LOST_ANSWERS)
    @pytest.mark.parametrize(
        "pattern",
        [
            pytest.param(STAGING, id="staging", marks=pytest.mark.fast),
            pytest.param(PORTION, id="portion", marks=pytest.mark.fast),
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

    @INSERTS
    @pytest.mark.parametrize(("action", "answer"), LOST_ANSWERS)
    def test_without_tokens_the_insert_is_doubled_and_the_gate_refuses(
        self, wire: Wire, without_tokens: None, action: str, answer: bytes, pattern: bytes
    ) -> None:
        manifest = wire.plan()
        wire.add(pattern, action, skip=2, answer=answer)
        wire.fails(manifest, GateRefused, "staging and ledger disagree in 1 slices")

    @pytest.mark.parametrize(("action", "answer"), LOST_ANSWERS)
    def test_without_tokens_and_gate_the_rows_are_published_twice(
        self, wire: Wire, without_tokens: None, without_gate: None, action: str, answer: bytes
    ) -> None:
        manifest = wire.staged()
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
