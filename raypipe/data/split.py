"""Splits by time: features as of a snapshot, labels from the days after it, no day used by both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Protocol

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.errors import DataError, UsageError


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


def snapshots(client: Client, table: str, date_column: str) -> list[date]:
    """The dates for which the table has rows, oldest first."""
    column = identifier(date_column)
    rows = client.rows(f"SELECT DISTINCT {column} FROM {identifier(table)} ORDER BY {column}")
    return [row[0] for row in rows]


def resolve_date(found: Sequence[date], wanted: date | None, table: str) -> date:
    """The wanted snapshot, or the newest for None.

    Raises:
        UsageError: there is no such snapshot; the message lists the nearest ones.
    """
    if not found:
        raise DataError(f"{table} has no snapshot at all", next_step="compute one, or try the data of `raypipe demo`")
    if wanted is None:
        return found[-1]
    if wanted not in found:
        near = sorted(sorted(found, key=lambda day: abs((day - wanted).days))[:5])
        raise UsageError(
            f"{table} has no snapshot of the date asked for",
            found=wanted.isoformat(),
            allowed=f"for example {', '.join(day.isoformat() for day in near)}; `latest` is {found[-1].isoformat()}",
        )
    return wanted


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
