"""The features pipeline: build the days of customer_user_features, and describe their features."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial

from raypipe.clickhouse import lock, sharding, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Lock, Owner
from raypipe.data.days import last_ended_day, require_ended
from raypipe.errors import Busy, DataError, UsageError
from raypipe.features import day as days
from raypipe.features import documentation, passes, sources, swap
from raypipe.features.day import BuiltDay
from raypipe.features.reading import RawReading, Reading
from raypipe.features.swap import Swapping
from raypipe.progress import Progress

PIPELINE = sources.PIPELINE
DAY = timedelta(days=1)


@dataclass(frozen=True)
class BuiltSnapshots:
    """The days that a command built, oldest first, and the number of features written to ml_model_features."""

    days: tuple[BuiltDay, ...]
    features: int


def compute(
    client: Client,
    last: date | None,
    first: date | None = None,
    *,
    run_at: datetime,
    timezone: str,
    progress: Progress,
    replace: bool = False,
    take_over: bool = False,
) -> BuiltSnapshots:
    """Build the days from `first` to `last`, oldest first, each whole or not at all.

    Args:
        last: the newest day; None for the newest day with sessions that has ended at `run_at`.
        first: the oldest day; None for `last` alone.
        run_at: the moment, UTC; only days that have ended by then are built.
        timezone: the zone in which days are cut, an IANA name.
        replace: compute days that exist again.
        take_over: whether another process's lock may be taken.

    Raises:
        DataError: a source is missing or empty, or a day's rows are not whole; the days before it are built.
        UsageError: the days are in the wrong order, have not ended yet, or have no sessions; nothing is built.
        Busy: another process builds features in this database.
    """
    sources.require_tables(client)
    until = last or newest(client, run_at, timezone)
    since = first or until
    if since > until:
        raise UsageError("The first day is after the last", found=f"{since} to {until}", allowed="--from before --date")
    wanted = [since + n * DAY for n in range((until - since).days + 1)]
    return compute_days(
        client, wanted, run_at=run_at, timezone=timezone, progress=progress, replace=replace, take_over=take_over
    )


def backfilled(client: Client, last: date | None, count: int, *, run_at: datetime, timezone: str) -> tuple[date, date]:
    """Return the first and the last of the `count` days up to a day, from the first session on.

    Raises:
        DataError: there are no sessions.
    """
    until = last or newest(client, run_at, timezone)
    covered = sources.days(client, sources.SESSIONS, timezone)
    since = until - (count - 1) * DAY
    return (max(since, min(covered[0], until)) if covered else since), until


def compute_days(
    client: Client,
    wanted: Sequence[date],
    *,
    run_at: datetime,
    timezone: str,
    progress: Progress,
    replace: bool = False,
    take_over: bool = False,
) -> BuiltSnapshots:
    """Build days, oldest first, each whole or not at all; several days read the sources in one pass.

    Args:
        wanted: the days, oldest first, not necessarily without gaps; otherwise as `compute`.

    Raises:
        DataError, UsageError, Busy: as `compute`.
    """
    sources.require_tables(client)
    since, until = wanted[0], wanted[-1]
    require_ended(until, run_at, timezone, "Features are as of the end of a day")
    days.require_sessions(client, wanted, timezone, replace=replace)
    run_id = f"{PIPELINE}_{until:%Y%m%d}_{secrets.token_hex(4)}"
    swapping = Swapping()
    replace = replace or _is_half_built(client, since, until)
    with _locked(client, _changed_days(client, since, until), take_over, swapping) as held:
        build = partial(
            days.build,
            client,
            run_id=f"{run_id}_e{held.epoch}",
            run_at=run_at,
            timezone=timezone,
            replace=replace,
            require_lock=partial(lock.require, client, held),
            swapping=swapping,
        )
        pending = days.pending(client, wanted, replace=replace)
        progress("reading the sources", 0, len(wanted))
        built: list[BuiltDay] = []
        with _reading(client, pending, run_id, held.epoch, timezone) as reading:
            for number, day in enumerate(wanted):
                progress(f"features of {day}", number, len(wanted))
                built.append(build(day, reading=reading))
        progress(f"features of {until}", len(wanted), len(wanted))
        changed = any(result.status != days.PRESENT for result in built)
        changed = changed or not documentation.is_documented(client)
        described = documentation.document(client, until, run_at) if changed else 0
    return BuiltSnapshots(tuple(built), described)


@contextmanager
def _reading(client: Client, pending: Sequence[date], run_id: str, epoch: int, timezone: str) -> Iterator[Reading]:
    """Yield the sources: one pass for several days, or the raw tables for one day and on a cluster."""
    if len(pending) < 2 or client.endpoint.cluster or client.endpoint.sharding:
        yield RawReading(client, timezone)
        return
    with passes.opened(client, pending, run_id, epoch, timezone) as reading:
        yield reading


def _changed_days(client: Client, since: date, until: date) -> str:
    """Return the days that a run must not read meanwhile; '' for all, where partitions hold several days."""
    table = twins.require_swappable(sharding.shards(client)[0], sources.USER_FEATURES)
    return f"{since} {until}" if swap.is_daily(table) else ""


def _is_half_built(client: Client, since: date, until: date) -> bool:
    """Return whether a dead build may have left days that are new on one shard and old on another.

    Raises:
        Busy: it may have left other days so.
    """
    left = lock.holder(client, PIPELINE) if client.endpoint.sharding else None
    if left is None or left.is_alive:
        return False
    first, _, last = left.days.partition(" ")
    if left.days and not (since.isoformat() <= first and last <= until.isoformat()):
        raise Busy(
            "A build of features died and may have left days new on one shard alone",
            found=f"{first} to {last}, {left}",
            next_step=f"build these days again: `raypipe features --from {first} --date {last}`",
        )
    return True


@contextmanager
def _locked(client: Client, changed: str, take_over: bool, swapping: Swapping) -> Iterator[Lock]:
    """Hold the lock of the features, which names the days that may change.

    Where an error comes between the swaps of two shards, the lock stays and keeps runs from reading the day.
    """
    # A build cannot be resumed: under a name that never changes, the lock of a dead process is taken silently.
    owner = Owner.here(PIPELINE, changed)
    try:
        yield _acquired(client, owner, take_over)
    finally:
        if not swapping.is_half:
            lock.release(client, PIPELINE, owner)


def _acquired(client: Client, owner: Owner, take_over: bool) -> Lock:
    try:
        return lock.acquire(client, PIPELINE, owner, take_over=take_over)
    except Busy as busy:
        raise Busy(
            "Another process builds features in this database",
            found=busy.found,
            next_step="wait for it, or repeat with --take-over when it is surely dead",
        ) from busy


def newest(client: Client, run_at: datetime, timezone: str) -> date:
    """Return the newest day with sessions that has ended at `run_at`."""
    covered = sources.days(client, sources.SESSIONS, timezone)
    if covered is None:
        raise DataError(f"{sources.SESSIONS} is empty")
    return min(covered[1], last_ended_day(run_at, timezone))
