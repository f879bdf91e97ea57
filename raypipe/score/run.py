"""A scoring run from its manifest to its commit: stage, check, publish; and the same again to resume it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Owner
from raypipe.config.publishing import PREDICTIONS
from raypipe.data.slices import Slice
from raypipe.errors import Busy, GateRefused, RaypipeError
from raypipe.progress import Progress
from raypipe.score import current, explain, gate, ledger, mapping, publish, runs, staging
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.runs import Run
from raypipe.score.worker import peak_mb

log = logging.getLogger(__name__)

Monitor = Callable[[Manifest, Sequence[Receipt]], None]
# Scores slices and yields each receipt as it comes.
Scorer = Callable[[Manifest, Sequence[Slice]], Iterator[Receipt]]


@dataclass
class Timings:
    """Wall seconds by stage; `read`, `predict` and `insert` are sums over the actors."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Adds what happens inside to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - started)

    def add(self, stage: str, seconds: float) -> None:
        """Adds seconds to a stage."""
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + seconds, 3)


@dataclass(frozen=True)
class Outcome:
    """A published run: its row, its receipts, and the peak memory of its processes in MB."""

    run: Run
    receipts: tuple[Receipt, ...]
    peak_mb: dict[str, float]


def execute(
    client: Client,
    manifest: Manifest,
    scorer: Scorer,
    *,
    take_over: bool,
    progress: Progress,
    monitor: Monitor,
) -> Outcome:
    """Runs a manifest to its end, from wherever an earlier attempt at it stopped.

    Whatever goes wrong, the lock is given back and the run's row says why; what was
    staged stays for a resume.

    Args:
        client: the ClickHouse of the run.
        manifest: what to do.
        scorer: scores the slices that are not done yet; not asked when all are.
        take_over: whether another owner's lock may be taken.
        progress: told the stage, what is done and what there is to do.
        monitor: writes the monitoring rows, after the gate and before the predictions.

    Raises:
        Busy: another run of the pipeline is at work, or began in the same second.
        UsageError: the run is over, or a later one of its date is published.
        GateRefused: a check failed; the targets are unchanged.
    """
    owner = Owner.here(manifest.run_id)
    try:
        lock.acquire(client, manifest.pipeline, owner, take_over=take_over)
    except Busy:
        _forget(client, manifest)
        raise
    try:
        run = _opened(client, manifest, owner)
        try:
            outcome = _work(client, manifest, run, owner, scorer, progress, monitor)
        except BaseException as error:
            _record_failure(client, run, owner, error)
            if isinstance(error, KeyboardInterrupt):
                error.add_note(f"`raypipe resume {run.run_id}` finishes the run")
            raise
        _tidy(client, manifest, owner)
        return outcome
    finally:
        lock.release(client, manifest.pipeline, owner)


def _opened(client: Client, manifest: Manifest, owner: Owner) -> Run:
    """The run's row as RUNNING, unless it was finished before this process had the lock."""
    attempted = runs.attempted(client, manifest.run_id)
    if attempted is not None:
        runs.require_unfinished(attempted)
        runs.require_newest(client, attempted)
    else:
        try:
            runs.require_own_second(client, manifest)
        except Busy:
            _forget(client, manifest)
            raise
    return runs.save(client, runs.opened(manifest, str(owner), attempted))


def _forget(client: Client, manifest: Manifest) -> None:
    """Drops what was made for a run that does not begin; one that was begun before keeps it for a resume."""
    if runs.attempted(client, manifest.run_id) is None:
        staging.drop(client, manifest)


def _work(
    client: Client,
    manifest: Manifest,
    run: Run,
    owner: Owner,
    scorer: Scorer,
    progress: Progress,
    monitor: Monitor,
) -> Outcome:
    timings = Timings()
    written = _stage(client, manifest, scorer, timings, progress)
    with timings.of("gate"):
        progress("gate", 0, 1)
        passed = gate.check(client, manifest, written)
    read = sum(receipt.rows_read for receipt in written)
    run = runs.save(client, run, status=runs.STAGED, rows_read=read, rows_rejected=passed.rejected)
    with timings.of("explain"):
        progress("explain", 0, 1)
        explain.write(client, manifest, written)
    monitor(manifest, written)
    with timings.of("publish"):
        run = _publish(client, manifest, run, owner, written, passed.staged, progress)
    run = _commit(client, run, owner, passed.staged, timings)
    peaks = {"driver": round(peak_mb(), 1), "actor": max((r.peak_mb for r in written), default=0.0)}
    return Outcome(run, tuple(written), peaks)


def _stage(client: Client, manifest: Manifest, scorer: Scorer, timings: Timings, progress: Progress) -> list[Receipt]:
    """Scores the slices that are not done yet."""
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
    owner: Owner,
    written: Sequence[Receipt],
    rows: int,
    progress: Progress,
) -> Run:
    lock.require(client, manifest.pipeline, owner)
    expected = {target.table: mapping.expected(client, manifest, target, written, rows) for target in manifest.targets}
    prepared = []
    for number, target in enumerate(manifest.targets):
        progress("publish", number, len(manifest.targets))
        prepared.append(publish.prepare(client, manifest, target, written, expected[target.table]))
    # The view shows such a run as soon as its rows have taken the place of the earlier ones.
    replaces = any(item.target.table == PREDICTIONS and item.takes_place(run.replaces) for item in prepared)
    run = runs.save(client, run, status=runs.PUBLISHING, replaces=int(replaces))
    for item in prepared:
        lock.require(client, manifest.pipeline, owner)
        publish.swap(client, manifest, item)
        log.info("%s: %d rows by %s", item.target.table, expected[item.target.table], item.how)
    for target in manifest.targets:
        publish.verify(client, manifest, target, expected[target.table])
    return run


def _commit(client: Client, run: Run, owner: Owner, rows: int, timings: Timings) -> Run:
    """Writes the row that makes the run the current one."""
    lock.require(client, run.pipeline, owner)
    return runs.commit(client, run, rows_published=rows, error="", timings=json.dumps(timings.seconds))


def _tidy(client: Client, manifest: Manifest, owner: Owner) -> None:
    """Closes what is no longer current, removes the rows of earlier runs, retires those, drops what the run made.

    The run is published by now: what fails here is left to the next run of the day, and to `raypipe doctor --clean`.
    """
    try:
        for target in manifest.targets:
            if target.current is not None:
                lock.require(client, manifest.pipeline, owner)
                current.close_earlier(client, manifest, target)
        for earlier in runs.earlier(client, manifest):
            # One that took over meanwhile is no earlier one.
            lock.require(client, manifest.pipeline, owner)
            retire(client, manifest, earlier)
        staging.drop(client, manifest)
    except RaypipeError as error:
        log.warning("the run is published; something it made was left behind: %s", error.problem)


def retire(client: Client, current: Manifest, earlier: Run) -> None:
    """Removes what a run left in the targets and beside them, now that another one is committed for its date."""
    for target in current.targets:
        publish.remove_earlier(client, current, target, earlier.run_id, earlier.model_version, earlier.started_at)
    staging.drop(client, Manifest.from_json(earlier.manifest))
    runs.save(client, earlier, status=runs.SUPERSEDED)


def retire_superseded(client: Client) -> tuple[str, ...]:
    """Retires the runs whose successor was committed and then died, unless somebody works on their pipeline.

    Returns:
        Their ids.
    """
    retired = []
    for run, newest in runs.superseded(client):
        owner = Owner.here(newest.run_id)
        try:
            lock.acquire(client, newest.pipeline, owner)
        except Busy:
            continue
        try:
            retire(client, Manifest.from_json(newest.manifest), run)
        finally:
            lock.release(client, newest.pipeline, owner)
        retired.append(run.run_id)
    return tuple(retired)


def _record_failure(client: Client, run: Run, owner: Owner, error: BaseException) -> None:
    status = runs.REFUSED if isinstance(error, GateRefused) else runs.FAILED
    text = str(error) if isinstance(error, RaypipeError) else f"{type(error).__name__}: {error}"
    try:
        found = runs.find(client, run.run_id)
        if found.owner != str(owner):
            # Somebody else took this very run over; its row is theirs.
            return
        runs.save(client, found, status=status, error=text[:10_000])
    except RaypipeError as failure:
        # The server may be what failed; the run's row then still says RUNNING, and its lock who ran it.
        log.warning("the run's failure could not be written down: %s", failure.problem)
