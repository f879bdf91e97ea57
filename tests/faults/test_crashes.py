"""Test actors and drivers that die anywhere: the run continues or resumes, and repeats only the unfinished slices.

Each fault has a negative control, which switches the guard off and sees the damage.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from raypipe.clickhouse import inserts, lock, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.server_errors import MEMORY_LIMIT
from raypipe.clickhouse.statements import identifier
from raypipe.data.slices import Slice
from raypipe.errors import DataError, GateRefused, ServerError
from raypipe.score import ledger, run, runs, staging, worker
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.worker import SliceScorer
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher
from tests.faults.actors import LEDGER_INSERT, RUNS_INSERT, STAGING_INSERT, SWAP, Command, awaited, kill, started
from tests.faults.nights import open_gate
from tests.faults.oracle import assert_exact, assert_nothing_left, in_process, newest, planned
from tests.faults.proxy import Proxy, Rule, proxied
from tests.faults.test_interrupted import finish

DAY = PUBLISHER_LAST_DATE - timedelta(days=30)
TARGETS = ("ml_model_predictions", "customer_churn_predictions")
# A single actor, so that a held request stops the run. Several inserts per slice.
ONE = ("--set", "score.actors.max=1", "--set", "score.chunk_rows=150")
TWO = ("--set", "score.actors.max=2")


@contextmanager
def behind_a_proxy(publisher: FittedPublisher) -> Iterator[tuple[Proxy, FittedPublisher]]:
    """Return the same publisher behind a proxy."""
    with proxied(publisher.endpoint.url) as proxy:
        yield proxy, replace(publisher, endpoint=replace(publisher.endpoint, url=proxy.url))


def scoring(*overrides: str) -> tuple[str, ...]:
    """Return the arguments of `raypipe score` on this module's day."""
    return ("score", "churn", "--date", DAY.isoformat(), *overrides)


def finished(client: Client, run_id: str) -> dict[int, int]:
    """Return each slice's counted attempt, from the ledger."""
    return {receipt.slice: receipt.attempt for receipt in ledger.receipts(client, run_id)}


def staged_chunks(client: Client, run_id: str) -> int:
    """Return the chunks in a run's staging table, including those of dead attempts."""
    return int(client.value(f"SELECT uniqExact(attempt, chunk) FROM {identifier(f'raypipe_staging_{run_id}')}"))


# An actor dies around an insert.

MOMENTS = {
    "before": ("hold", "cut"),
    "inside": ("hold", "cut_body"),
    "after": ("hold_answer",),
    "late": ("hold",),
}
BEFORE = 5


@pytest.mark.parametrize("moment", ["before", "inside", pytest.param("after", marks=pytest.mark.fast), "late"])
def test_an_actor_killed_around_an_insert_costs_that_slice_alone(
    fitted_publisher: FittedPublisher, reader: Client, tmp_path: Path, moment: str
) -> None:
    """The insert is lost, arrives in half, loses its answer, or arrives long after its actor died."""
    with behind_a_proxy(fitted_publisher) as (proxy, through):
        rule, *_ = [proxy.add(Rule(STAGING_INSERT, action, skip=BEFORE)) for action in MOMENTS[moment]]
        with started(through, tmp_path / "log", *scoring(*ONE), "--json") as command:
            command.until(rule)
            run_id = newest(reader, DAY).run_id
            if moment == "after":
                awaited(lambda: staged_chunks(reader, run_id) == BEFORE + 1, "the insert was not applied")
            before = finished(reader, run_id)
            killed = command.kill_actors()
            rule.released.set()
            assert command.wait() == 0, command.said
            assert len(killed) == 1
            # Ray's report of a dead actor must not appear in the document.
            assert json.loads(command.printed)["run_id"] == run_id
            assert "(raylet)" in command.said
            after = finished(reader, run_id)
            assert before
            assert before.items() <= after.items()
            assert_exact(reader, DAY, run_id)
            assert_nothing_left(reader, command.process)
            command.gone()


@pytest.mark.parametrize("percent", [10, 50, 90])
def test_actors_killed_in_the_course_of_a_run_cost_their_slices_alone(
    fitted_publisher: FittedPublisher, reader: Client, tmp_path: Path, percent: int
) -> None:
    slices = len(planned(fitted_publisher, DAY).slicing.slices)
    done = max(1, slices * percent // 100)
    with behind_a_proxy(fitted_publisher) as (proxy, through):
        rule = proxy.add(Rule(LEDGER_INSERT, "hold", skip=done, once=False))
        with started(through, tmp_path / "log", *scoring(*TWO)) as command:
            command.until(rule)
            run_id = newest(reader, DAY).run_id
            before = finished(reader, run_id)
            assert len(before) == done
            command.kill_actors()
            rule.released.set()
            assert command.wait() == 0, command.said
            after = finished(reader, run_id)
            # One actor is held at its ledger row. The other may die with its receipt on the way to the driver.
            assert len(before.items() - after.items()) <= 1
            assert len(after) == slices
            assert_exact(reader, DAY, run_id)
            assert_nothing_left(reader, command.process)
            command.gone()


def test_without_restarts_a_killed_actor_fails_the_run_and_a_resume_is_exact(
    fitted_publisher: FittedPublisher, reader: Client, tmp_path: Path
) -> None:
    with behind_a_proxy(fitted_publisher) as (proxy, through):
        rule = proxy.add(Rule(LEDGER_INSERT, "hold", skip=3, once=False))
        with started(through, tmp_path / "log", *scoring(*ONE, "--set", "score.actors.restarts=0")) as command:
            command.until(rule)
            before = finished(reader, newest(reader, DAY).run_id)
            command.kill_actors()
            rule.released.set()
            assert command.wait() == 1
            assert_failed_by_deaths(reader, command, restarts=0)
    run_id = newest(reader, DAY).run_id
    finish(fitted_publisher, "resume", run_id)
    assert before.items() <= finished(reader, run_id).items()
    assert_exact(reader, DAY, run_id)
    assert_nothing_left(reader)


def assert_failed_by_deaths(client: Client, command: Command, restarts: int) -> None:
    """Assert that the run failed with a helpful error, released its lock and published nothing."""
    failed = newest(client, DAY)
    assert failed.status == runs.FAILED
    for said in (failed.error, " ".join(command.said.split())):
        assert f"died more than {restarts} times (score.actors.restarts)" in said
        assert "memory" in said
        assert "resume" in said
    assert lock.holder(client, "churn") is None
    assert published(client, failed.run_id) == 0


def published(client: Client, run_id: str) -> int:
    return int(client.value("SELECT count() FROM ml_model_predictions WHERE batch_id = {id:String}", {"id": run_id}))


def test_actors_that_always_die_fail_the_run_within_bounds_and_a_resume_is_exact(
    fitted_publisher: FittedPublisher, reader: Client, tmp_path: Path
) -> None:
    """Every actor is killed as soon as it appears, as if each ran out of memory."""
    killed: set[int] = set()
    with started(fitted_publisher, tmp_path / "log", *scoring(*ONE, "--set", "score.actors.restarts=2")) as command:
        while command.process.poll() is None:
            found = command.actors
            kill(found)
            killed.update(found)
        assert command.process.returncode == 1
        assert len(killed) == 1 + 2
        assert_failed_by_deaths(reader, command, restarts=2)
    run_id = newest(reader, DAY).run_id
    finish(fitted_publisher, "resume", run_id)
    assert_exact(reader, DAY, run_id)
    assert_nothing_left(reader, command.process)


def test_without_the_bound_an_actor_that_always_dies_is_started_again_and_again(
    fitted_publisher: FittedPublisher, reader: Client, tmp_path: Path
) -> None:
    killed: set[int] = set()
    with started(
        fitted_publisher, tmp_path / "log", *scoring(*ONE, "--set", "score.actors.restarts=1000000")
    ) as command:
        while len(killed) <= 2 * 3:
            killed.update(command.kill_actors())
        assert command.process.poll() is None
        command.kill()


def test_actors_that_ray_kills_for_their_memory_fail_the_run_with_the_error_that_names_it(
    fitted_publisher: FittedPublisher, reader: Client, tmp_path: Path
) -> None:
    limits = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "50"}
    with started(
        fitted_publisher, tmp_path / "log", *scoring(*ONE, "--set", "score.actors.restarts=1"), **limits
    ) as command:
        assert command.wait() == 1, command.said
        assert_failed_by_deaths(reader, command, restarts=1)
    run_id = newest(reader, DAY).run_id
    finish(fitted_publisher, "resume", run_id)
    assert_exact(reader, DAY, run_id)
    assert_nothing_left(reader, command.process)


# Rows of a dead actor must not count: the attempt's number.


class Died(BaseException):
    """End an attempt at once, like SIGKILL."""


def cuts_in_halves(patch: pytest.MonkeyPatch, then: Callable[[int], None] = lambda sent: None) -> None:
    """Make the server reject the first chunk for memory, so that it is sent in halves with other tokens.

    Args:
        patch: A patch that the caller undoes.
        then: Called with the number of each applied insert into staging, counting the refused one.
    """
    insert, sent = Client.insert, 0

    def insert_unless_first(self: Client, table: str, data: Any, **options: Any) -> None:
        nonlocal sent
        is_staged = table.startswith("raypipe_staging_")
        sent += is_staged
        if is_staged and sent == 1:
            short = ServerError("short of memory")
            short.code = MEMORY_LIMIT
            raise short
        insert(self, table, data, **options)
        if is_staged:
            then(sent)

    patch.setattr(inserts, "SMALLEST_CHUNK", 10)
    patch.setattr(Client, "insert", insert_unless_first)


def dies_after_half_a_slice(patch: pytest.MonkeyPatch) -> None:
    """Kill an actor after the first half of a chunk. Its successor inserts the whole chunk."""
    score = SliceScorer.score

    def die(sent: int) -> None:
        if sent == 2:
            raise Died

    def score_again(self: SliceScorer, piece: Slice) -> Receipt:
        try:
            return score(self, piece)
        except Died:
            return score(SliceScorer(self._client.endpoint, self._manifest, 1), piece)

    cuts_in_halves(patch, die)
    patch.setattr(SliceScorer, "score", score_again)


def staged(publisher: FittedPublisher) -> Manifest:
    """Freeze a run whose attempts share staging. In a direct run, each has a table of its own as well."""
    return replace(planned(publisher, DAY), direct=False)


def without_attempts(patch: pytest.MonkeyPatch) -> None:
    """Give every attempt the same number."""
    patch.setattr(worker.secrets, "randbits", lambda _bits: 1)


def test_the_rows_of_an_actor_that_died_within_a_slice_do_not_count(
    fitted_publisher: FittedPublisher, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = planned(fitted_publisher, DAY)
    dies_after_half_a_slice(monkeypatch)
    in_process(fitted_publisher, manifest)
    assert_exact(reader, DAY, manifest.run_id)
    assert_nothing_left(reader)


def test_without_attempt_numbers_a_dead_actors_rows_are_refused_by_the_gate(
    fitted_publisher: FittedPublisher, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = staged(fitted_publisher)
    with monkeypatch.context() as patch:
        dies_after_half_a_slice(patch)
        without_attempts(patch)
        with pytest.raises(GateRefused):
            in_process(fitted_publisher, manifest)
    assert published(reader, manifest.run_id) == 0
    in_process(fitted_publisher, manifest)
    assert_exact(reader, DAY, manifest.run_id)


def test_without_attempt_numbers_and_gate_a_dead_actors_rows_are_published_twice(
    fitted_publisher: FittedPublisher, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = staged(fitted_publisher)
    dies_after_half_a_slice(monkeypatch)
    without_attempts(monkeypatch)
    open_gate(monkeypatch)
    in_process(fitted_publisher, manifest)
    with pytest.raises(AssertionError):
        assert_exact(reader, DAY, manifest.run_id)


# Writes of an actor after the end of its run must not count either: staging belongs to the run and is dropped with it.


@contextmanager
def unchanged(client: Client) -> Iterator[None]:
    """Assert that no row of a target changes inside the block."""

    def content() -> list[tuple[Any, ...]]:
        return [client.rows(f"SELECT count(), sum(cityHash64(*)) FROM {table}")[0] for table in TARGETS]

    before = content()
    yield
    assert content() == before


def stale(publisher: FittedPublisher) -> tuple[Manifest, SliceScorer]:
    """A published run with an actor that still works on it."""
    manifest = planned(publisher, DAY)
    with Client(publisher.endpoint) as client:
        staging.create(client, manifest)
    actor = SliceScorer(publisher.endpoint, manifest, 1)
    in_process(publisher, manifest)
    return manifest, actor


@pytest.mark.fast
def test_a_stale_actor_that_writes_after_its_run_was_published_gets_an_error_and_changes_nothing(
    fitted_publisher: FittedPublisher, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, actor = stale(fitted_publisher)
    # Each slice asks only whether staging stands; the whole look is the run's, once.
    monkeypatch.setattr(staging, "check", lambda *_: pytest.fail("a slice describes the staging table"))
    with unchanged(reader), pytest.raises(DataError, match=manifest.staging):
        actor.score(manifest.slicing.slices[0])
    assert_exact(reader, DAY, manifest.run_id)
    assert runs.find(reader, manifest.run_id).status == runs.PUBLISHED
    assert_nothing_left(reader)


def test_without_dropping_staging_a_stale_actor_gets_no_error_and_leaves_rows_behind(
    fitted_publisher: FittedPublisher, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "drop", lambda *_: None)
    manifest, actor = stale(fitted_publisher)
    with unchanged(reader):
        actor.score(manifest.slicing.slices[0])
    with pytest.raises(AssertionError):
        assert_nothing_left(reader)


def before_the_gate(patch: pytest.MonkeyPatch, act: Callable[[Client, Manifest], None]) -> None:
    """Do something once all slices are scored."""
    stage = run._stage

    def stage_and_act(client: Client, manifest: Manifest, *rest: Any) -> list[Receipt]:
        written = stage(client, manifest, *rest)
        act(client, manifest)
        return written

    patch.setattr(run, "_stage", stage_and_act)


def writes_once_more(publisher: FittedPublisher, patch: pytest.MonkeyPatch) -> None:
    """Let an actor believed dead score a slice again after its successors finished all slices."""

    def write(_client: Client, manifest: Manifest) -> None:
        with pytest.MonkeyPatch.context() as patch:
            cuts_in_halves(patch)
            SliceScorer(publisher.endpoint, manifest, 1).score(manifest.slicing.slices[0])

    before_the_gate(patch, write)


def test_a_stale_actor_that_writes_before_the_gate_does_not_count(
    fitted_publisher: FittedPublisher, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = planned(fitted_publisher, DAY)
    writes_once_more(fitted_publisher, monkeypatch)
    in_process(fitted_publisher, manifest)
    assert_exact(reader, DAY, manifest.run_id)
    assert_nothing_left(reader)


def test_without_attempt_numbers_and_gate_a_stale_actors_rows_are_published_twice(
    fitted_publisher: FittedPublisher, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = staged(fitted_publisher)
    writes_once_more(fitted_publisher, monkeypatch)
    without_attempts(monkeypatch)
    open_gate(monkeypatch)
    in_process(fitted_publisher, manifest)
    with pytest.raises(AssertionError):
        assert_exact(reader, DAY, manifest.run_id)


# The driver dies.


@pytest.mark.parametrize(
    ("pattern", "skip", "status"),
    [
        (RUNS_INSERT, 1, runs.RUNNING),
        (RUNS_INSERT, 2, runs.STAGED),
        (SWAP, 1, runs.PUBLISHING),
    ],
    ids=["after-the-gate", "between-gate-and-publication", "between-two-swaps"],
)
def test_a_driver_killed_around_the_publication_is_resumed_and_its_last_request_comes_too_late(
    fitted_publisher: FittedPublisher, reader: Client, tmp_path: Path, pattern: bytes, skip: int, status: str
) -> None:
    """The request of the dead driver reaches the server after the resumed run has ended, and undoes nothing."""
    with behind_a_proxy(fitted_publisher) as (proxy, through):
        rule = proxy.add(Rule(pattern, "hold", skip=skip))
        with started(through, tmp_path / "log", *scoring()) as command:
            command.until(rule)
            command.kill()
        stopped = newest(reader, DAY)
        assert stopped.status == status
        before = finished(reader, stopped.run_id)
        assert len(before) == stopped.slices
        finish(fitted_publisher, "resume", stopped.run_id)
        assert_exact(reader, DAY, stopped.run_id)
    assert finished(reader, stopped.run_id) == before
    assert runs.find(reader, stopped.run_id).status == runs.PUBLISHED
    assert_exact(reader, DAY, stopped.run_id)
    assert_nothing_left(reader, command.process)


def swap_that_was_held_back(publisher: FittedPublisher) -> str:
    """The statement at which a run's driver died, held back from the server."""
    send, held = Client.run, []

    def die_at_a_swap(self: Client, sql: str, *rest: Any, **options: Any) -> None:
        if SWAP.decode() in sql and TARGETS[0] in sql:
            held.append(sql)
            raise Died
        send(self, sql, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "run", die_at_a_swap)
        with pytest.raises(Died):
            in_process(publisher, planned(publisher, DAY))
    return str(held[0])


def test_a_dead_runs_swap_that_arrives_after_the_next_run_was_published_is_refused(
    fitted_publisher: FittedPublisher, reader: Client
) -> None:
    swap = swap_that_was_held_back(fitted_publisher)
    manifest = planned(fitted_publisher, DAY)
    in_process(fitted_publisher, manifest)
    with unchanged(reader), pytest.raises(ServerError, match="raypipe_twin"):
        reader.run(swap)
    assert_exact(reader, DAY, manifest.run_id)
    assert_nothing_left(reader)


def test_without_dropping_the_twins_of_dead_runs_a_late_swap_brings_back_their_rows(
    fitted_publisher: FittedPublisher, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap = swap_that_was_held_back(fitted_publisher)
    manifest = planned(fitted_publisher, DAY)
    with monkeypatch.context() as patch:
        patch.setattr(staging, "drop", lambda *_: None)
        # The next owner drops the twins of every owner before.
        patch.setattr(twins, "drop_former", lambda *_: None)
        in_process(fitted_publisher, manifest)
    reader.run(swap)
    with pytest.raises(AssertionError):
        assert_exact(reader, DAY, manifest.run_id)


def test_a_driver_killed_alone_takes_its_actors_along(
    fitted_publisher: FittedPublisher, reader: Client, tmp_path: Path
) -> None:
    with behind_a_proxy(fitted_publisher) as (proxy, through):
        rule = proxy.add(Rule(LEDGER_INSERT, "hold", skip=2, once=False))
        with started(through, tmp_path / "log", *scoring(*TWO)) as command:
            command.until(rule)
            kill([command.process.pid])
            command.process.wait()
            command.gone()
            rule.released.set()
    run_id = newest(reader, DAY).run_id
    finish(fitted_publisher, "resume", run_id)
    assert_exact(reader, DAY, run_id)
    assert_nothing_left(reader, command.process)


# A resume scores the missing slices and nothing else.


def stops_after(patch: pytest.MonkeyPatch, slices: int) -> None:
    """Kill the run once `slices` slices are in the ledger."""
    record = ledger.record
    written = 0

    def record_and_die(client: Client, run_id: str, receipt: Receipt) -> None:
        nonlocal written
        if written == slices:
            raise Died
        record(client, run_id, receipt)
        written += 1

    patch.setattr(ledger, "record", record_and_die)


def interrupted(publisher: FittedPublisher, day: date = DAY) -> Manifest:
    """Provide a run that died at 90 % of its slices."""
    manifest = planned(publisher, day)
    with pytest.MonkeyPatch.context() as patch:
        stops_after(patch, len(manifest.slicing.slices) * 9 // 10)
        with pytest.raises(Died):
            in_process(publisher, manifest)
    return manifest


SLICES_READ = """
SELECT count() FROM system.query_log
WHERE type = 'QueryStart' AND current_database = {database:String} AND query_kind = 'Select'
    AND query LIKE '%customer_user_features%' AND query LIKE '%ArrowStream%' AND query NOT LIKE '%raypipe_staging%'
"""


def slices_read(client: Client) -> int | None:
    """Return the slices read in this database, by the server's query log. None without a log."""
    if not client.value("SELECT count() FROM system.tables WHERE database = 'system' AND name = 'query_log'"):
        return None
    client.run("SYSTEM FLUSH LOGS")
    return int(client.value(SLICES_READ, {"database": client.endpoint.database}))


def test_a_resume_reads_the_unfinished_slices_alone(fitted_publisher: FittedPublisher, reader: Client) -> None:
    manifest = interrupted(fitted_publisher)
    before, read = finished(reader, manifest.run_id), slices_read(reader)
    outcome = in_process(fitted_publisher, manifest)
    missing = len(manifest.slicing.slices) - len(before)
    assert 0 < missing < len(before)
    assert before.items() <= {receipt.slice: receipt.attempt for receipt in outcome.receipts}.items()
    if read is not None:
        assert (slices_read(reader) or 0) - read == missing
    assert_exact(reader, DAY, manifest.run_id)
    assert_nothing_left(reader)


def without_ledger(patch: pytest.MonkeyPatch) -> None:
    """Hide the receipts from a resume."""
    patch.setattr(ledger, "receipts", lambda *_: [])


def test_without_the_ledger_a_resume_reads_every_slice_again(
    fitted_publisher: FittedPublisher, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = interrupted(fitted_publisher)
    before = finished(reader, manifest.run_id)
    with monkeypatch.context() as patch:
        without_ledger(patch)
        outcome = in_process(fitted_publisher, manifest)
    assert not before.items() & {receipt.slice: receipt.attempt for receipt in outcome.receipts}.items()
    assert_exact(reader, DAY, manifest.run_id)


def interrupted_with_a_loss(publisher: FittedPublisher, client: Client) -> Manifest:
    """Provide a dead run with rows in the ledger that staging has lost."""
    manifest = interrupted(publisher)
    lost = min(finished(client, manifest.run_id))
    client.run(f"ALTER TABLE {identifier(manifest.staging)} DROP PARTITION {lost}")
    return manifest


def without_reconciliation(patch: pytest.MonkeyPatch) -> None:
    """Make a resume trust the ledger."""
    patch.setattr(ledger, "reconcile", lambda client, manifest: ledger.receipts(client, manifest.run_id))


def test_staged_rows_that_the_crash_took_along_are_scored_again(
    fitted_publisher: FittedPublisher, reader: Client
) -> None:
    manifest = interrupted_with_a_loss(fitted_publisher, reader)
    in_process(fitted_publisher, manifest)
    assert_exact(reader, DAY, manifest.run_id)
    assert_nothing_left(reader)


def test_without_reconciliation_the_gate_refuses_a_run_whose_rows_were_lost(
    fitted_publisher: FittedPublisher, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = interrupted_with_a_loss(fitted_publisher, reader)
    with monkeypatch.context() as patch:
        without_reconciliation(patch)
        with pytest.raises(GateRefused):
            in_process(fitted_publisher, manifest)
    assert published(reader, manifest.run_id) == 0


def test_without_reconciliation_and_gate_rows_are_missing(
    fitted_publisher: FittedPublisher, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = interrupted_with_a_loss(fitted_publisher, reader)
    without_reconciliation(monkeypatch)
    open_gate(monkeypatch)
    in_process(fitted_publisher, manifest)
    with pytest.raises(AssertionError):
        assert_exact(reader, DAY, manifest.run_id)


def test_a_run_that_dies_again_and_again_is_exact_in_the_end(fitted_publisher: FittedPublisher, reader: Client) -> None:
    manifest = planned(fitted_publisher, DAY)
    for _ in manifest.slicing.slices:
        with pytest.MonkeyPatch.context() as patch:
            stops_after(patch, 1)
            try:
                in_process(fitted_publisher, manifest)
            except Died:
                continue
            break
    assert_exact(reader, DAY, manifest.run_id)
    assert_nothing_left(reader)
