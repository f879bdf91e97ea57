"""Test publications whose statements or answers are lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from raypipe.clickhouse import lock, mutations, retry
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema import leftovers
from raypipe.errors import GateRefused, RaypipeError, Unreachable
from raypipe.score import publish, run, runs
from raypipe.score.manifest import Manifest
from tests.conftest import FittedPublisher, _fresh_database
from tests.faults.oracle import assert_exact, in_process, planned
from tests.faults.proxy import reply
from tests.faults.servers import copied
from tests.faults.wire import (
    DAY,
    LOST_ANSWERS,
    READ,
    SLICES,
    TARGETS,
    UNKNOWN,
    Wire,
    published_wrong,
    wired,
)

pytestmark = pytest.mark.usefixtures("pauses")


RUNS = b"INSERT INTO `raypipe_runs`"


@pytest.fixture(scope="module")
def monthly_publisher(fitted_publisher: FittedPublisher, endpoint: Endpoint) -> Iterator[FittedPublisher]:
    """Provide the same copy with monthly partitions, which get rows by MOVE."""
    with _fresh_database(endpoint) as own:
        publisher = copied(fitted_publisher, own, [DAY], monthly=True)
        in_process(publisher, planned(publisher, DAY, SLICES))
        yield publisher


@pytest.fixture
def monthly_wire(monthly_publisher: FittedPublisher) -> Iterator[Wire]:
    with wired(monthly_publisher) as through:
        yield through


@pytest.fixture
def without_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the count after publishing."""
    monkeypatch.setattr(publish, "verify", lambda *_: None)


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

    def test_without_a_look_at_its_row_a_run_fails_whose_rows_are_published(
        self, wire: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retry, "ATTEMPTS", 1)
        monkeypatch.setattr(runs, "FINISHED", ())
        manifest = wire.plan()
        wire.add(RUNS, "cut_after", skip=3, times=self.LOST)
        with pytest.raises(Unreachable):
            wire.run(manifest)
        assert_exact(wire.client, DAY, manifest.run_id)
        assert wire.status(manifest) == runs.FAILED

    def test_a_commit_whose_answers_are_all_lost_counts_and_the_rest_is_done_by_doctor_clean(self, wire: Wire) -> None:
        manifest = wire.plan()
        wire.add(RUNS, "cut_after", skip=3, times=2 * retry.ATTEMPTS)
        with pytest.raises(Unreachable):
            wire.run(manifest)
        assert lock.holder(wire.client, "churn") is None
        assert wire.status(manifest) == runs.PUBLISHED
        leftovers.clean(wire.client)
        run.retire_superseded(wire.client)
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
    def test_a_move_whose_answer_is_lost_is_made_again_by_a_resume_and_adds_nothing(
        self, monthly_wire: Wire, target: int, action: str, answer: bytes
    ) -> None:
        manifest = lost_move(monthly_wire, target, action, answer)
        monthly_wire.resume(manifest)
        monthly_wire.exact(manifest)

    def test_without_deleting_what_it_left_a_lost_move_is_made_again_and_refused(
        self, monthly_wire: Wire, without_deletion: None
    ) -> None:
        manifest = lost_move(monthly_wire)
        with pytest.raises(GateRefused, match="does not hold its rows"):
            monthly_wire.resume(manifest)
        assert monthly_wire.status(manifest) == runs.REFUSED
        emptied(monthly_wire)

    def test_without_deleting_what_it_left_and_without_verification_a_lost_move_is_published_twice(
        self, monthly_wire: Wire, without_deletion: None, without_verification: None
    ) -> None:
        manifest = lost_move(monthly_wire)
        monthly_wire.resume(manifest)
        published_wrong(monthly_wire, manifest)
        emptied(monthly_wire)

    def test_an_earlier_runs_rows_that_could_not_be_removed_do_not_take_the_commit_back_and_go_later(
        self, monthly_wire: Wire
    ) -> None:
        earlier = planned(monthly_wire.publisher, DAY, SLICES)
        in_process(monthly_wire.publisher, earlier)
        manifest = monthly_wire.plan()
        removal = monthly_wire.add(b"DELETE FROM", "cut", once=False)
        monthly_wire.run(manifest)
        assert removal.hit.is_set()
        assert monthly_wire.status(manifest) == runs.PUBLISHED
        leftovers.clean(monthly_wire.client)
        assert run.retire_superseded(monthly_wire.client) == (earlier.run_id,)
        monthly_wire.exact(manifest)

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
def without_deletion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Move a run's rows in, whatever an earlier attempt has left."""
    monkeypatch.setattr(mutations, "delete", lambda *_: None)


def lost_move(monthly_wire: Wire, target: int = 1, action: Any = "cut_after", answer: bytes = b"") -> Manifest:
    """Provide a run that failed because the answer to a successful MOVE was lost."""
    manifest = monthly_wire.plan()
    move = monthly_wire.add(b"MOVE PARTITION", action, skip=target, once=False, answer=answer)
    with pytest.raises(Unreachable):
        monthly_wire.run(manifest)
    assert len(move.hits) == 1
    assert monthly_wire.status(manifest) == runs.FAILED
    table = manifest.targets[target].table
    found = monthly_wire.client.value(
        f"SELECT count() FROM {table} WHERE created_at = {{at:DateTime}}", {"at": manifest.run_at}
    )
    assert found == manifest.source_rows
    return manifest


def emptied(wire: Wire) -> None:
    """Remove a wrong publication for the following tests."""
    for table in TARGETS:
        wire.client.run(f"TRUNCATE TABLE {table}")
    wire.client.run("TRUNCATE TABLE raypipe_runs")
