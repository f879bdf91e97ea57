"""Execute or resume a scoring run, from its manifest to its commit: stage, check, publish."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from raypipe.clickhouse import lock, readers, replication, sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Lock, Owner
from raypipe.data import exclusion
from raypipe.data.slices import Slice
from raypipe.errors import Busy, GateRefused, RaypipeError
from raypipe.progress import Progress
from raypipe.score import (
    admission,
    current_rows,
    explain,
    gate,
    ledger,
    monitoring_row,
    parts,
    previous,
    publish,
    runs,
    staging,
)
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.parts import Part
from raypipe.score.runs import Run
from raypipe.score.timings import Timings
from raypipe.score.worker import peak_mb

log = logging.getLogger(__name__)

Measured = TypeVar("Measured")
# Writes the monitoring rows of a run, and returns its measurements.
Monitor = Callable[[Manifest, Sequence[Receipt]], Measured]
# Scores slices and yields each receipt as it comes.
Scorer = Callable[[Manifest, Sequence[Slice]], Iterator[Receipt]]


@dataclass(frozen=True)
class PublishedRun(Generic[Measured]):
    """A published run: its row, its receipts, the peak memory of its processes in MB, and the monitor's result."""

    run: Run
    receipts: tuple[Receipt, ...]
    peak_mb: dict[str, float]
    measured: Measured


def execute(
    client: Client,
    manifest: Manifest,
    scorer: Scorer,
    *,
    take_over: bool,
    progress: Progress,
    monitor: Monitor[Measured],
) -> PublishedRun[Measured]:
    """Execute a manifest to its end, from where an earlier attempt stopped.

    After any error the lock is released, the run's row has the reason, and the staged rows stay for a resume.

    Args:
        scorer: scores the slices that are not done yet; not called when all are done.
        monitor: called after the gate and before the predictions are published.

    Raises:
        Busy: another run of the pipeline is at work, or began in the same second.
        UsageError: the run is finished, or a later run of its date is published.
        GateRefused: a check failed; the targets are unchanged.
    """
    owner = Owner.here(manifest.run_id)
    try:
        held = _acquire(client, manifest, owner, take_over)
        run = _opened(client, manifest, held)
        try:
            runs.begin(client, run)
            # From here on no other owner gets this epoch: the row keeps it from being given again.
            lock.require(client, held)
            exclusion.require_at_rest(client, manifest.date, manifest.pinned)
            published = _work(client, manifest, run, held, scorer, progress, monitor)
        except BaseException as error:
            _record_failure(client, run, held, error)
            if isinstance(error, KeyboardInterrupt):
                error.add_note(f"`raypipe resume {run.run_id}` finishes the run")
            raise
        _tidy(client, manifest, published.run, held)
        return published
    finally:
        # Also where an interrupt came between the lock and its use.
        lock.release(client, manifest.pipeline, owner)


def _acquire(client: Client, manifest: Manifest, owner: Owner, take_over: bool) -> Lock:
    try:
        return lock.acquire(client, manifest.pipeline, owner, take_over=take_over)
    except Busy:
        _forget(client, manifest)
        raise


def _opened(client: Client, manifest: Manifest, held: Lock) -> Run:
    """Return the run's row as RUNNING, unless the run was finished before this process had the lock."""
    attempted = runs.attempted(client, manifest.run_id)
    if attempted is not None:
        admission.require_unfinished(attempted)
        admission.require_newest(client, attempted)
    else:
        try:
            admission.require_own_second(client, manifest)
        except Busy:
            _forget(client, manifest)
            raise
    return runs.opened(manifest, str(held.owner), held.epoch, attempted)


def _forget(client: Client, manifest: Manifest) -> None:
    """Drop the tables of a run that does not begin; a run that had begun keeps them for a resume."""
    if runs.attempted(client, manifest.run_id) is None:
        staging.drop(client, manifest)


def _work(
    client: Client,
    manifest: Manifest,
    run: Run,
    held: Lock,
    scorer: Scorer,
    progress: Progress,
    monitor: Monitor[Measured],
) -> PublishedRun[Measured]:
    timings = Timings()
    # A resumed run would otherwise score the rest of another population.
    gate.require_unchanged(client, manifest)
    written = _stage(client, manifest, scorer, timings, progress)
    with timings.of("gate"):
        progress("gate", 0, 1)
        passed = gate.check(client, manifest, written)
    read = sum(receipt.rows_read for receipt in written)
    run = runs.save(client, run, held.epoch, status=runs.STAGED, rows_read=read, rows_rejected=passed.rejected)
    with timings.of("explain"):
        progress("explain", 0, 1)
        explain.write(client, manifest, written)
        # The explanations read the source, too.
        gate.require_unchanged(client, manifest)
    measured = monitor(manifest, written)
    with timings.of("publish"):
        run = _publish(client, manifest, run, held, written, passed.staged, progress)
    run = _commit(client, run, held, passed.staged, timings)
    peaks = {"driver": round(peak_mb(), 1), "actor": max((r.peak_mb for r in written), default=0.0)}
    return PublishedRun(run, tuple(written), peaks, measured)


def _stage(client: Client, manifest: Manifest, scorer: Scorer, timings: Timings, progress: Progress) -> list[Receipt]:
    """Score the slices that are not done yet."""
    staging.create(client, manifest)
    staging.check(client, manifest)
    written = ledger.reconcile(client, manifest)
    done = {receipt.slice for receipt in written}
    todo = [piece for piece in manifest.slicing.slices if piece.index not in done]
    total = len(manifest.slicing.slices)
    progress("score", len(done), total)
    began, first, last = time.time(), None, time.time()
    for receipt in scorer(manifest, todo) if todo else ():
        written.append(receipt)
        first = min(first or receipt.started_at, receipt.started_at)
        last = receipt.finished_at
        for stage, seconds in receipt.seconds.items():
            timings.add(stage, seconds)
        gate.check_rejected(manifest, sum(item.rows_rejected for item in written))
        progress("score", len(written), total)
    timings.add("start", (first or began) - began)
    timings.add("score", last - (first or last))
    return sorted(written, key=lambda receipt: receipt.slice)


def _publish(
    client: Client,
    manifest: Manifest,
    run: Run,
    held: Lock,
    written: Sequence[Receipt],
    rows: int,
    progress: Progress,
) -> Run:
    lock.require(client, held)
    prepared: list[Part] = []
    for number, target in enumerate(manifest.targets):
        progress("publish", number, len(manifest.targets))
        prepared += parts.prepare(client, manifest, target, written, rows, held.epoch)
    lock.require(client, held)
    # From this row on, readers find the committed run's rows in their copies.
    kept = previous.keep(client, run, prepared, held.epoch)
    run = runs.save(client, run, held.epoch, status=runs.PUBLISHING, previous=kept)
    readers.await_current(client)
    for item in prepared:
        # Behind this look, only the twin keeps a former owner from its swap: whoever takes over drops the twin.
        lock.require(client, held)
        parts.swap(manifest, item)
        log.info("%s: %d rows by %s", item.table, item.rows, item.prepared.how)
    replication.settle(client, [(item.table, item.prepared.partition) for item in prepared])
    for item in prepared:
        publish.verify(item.client, manifest, item.prepared.target, item.rows)
    return replace(run, published=json.dumps(parts.published(client, prepared)))


def _commit(client: Client, run: Run, held: Lock, rows: int, timings: Timings) -> Run:
    """Write the row that makes the run the current run of its date."""
    lock.require(client, held)
    return runs.commit(client, run, held.epoch, rows_published=rows, error="", timings=json.dumps(timings.seconds))


def _tidy(client: Client, manifest: Manifest, run: Run, held: Lock) -> None:
    """Close rows that are no longer current, retire earlier runs, and drop the run's own tables.

    The run is published by now. A failure here is left to the next run of the day, and to `raypipe doctor --clean`.
    """
    try:
        # Readers of a replica without the commit still need the copies of the earlier run's rows.
        replication.settle(client, [(runs.LEDGER, "all")])
        readers.await_current(client)
        for target in manifest.targets:
            if target.current is not None:
                lock.require(client, held)
                for holder in sharding.holders(client, target.table):
                    current_rows.close_earlier(holder, manifest, target)
        tables = [target.table for target in manifest.targets]
        for earlier in runs.earlier(client, run):
            lock.require(client, held)
            retire(client, run, tables, earlier, held.epoch)
        staging.drop(client, run)
    except RaypipeError as error:
        log.warning("the run is published, but its own tables or earlier rows remain: %s", error.problem)


def retire(client: Client, current: Run, tables: Sequence[str], earlier: Run, epoch: int) -> None:
    """Remove an earlier run's rows and tables, now that another run is committed for its date.

    The run's columns say enough, so that the run of another version of raypipe is retired as well.
    """
    for table in tables:
        publish.remove_earlier(client, current, table, earlier)
    staging.drop(client, earlier)
    previous.drop(client, earlier)
    monitoring_row.remove(client, earlier)
    runs.save(client, earlier, epoch, status=runs.SUPERSEDED)


def retire_superseded(client: Client) -> tuple[str, ...]:
    """Retire the runs whose successor died after its commit, except in pipelines at work; return their ids.

    A run that cannot be retired keeps the others from nothing.
    """
    retired = []
    for run, newest in runs.superseded(client):
        try:
            tables = runs.tables(newest)
            with suppress(Busy), lock.held(client, newest.pipeline, Owner.here(newest.run_id)) as held:
                retire(client, newest, tables, run, held.epoch)
                retired.append(run.run_id)
        except RaypipeError as error:
            log.warning("the rows of %s were not removed: %s (%s)", run.run_id, error.problem, error.next_step)
    return tuple(retired)


def _record_failure(client: Client, run: Run, held: Lock, error: BaseException) -> None:
    # Ctrl-C or SIGTERM; outside the command line Ray turns SIGTERM into SystemExit.
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        status, text = runs.INTERRUPTED, ""
    else:
        status = runs.REFUSED if isinstance(error, GateRefused) else runs.FAILED
        text = str(error) if isinstance(error, RaypipeError) else f"{type(error).__name__}: {error}"
    try:
        # Where another process took the run over, its row counts.
        row = runs.attempted(client, run.run_id) or run
        if row.status in runs.FINISHED:
            # The answer of the commit was lost, not the commit.
            log.warning("the run %s is published; the error came behind its commit", run.run_id)
            return
        # A row that was under way when the interrupt came may arrive after this row, with the next version.
        row = replace(row, version=row.version + 1)
        runs.save(client, row, held.epoch, status=status, error=text[:10_000])
        monitoring_row.remove(client, row)
    except RaypipeError as failure:
        # Where the server failed, the run's row still says RUNNING, and its lock names the process.
        log.warning("the run's state could not be written: %s", failure.problem)
