"""Follow runs at work: their stage, finished slices, rows per second, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.report.source import Row, Source
from raypipe.score import runs

# Runs that ended within this time are shown beside those at work: they are of the same night.
NIGHT = timedelta(hours=12)
# A night has pauses between its pipelines.
QUIET_SECONDS = 30.0
PAUSE_SECONDS = 1.0
STAGES = {runs.RUNNING: "score", runs.STAGED: "check", runs.PUBLISHING: "publish"}


@dataclass(frozen=True)
class Work:
    """A run or a fit as it stands.

    Attributes:
        stage: fit, score, check or publish; else the run's status in lower case.
        rows: the population; 0 where it is not known yet.
        rows_per_second: of the scoring so far; None before the first slice.
        seconds_left: of the scoring; None where it cannot be told.
        seconds: since the start, until the end of a run that has ended.
        is_alive: whether a run at work still holds its lock.
    """

    pipeline: str
    date: date | None
    run_id: str
    stage: str
    slices_done: int
    slices: int
    rows_done: int
    rows: int
    rows_per_second: float | None
    seconds_left: float | None
    seconds: float
    is_at_work: bool
    is_alive: bool = True
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the work as JSON-ready values."""
        return dict(vars(self))


def current(client: Client, at: datetime, pipeline: str = "") -> list[Work]:
    """Return the runs and fits at work, and the runs of the last hours, in the order of their starts."""
    source = Source(client, at.date(), at.date())
    since = at - NIGHT
    work = [_of_run(client, row, at) for row in source.rows("at_work", runs.LEDGER, since=since)]
    fits = source.rows("fits_at_work", "ml_model_training_runs", since=since.replace(microsecond=0))
    work += [_of_fit(row, at) for row in fits]
    return [item for item in work if pipeline in ("", item.pipeline)]


def follow(
    client: Client,
    pipeline: str = "",
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    quiet: float = QUIET_SECONDS,
    pause: float = PAUSE_SECONDS,
) -> Iterator[list[Work]]:
    """Yield the work each second, until nothing has been at work for a while.

    Args:
        quiet: the seconds without work after which the following ends.
        pause: the seconds between two looks.
    """
    last = time.monotonic()
    while True:
        found = current(client, clock(), pipeline)
        yield found
        if any(item.is_at_work and item.is_alive for item in found):
            last = time.monotonic()
        if time.monotonic() - last >= quiet:
            return
        time.sleep(pause)


def _of_run(client: Client, row: Row, at: datetime) -> Work:
    status = row["status"]
    is_at_work = status in runs.AT_WORK
    started, updated, published = (_utc(row[name]) for name in ("started_at", "updated_at", "published_at"))
    end = published if status == runs.PUBLISHED else at if is_at_work else updated
    done, read = int(row["done"]), int(row["read"])
    rate = left = None
    if status == runs.RUNNING and done:
        spent = at.timestamp() - float(row["first"])
        rate = read / spent if spent > 0 else None
        left = max(int(row["source_rows"]) - read, 0) / rate if rate else None
    if status == runs.PUBLISHED and row["rows_published"]:
        spent = (end - started).total_seconds()
        rate = row["rows_published"] / spent if spent > 0 else None
    return Work(
        row["pipeline"],
        row["date"],
        row["run_id"],
        STAGES.get(status, status.lower()),
        done,
        int(row["slices"]),
        read,
        int(row["source_rows"]),
        rate,
        left,
        max((end - started).total_seconds(), 0.0),
        is_at_work,
        not is_at_work or lock.holder(client, row["pipeline"]) is not None,
        next(iter(row["error"].splitlines()), ""),
    )


def _of_fit(row: Row, at: datetime) -> Work:
    spent = max((at - _utc(row["started_at"])).total_seconds(), 0.0)
    return Work(row["pipeline"], None, row["run_id"], "fit", 0, 0, 0, 0, None, None, spent, True)


def _utc(moment: datetime) -> datetime:
    """Return a moment as the server keeps it, in UTC without a zone, with its zone."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
