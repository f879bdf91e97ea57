"""Add up ad events inside ClickHouse, per context, arm, part of the window and bucket of readers."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, identifier
from raypipe.config.ads import Ads
from raypipe.errors import DataError

TRAIN, TEST = "train", "test"
NO_DAY = date(1970, 1, 1)
DIMENSIONS = ("company_id", "brand_id", "device_type_id", "category_id")


@dataclass(frozen=True)
class AdWindow:
    """The days of the events to read, up to and including `day`, and the config's `ads`."""

    day: date
    timezone: str
    settings: Ads

    @property
    def since(self) -> date:
        """Return the first day."""
        return self.day - timedelta(days=self.settings.window_days - 1)

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters of arms.sql."""
        until = self.day + timedelta(days=1)
        return {
            "since": self.since,
            "until": until,
            "split": until - timedelta(days=self.settings.test_days),
            "timezone": self.timezone,
            "context": list(self.settings.context),
            "impression": self.settings.impression,
            "click": self.settings.click,
            "buckets": self.settings.buckets,
        }


@dataclass(frozen=True)
class AdEvents:
    """The sums of a window, read from the table that arms.sql was written to.

    Attributes:
        cells: usable events by context, arm, part and bucket.
        contexts: the dimensions of each context, by its id.
        users: the number of known readers by context and arm; anonymous readers count in impressions alone.
        unusable: the number of skipped events by reason.
        sha256: a hash of everything above; the same events have the same hash.
    """

    cells: pa.Table
    contexts: Mapping[str, Mapping[str, str]]
    users: Mapping[tuple[str, str], int]
    events: int
    unusable: Mapping[str, int]
    sha256: str

    @property
    def skipped(self) -> int:
        """Return the number of unusable events."""
        return sum(self.unusable.values())

    def rows(self, *parts: str) -> list[dict[str, Any]]:
        """Return the cells of some parts, or of all."""
        return [row for row in self.cells.to_pylist() if not parts or row["part"] in parts]

    def impressions(self, *parts: str) -> dict[str, Counter[str]]:
        """Return the impressions of some parts, or of all, by context and arm."""
        counts: dict[str, Counter[str]] = {}
        for row in self.rows(*parts):
            counts.setdefault(row["context"], Counter())[row["arm"]] += row["impressions"]
        return counts


def newest_day(client: Client, newest: Statement, last: date, timezone: str, settings: Ads) -> date:
    """Return the newest day with an ad event, up to a last day.

    Raises:
        DataError: there is no ad event up to the last day.
    """
    impression, click = settings.impression, settings.click
    until = last + timedelta(days=1)
    parameters = {"until": until, "timezone": timezone, "impression": impression, "click": click}
    day = client.value(newest.text, parameters)
    if day <= NO_DAY:
        raise DataError(
            "customer_events holds no ad event of a finished day",
            found=f"no event_type {impression} or {click} up to {last}, in {timezone}",
            next_step="check ads.impression and ads.click in the config",
        )
    # A project's own query may not bind `until`.
    return min(day, last)  # type: ignore[no-any-return]


def copy(client: Client, name: str, arms: Statement, window: AdWindow) -> None:
    """Write the window's sums to a table, so that the whole run reads the same events."""
    statement = client.topology.create(name, "", order="(context, arm)", tail=f" EMPTY AS\n{arms.text}")
    sharding.create(client, name, statement, window.parameters)
    client.run(f"INSERT INTO {identifier(sharding.first(client, name))}\n{arms.text}", window.parameters)


def read(client: Client, name: str) -> AdEvents:
    """Read the sums that `copy` wrote.

    Raises:
        DataError: two contexts have the same joined id.
    """
    keys = "context, arm, part, bucket, problem"
    table = identifier(name)
    cells = client.table(f"SELECT * EXCEPT readers FROM {table} ORDER BY {keys}")
    users = client.rows(f"SELECT context, arm, uniqExactIfMerge(readers) FROM {table} WHERE problem = '' GROUP BY ALL")
    rows = cells.to_pylist()
    unusable: Counter[str] = Counter()
    contexts: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["problem"]:
            unusable[row["problem"]] += row["events"]
            continue
        dimensions = {name: row[name] for name in DIMENSIONS}
        if contexts.setdefault(row["context"], dimensions) != dimensions:
            raise _ambiguous(row["context"], contexts[row["context"]], dimensions)
    return AdEvents(
        cells.filter(pa.array([not row["problem"] for row in rows], pa.bool_())),
        contexts,
        {(context, arm): count for context, arm, count in users},
        sum(row["events"] for row in rows),
        dict(unusable),
        _sha256(rows),
    )


def _ambiguous(context: str, first: Mapping[str, str], second: Mapping[str, str]) -> DataError:
    ids = [", ".join(f"{name} {value}" for name, value in item.items() if value) for item in (first, second)]
    return DataError(
        f"Two contexts of ads have the id {context!r}",
        found=" and ".join(ids),
        allowed="ids without a slash, which joins them",
        next_step="remove one of the dimensions from ads.context, or correct the ids in customer_events",
    )


def _sha256(rows: Sequence[Mapping[str, Any]]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr(sorted(row.items())).encode())
    return digest.hexdigest()
