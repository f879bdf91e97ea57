"""Test a server killed during a run and restarted: the run keeps its rows and finishes exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from raypipe.clickhouse import lock, retry
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.errors import GateRefused, RaypipeError, Unreachable
from raypipe.score import ledger, runs
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.run import PublishedRun
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher
from tests.faults.actors import PORTION_INSERT
from tests.faults.nights import open_gate
from tests.faults.oracle import assert_exact, assert_nothing_left, in_process, planned
from tests.faults.proxy import Proxy, Rule, proxied
from tests.faults.servers import Embedded, copied, own_server, while_held

DAY = PUBLISHER_LAST_DATE - timedelta(days=30)
DATABASE = "raypipe_own"
STAGING = b"INSERT INTO `raypipe_staging_"
LEDGER = b"INSERT INTO `raypipe_slices`"
READ = b"max_threads=1"


@dataclass
class Mortal:
    """A server of the test with a copy of the publisher, and a proxy that survives it."""

    server: Embedded
    proxy: Proxy
    publisher: FittedPublisher

    @property
    def through(self) -> FittedPublisher:
        """Return the publisher behind the proxy."""
        return replace(self.publisher, endpoint=replace(self.publisher.endpoint, url=self.proxy.url))

    def plan(self) -> Manifest:
        """Freeze a run, without the proxy."""
        return planned(self.publisher, DAY, "score.slice_rows=1500")

    def run(self, manifest: Manifest) -> PublishedRun:
        """A run through the proxy."""
        return in_process(self.through, manifest)

    def resume(self, manifest: Manifest) -> PublishedRun:
        """Goes on with a run whose lock may be left behind: this process, unlike the one of a command, lives on."""
        return in_process(self.through, manifest, take_over=True)

    def start(self) -> None:
        """Restart the server."""
        endpoint = replace(self.server.start(), database=DATABASE)
        self.publisher = replace(self.publisher, endpoint=endpoint)
        self.proxy.redirect(endpoint.url)

    def exact(self, manifest: Manifest) -> None:
        """Assert that the run is committed with each key of the source once, and nothing else is left."""
        with Client(self.publisher.endpoint) as client:
            assert runs.find(client, manifest.run_id).status == runs.PUBLISHED
            assert_exact(client, DAY, manifest.run_id)
            assert_nothing_left(client)

    def finished(self, manifest: Manifest) -> list[Receipt]:
        """Return the receipts in the ledger."""
        with Client(self.publisher.endpoint) as client:
            return ledger.receipts(client, manifest.run_id)


@pytest.fixture
def mortal(fitted_publisher: FittedPublisher, tmp_path: Path) -> Iterator[Mortal]:
    with own_server(tmp_path / "server") as server:
        endpoint = replace(server.start(), database=DATABASE)
        publisher = copied(fitted_publisher, endpoint, [DAY])
        with proxied(endpoint.url) as proxy:
            yield Mortal(server, proxy, publisher)


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that are repeated at once, and so fail at once while the server is away."""
    monkeypatch.setattr(retry, "sleep", lambda _: None)


def killed_while_running(mortal: Mortal, manifest: Manifest, rule: Rule) -> None:
    """Kill the server at a request of a run, and restart it after the run has given up."""
    with while_held(mortal.proxy.add(rule), lambda: mortal.run(manifest)) as running:
        mortal.server.kill()
    assert isinstance(running.exception(), Unreachable)
    mortal.start()


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(lambda: Rule(STAGING, "hold", skip=2), id="before-an-insert"),
        pytest.param(lambda: Rule(STAGING, "hold_answer", skip=2), id="after-an-insert", marks=pytest.mark.fast),
        # Each slice inserts into a portion of two targets.
        pytest.param(lambda: Rule(PORTION_INSERT, "hold", skip=5), id="before-a-portion"),
        pytest.param(lambda: Rule(PORTION_INSERT, "hold_answer", skip=4), id="after-a-portion"),
        pytest.param(lambda: Rule(LEDGER, "hold", skip=2), id="before-the-ledger"),
    ],
)
def test_a_server_killed_during_inserts_and_started_again_is_resumed_exactly(
    mortal: Mortal, without_pauses: None, rule: Callable[[], Rule]
) -> None:
    manifest = mortal.plan()
    killed_while_running(mortal, manifest, rule())
    before = mortal.finished(manifest)
    assert len(before) == 2
    reads = mortal.proxy.add(Rule(READ, "pass", once=False))
    mortal.resume(manifest)
    assert len(reads.hits) == len(manifest.slicing.slices) - len(before)
    mortal.exact(manifest)


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(lambda: Rule(b"REPLACE PARTITION", "hold", skip=1), id="between-the-swaps"),
        pytest.param(lambda: Rule(b"REPLACE PARTITION", "hold_answer", skip=1), id="after-the-swaps"),
        pytest.param(lambda: Rule(b"INSERT INTO `raypipe_runs`", "hold", skip=3), id="before-the-commit"),
    ],
)
def test_a_server_killed_while_publishing_and_started_again_is_resumed_exactly_without_reading_anything(
    mortal: Mortal, without_pauses: None, rule: Callable[[], Rule]
) -> None:
    manifest = mortal.plan()
    killed_while_running(mortal, manifest, rule())
    reads = mortal.proxy.add(Rule(READ, "pass", once=False))
    mortal.resume(manifest)
    assert reads.hits == []
    mortal.exact(manifest)


def lost_in_the_crash(mortal: Mortal) -> Manifest:
    """Provide a run with a server killed after two slices, one in the ledger but not in staging.

    Killing only the process loses no acknowledged row. A power failure may.
    """
    manifest = mortal.plan()
    killed_while_running(mortal, manifest, Rule(STAGING, "hold", skip=2))
    first = mortal.finished(manifest)[0].slice
    with Client(mortal.publisher.endpoint) as client:
        client.run(f"ALTER TABLE {identifier(manifest.staging)} DROP PARTITION {first}")
    return manifest


def test_a_commit_behind_which_the_server_is_killed_counts(mortal: Mortal, without_pauses: None) -> None:
    manifest = mortal.plan()
    killed_while_running(mortal, manifest, Rule(b"INSERT INTO `raypipe_runs`", "hold_answer", skip=3))
    with Client(mortal.publisher.endpoint) as client:
        assert runs.find(client, manifest.run_id).status == runs.PUBLISHED
        assert_exact(client, DAY, manifest.run_id)


def test_parts_that_were_lost_in_the_crash_are_scored_again(mortal: Mortal, without_pauses: None) -> None:
    manifest = lost_in_the_crash(mortal)
    reads = mortal.proxy.add(Rule(READ, "pass", once=False))
    mortal.resume(manifest)
    assert len(reads.hits) == len(manifest.slicing.slices) - 1
    mortal.exact(manifest)


def test_without_reconciliation_lost_parts_are_missing_which_the_gate_or_else_the_oracle_sees(
    mortal: Mortal, without_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def believed(client: Client, manifest: Manifest) -> list[Receipt]:
        return ledger.receipts(client, manifest.run_id)

    manifest = lost_in_the_crash(mortal)
    monkeypatch.setattr(ledger, "reconcile", believed)
    with pytest.raises(GateRefused, match="staging and ledger disagree in 1 slices"):
        mortal.resume(manifest)
    open_gate(monkeypatch)
    mortal.resume(manifest)
    with Client(mortal.publisher.endpoint) as client, pytest.raises(AssertionError):
        assert_exact(client, DAY, manifest.run_id)


def test_a_lock_that_a_dead_server_kept_is_taken_by_the_resume_of_its_run_alone(
    mortal: Mortal, without_pauses: None
) -> None:
    manifest = mortal.plan()
    killed_while_running(mortal, manifest, Rule(STAGING, "hold", skip=2))
    with Client(mortal.publisher.endpoint) as client:
        held = lock.holder(client, "churn")
        assert held is not None
        assert held.run_id == manifest.run_id
        assert runs.find(client, manifest.run_id).status == runs.RUNNING
    with pytest.raises(RaypipeError, match="a run is at work"):
        mortal.run(mortal.plan())
    mortal.resume(manifest)
    mortal.exact(manifest)


def test_a_server_that_is_back_within_the_pauses_costs_the_run_nothing(mortal: Mortal) -> None:
    manifest = mortal.plan()
    with while_held(mortal.proxy.add(Rule(STAGING, "hold_answer", skip=2)), lambda: mortal.run(manifest)) as running:
        mortal.server.kill()
        mortal.start()
    assert running.exception() is None
    mortal.exact(manifest)
