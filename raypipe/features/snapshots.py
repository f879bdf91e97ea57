"""The features pipeline: one process at a time makes the days that are missing and says what their features are."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Owner
from raypipe.clickhouse.schema.leftovers import leftovers
from raypipe.data.days import last_ended_day, require_ended
from raypipe.errors import Busy, DataError, UsageError
from raypipe.features import day as days
from raypipe.features import record, sources
from raypipe.features.day import Built
from raypipe.progress import Progress

PIPELINE = "features"
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Outcome:
    """What the command did: each day, oldest first, and how many features ml_model_features now describes.

    `features` is 0 where nothing was written there.
    """

    days: tuple[Built, ...]
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
    before_swap: Callable[[], None] = lambda: None,
) -> Outcome:
    """Makes the days from `first` to `last`, oldest first, each whole or not at all.

    Args:
        client: the ClickHouse.
        last: the newest day; None for the newest with sessions that is over at `run_at`.
        first: the oldest day; None for `last` alone.
        run_at: the moment, UTC; only days that are over by then are made.
        timezone: the zone in which days are cut, an IANA name.
        progress: told the stage, what is done and what there is to do.
        replace: compute days that are there anew.
        before_swap: called right before a day is swapped in; an error there leaves the day as it was.

    Raises:
        DataError: a source is missing or empty, or does not reach a day; days before it are done.
        UsageError: the days are in the wrong order, or not over yet.
        Busy: another process makes features in this database.
    """
    sources.require_tables(client)
    until = last or _newest(client, run_at, timezone)
    since = first or until
    _require_past(since, until, run_at, timezone)
    wanted = [since + n * DAY for n in range((until - since).days + 1)]
    run_id = f"{PIPELINE}_{until:%Y%m%d}_{secrets.token_hex(4)}"
    built: list[Built] = []
    with _locked(client, run_id) as require_lock:

        def still_allowed() -> None:
            before_swap()
            require_lock()

        for number, day in enumerate(wanted):
            progress(f"features of {day}", number, len(wanted))
            built.append(
                days.build(client, day, run_id, run_at, timezone=timezone, replace=replace, still_allowed=still_allowed)
            )
        progress(f"features of {until}", len(wanted), len(wanted))
        changed = any(one.status != days.PRESENT for one in built)
        described = record.document(client, until, run_at) if changed or not record.is_documented(client) else 0
    return Outcome(tuple(built), described)


@contextmanager
def _locked(client: Client, run_id: str) -> Iterator[Callable[[], None]]:
    """Inside, no other process makes features here; yields what checks that it is still so."""
    owner = Owner.here(run_id)
    held = lock.holder(client, PIPELINE)
    try:
        # A build has nothing that could be resumed, so the lock of a dead process is just taken.
        lock.acquire(client, PIPELINE, owner, take_over=held is not None and held.is_dead)
    except Busy as busy:
        raise Busy(
            "Another process makes features in this database",
            found=busy.found,
            next_step="wait for it; `raypipe doctor --clean` drops the lock of a dead one on another host a day later",
        ) from busy
    try:
        _drop_leftovers(client)
        yield lambda: lock.require(client, PIPELINE, owner)
    finally:
        lock.release(client, PIPELINE, owner)


def _drop_leftovers(client: Client) -> None:
    """Drops the twins of builds that were killed: whoever holds the lock is the only one who has any."""
    for leftover in leftovers(client):
        if leftover.kind == "twin" and leftover.table.startswith(
            (f"raypipe_twin_{PIPELINE}_", f"raypipe_twin_whole_{PIPELINE}_")
        ):
            client.run(client.topology.drop(leftover.table))


def _newest(client: Client, run_at: datetime, timezone: str) -> date:
    covered = sources.days(client, sources.SESSIONS, timezone)
    if covered is None:
        raise DataError(f"{sources.SESSIONS} is empty")
    return min(covered[1], last_ended_day(run_at, timezone))


def _require_past(since: date, until: date, run_at: datetime, timezone: str) -> None:
    if since > until:
        raise UsageError("The first day is after the last", found=f"{since} to {until}", allowed="--from before --date")
    require_ended(until, run_at, timezone, "Features are as of the end of a day")
