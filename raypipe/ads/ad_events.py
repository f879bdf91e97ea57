"""Ad events added up inside ClickHouse: what was shown and earned a context, arm, part of the window and bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, identifier
from raypipe.errors import DataError

TRAIN, TEST = "train", "test"
NO_DAY = date(1970, 1, 1)
DIMENSIONS = ("company_id", "brand_id", "device_type_id", "category_id")


@dataclass(frozen=True)
class Window:
    """The events to read.

    Attributes:
        day: the last day.
        days: how many, that one included.
        test_days: the last of these, the test part.
        timezone: of the days.
        context: the dimensions of a context, in order.
        impression: the event type of an impression.
        click: that of a click.
        buckets: groups of readers.
    """

    day: date
    days: int
    test_days: int
    timezone: str
    context: tuple[str, ...]
    impression: str
    click: str
    buckets: int

    @property
    def since(self) -> date:
        """The first day."""
        return self.day - timedelta(days=self.days - 1)

    @property
    def parameters(self) -> dict[str, Any]:
        """What arms.sql binds."""
        until = self.day + timedelta(days=1)
        return {
            "since": self.since,
            "until": until,
            "split": until - timedelta(days=self.test_days),
            "timezone": self.timezone,
            "context": list(self.context),
            "impression": self.impression,
            "click": self.click,
            "buckets": self.buckets,
        }


@dataclass(frozen=True)
class AdEvents:
    """The sums of a window, as a table of a run that arms.sql was written to.

    Attributes:
        cells: usable events by context, arm, part and bucket.
        contexts: the dimensions of each context, by its id.
        users: known readers by context and arm; anonymous ones are among the impressions alone.
        events: how many ad events there were.
        unusable: of these, how many were skipped, by reason.
        sha256: of everything above; the same events give the same.
    """

    cells: pa.Table
    contexts: Mapping[str, Mapping[str, str]]
    users: Mapping[tuple[str, str], int]
    events: int
    unusable: Mapping[str, int]
    sha256: str

    @property
    def skipped(self) -> int:
        """Events that could not be used."""
        return sum(self.unusable.values())

    def rows(self, *parts: str) -> list[dict[str, Any]]:
        """The cells of some parts, or of all."""
        return [row for row in self.cells.to_pylist() if not parts or row["part"] in parts]


def newest_day(client: Client, newest: Statement, last: date, timezone: str, impression: str, click: str) -> date:
    """The newest day with an ad event, up to a last one.

    Raises:
        DataError: there is no ad event up to then.
    """
    until = last + timedelta(days=1)
    parameters = {"until": until, "timezone": timezone, "impression": impression, "click": click}
    found = client.value(newest.text, parameters)
    if found <= NO_DAY:
        raise DataError(
            "customer_events holds no ad event of a day that is over",
            found=f"no event_type {impression} or {click} up to {last}, in {timezone}",
            next_step="check ads.impression and ads.click in the config",
        )
    # A project's own query may not bind `until`.
    return min(found, last)  # type: ignore[no-any-return]


def copy(client: Client, name: str, arms: Statement, window: Window) -> None:
    """Writes the window's sums to a table, so that all of a run reads the same."""
    client.run(
        client.topology.create(name, "", order="(context, arm)", tail=f" EMPTY AS\n{arms.text}"), window.parameters
    )
    client.run(f"INSERT INTO {identifier(name)}\n{arms.text}", window.parameters)


def read(client: Client, name: str) -> AdEvents:
    """The sums that `copy` wrote.

    Raises:
        DataError: the ids of two contexts read the same when they are joined.
    """
    keys = "context, arm, part, bucket, problem"
    table = client.topology.everywhere(name)
    found = client.table(f"SELECT * EXCEPT readers FROM {table} ORDER BY {keys}")
    users = client.rows(f"SELECT context, arm, uniqExactIfMerge(readers) FROM {table} WHERE problem = '' GROUP BY ALL")
    rows = found.to_pylist()
    unusable: dict[str, int] = {}
    for row in rows:
        if row["problem"]:
            unusable[row["problem"]] = unusable.get(row["problem"], 0) + row["events"]
    usable = pa.array([not row["problem"] for row in rows], pa.bool_())
    contexts: dict[str, dict[str, str]] = {}
    for row in rows:
        if not row["problem"]:
            dimensions = {name: row[name] for name in DIMENSIONS}
            if contexts.setdefault(row["context"], dimensions) != dimensions:
                raise _ambiguous(row["context"], contexts[row["context"]], dimensions)
    return AdEvents(
        found.filter(usable),
        contexts,
        {(context, arm): count for context, arm, count in users},
        sum(row["events"] for row in rows),
        unusable,
        _sha256(rows),
    )


def _ambiguous(context: str, first: Mapping[str, str], second: Mapping[str, str]) -> DataError:
    shown = [", ".join(f"{name} {value}" for name, value in one.items() if value) for one in (first, second)]
    return DataError(
        f"Two contexts of ads have the id {context!r}",
        found=" and ".join(shown),
        allowed="ids without a slash, which joins them",
        next_step="take one of the dimensions out of ads.context, or correct the ids in customer_events",
    )


def _sha256(rows: Sequence[Mapping[str, Any]]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr(sorted(row.items())).encode())
    return digest.hexdigest()
