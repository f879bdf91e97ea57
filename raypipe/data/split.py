"""Split by time: features as of a snapshot, labels from the days after it, no day on both sides."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from statistics import median
from typing import Any, Protocol

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.errors import DataError, UsageError

log = logging.getLogger(__name__)

# A snapshot with a smaller share of the usual rows counts as unfinished.
SMALLEST_SHARE = 0.5
SNAPSHOTS_BEFORE = 7
# Snapshots with a smaller median distance are spread for the training, four weeks apart.
FREQUENT_DAYS = 7
SPREAD_DAYS = 28


@dataclass(frozen=True)
class Dates:
    """The snapshots of a fit: each in `train` is older than `test` by at least the label's horizon.

    Attributes:
        rule: why these were chosen for `train`.
    """

    train: tuple[date, ...]
    test: date
    rule: str = ""


class QueryValues(Protocol):
    """The part of a pipeline's config that its queries bind."""

    @property
    def timezone(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...


def parameters(snapshot: date, until: date, settings: QueryValues) -> dict[str, Any]:
    """Return the values that features.sql and labels.sql bind for a snapshot.

    Args:
        snapshot: the last day of the features.
        until: the last day of the labels; the snapshot itself if there are no labels yet.
    """
    return {"date": snapshot, "until": until, "timezone": settings.timezone, **settings.parameters}


def snapshots(client: Client, table: str, date_column: str) -> dict[date, int]:
    """Return the snapshots of a table and their number of rows, oldest first."""
    column = identifier(date_column)
    rows = client.rows(f"SELECT {column}, count() FROM {identifier(table)} GROUP BY {column} ORDER BY {column}")
    return {day: int(count) for day, count in rows}


def resolve_date(rows: Mapping[date, int], wanted: date | None, table: str) -> date:
    """Return the wanted snapshot, or the newest complete snapshot for None.

    Args:
        rows: the rows of each existing snapshot, oldest first.

    Raises:
        UsageError: there is no such snapshot; the message lists the nearest.
        DataError: there is no snapshot at all.
    """
    if not rows:
        raise DataError(f"{table} has no snapshot", next_step="compute a snapshot, or try the data of `raypipe demo`")
    if wanted is None:
        return _newest_complete(rows, table)
    if wanted not in rows:
        near = sorted(sorted(rows, key=lambda day: abs((day - wanted).days))[:5])
        raise UsageError(
            f"{table} has no snapshot of this date",
            found=wanted.isoformat(),
            allowed=f"for example {', '.join(day.isoformat() for day in near)}; the newest is {max(rows).isoformat()}",
        )
    return wanted


def _newest_complete(rows: Mapping[date, int], table: str) -> date:
    """Return the newest snapshot of about the usual size: a far smaller snapshot may still be written."""
    days = list(rows)
    for at in reversed(range(1, len(days))):
        day = days[at]
        usual = median(rows[earlier] for earlier in days[max(0, at - SNAPSHOTS_BEFORE) : at])
        if rows[day] >= SMALLEST_SHARE * usual:
            return day
        message = "%s has %d rows of %s and usually about %d: skipped as unfinished; --date %s uses it all the same"
        log.warning(message, table, rows[day], day, usual, day)
    return days[0]


def choose_dates(
    snapshots: Sequence[date], as_of: date, horizon_days: int, train_snapshots: int, every_days: int | None = None
) -> Dates:
    """Choose the test snapshot and the training snapshots of a fit.

    Args:
        as_of: the last day of usable data, labels included.
        train_snapshots: the maximum number of training snapshots; the newest qualify first.
        every_days: the fewest days between two training snapshots; None for `spacing`.

    Raises:
        DataError: there are too few snapshots for a split that does not leak.
    """
    horizon = timedelta(days=horizon_days)
    labelled = [day for day in snapshots if day + horizon <= as_of]
    test = labelled[-1] if labelled else None
    known = [day for day in labelled if test is not None and day + horizon <= test]
    if test is None or not known:
        raise DataError(
            "There are too few snapshots to fit on and to test on",
            found=f"{', '.join(day.isoformat() for day in snapshots) or 'none'}, as of {as_of.isoformat()}",
            allowed=f"a test snapshot {horizon_days} days old, and a training snapshot {horizon_days} days before that",
            next_step="wait for more snapshots, compute older ones, or shorten label.horizon_days",
        )
    days = spacing(known, train_snapshots) if every_days is None else every_days
    train = _spread(known, train_snapshots, days)
    source = "a rule for frequent snapshots" if every_days is None else "split.train_every_days"
    rule = f"at least {days} days apart, {source}" if days > 1 else "the newest"
    return Dates(train, test, f"{rule}; their labels of {horizon_days} days end by the test")


def rule_of(train_snapshots: int, every_days: int | None) -> str:
    """Return in words how `choose_dates` chooses the training snapshots."""
    known = f"the newest {train_snapshots} whose labels are known before the test"
    if every_days is not None:
        return f"{known}, at least {every_days} days apart"
    return (
        f"{known}; if snapshots are less than {FREQUENT_DAYS} days apart, {SPREAD_DAYS} days apart or as far as the"
        " history allows"
    )


def spacing(snapshots: Sequence[date], train_snapshots: int) -> int:
    """Return the fewest days between two training snapshots: 1 unless snapshots are less than a week apart.

    Consecutive days hold almost the same rows, and one season. So frequent snapshots are spread: 28 days apart, or as
    far as the history allows, in whole weeks where possible.

    Args:
        snapshots: those whose labels are known before the test, oldest first.
    """
    gaps = [(later - earlier).days for earlier, later in pairwise(snapshots)]
    if not gaps or train_snapshots == 1 or median(gaps) >= FREQUENT_DAYS:
        return 1
    days = min(SPREAD_DAYS, (snapshots[-1] - snapshots[0]).days // (train_snapshots - 1))
    return max(1, days - days % 7 if days >= 7 else days)


def _spread(snapshots: Sequence[date], most: int, every_days: int) -> tuple[date, ...]:
    """Return the newest snapshots that keep the distance, oldest first."""
    chosen: list[date] = []
    for day in reversed(snapshots):
        if len(chosen) < most and (not chosen or (chosen[-1] - day).days >= every_days):
            chosen.append(day)
    return tuple(reversed(chosen))
