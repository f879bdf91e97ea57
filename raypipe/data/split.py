"""Splits by time: features as of a snapshot, labels from the days after it, no day used by both sides."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import Any, Protocol

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.errors import DataError, UsageError

log = logging.getLogger(__name__)

# A snapshot with a smaller share of the rows that those before it usually have is taken for unfinished.
SMALLEST_SHARE = 0.5
SNAPSHOTS_BEFORE = 7


@dataclass(frozen=True)
class Dates:
    """The snapshots of a fit: `train` are older than `test` by at least the label's horizon."""

    train: tuple[date, ...]
    test: date
    horizon: timedelta

    def until(self, snapshot: date) -> date:
        """The last day that a snapshot's labels look at."""
        return snapshot + self.horizon


class Settings(Protocol):
    """What a pipeline's config says of the values that its queries bind."""

    @property
    def timezone(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...


def parameters(snapshot: date, until: date, settings: Settings) -> dict[str, Any]:
    """What features.sql and labels.sql bind for a snapshot.

    Args:
        snapshot: the last day that features look at.
        until: the last day that labels look at; the snapshot itself when there is none to look at yet.
        settings: the pipeline's config.
    """
    return {"date": snapshot, "until": until, "timezone": settings.timezone, **settings.parameters}


def snapshots(client: Client, table: str, date_column: str) -> dict[date, int]:
    """The dates for which the table has rows, oldest first, and how many."""
    column = identifier(date_column)
    rows = client.rows(f"SELECT {column}, count() FROM {identifier(table)} GROUP BY {column} ORDER BY {column}")
    return {day: int(count) for day, count in rows}


def resolve_date(found: Mapping[date, int], wanted: date | None, table: str) -> date:
    """The wanted snapshot, or the newest complete one for None.

    Args:
        found: the snapshots that exist, oldest first, and their rows.
        wanted: the date asked for.
        table: what they are snapshots of, for messages.

    Raises:
        UsageError: there is no such snapshot; the message lists the nearest ones.
    """
    if not found:
        raise DataError(f"{table} has no snapshot at all", next_step="compute one, or try the data of `raypipe demo`")
    if wanted is None:
        return _newest_complete(found, table)
    if wanted not in found:
        near = sorted(sorted(found, key=lambda day: abs((day - wanted).days))[:5])
        raise UsageError(
            f"{table} has no snapshot of the date asked for",
            found=wanted.isoformat(),
            allowed=f"for example {', '.join(day.isoformat() for day in near)}; the newest is {max(found).isoformat()}",
        )
    return wanted


def _newest_complete(found: Mapping[date, int], table: str) -> date:
    """The newest snapshot that is not far smaller than those before it: somebody may still be writing that one."""
    days = list(found)
    for at in reversed(range(1, len(days))):
        usual = median(found[day] for day in days[max(0, at - SNAPSHOTS_BEFORE) : at])
        if found[days[at]] >= SMALLEST_SHARE * usual:
            return days[at]
        log.warning(
            "%s has %d rows of %s, and usually about %d: taken for unfinished and passed over; --date %s takes it",
            table,
            found[days[at]],
            days[at],
            usual,
            days[at],
        )
    return days[0]


def choose_dates(found: Sequence[date], as_of: date, horizon_days: int, train_snapshots: int) -> Dates:
    """The test snapshot and the training snapshots of a fit.

    Args:
        found: the snapshots that exist, oldest first.
        as_of: the last day whose data may be used, labels included.
        horizon_days: the label looks at this many days after a snapshot.
        train_snapshots: how many snapshots to train on at most, the newest that qualify.

    Raises:
        DataError: too few snapshots for a split that does not leak.
    """
    horizon = timedelta(days=horizon_days)
    labelled = [day for day in found if day + horizon <= as_of]
    test = labelled[-1] if labelled else None
    train = [day for day in labelled if test is not None and day + horizon <= test][-train_snapshots:]
    if test is None or not train:
        raise DataError(
            "There are too few snapshots to fit on some and test on a later one",
            found=f"{', '.join(day.isoformat() for day in found) or 'none'}, as of {as_of.isoformat()}",
            allowed=f"a test snapshot {horizon_days} days old, and a training snapshot {horizon_days} days before that",
            next_step="wait for more snapshots, compute older ones, or shorten label.horizon_days",
        )
    return Dates(tuple(train), test, horizon)
