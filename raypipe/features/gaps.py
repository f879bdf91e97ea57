"""Find the snapshots with empty ml_features among those that fits read."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache

from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import load
from raypipe.features.sources import USER_FEATURES, statement
from raypipe.project import shipped


@dataclass(frozen=True)
class EmptyDay:
    """A snapshot with empty ml_features in some of its rows."""

    date: date
    rows: int
    empty: int


def empty_days(client: Client, days: Iterable[date]) -> list[EmptyDay]:
    """Return those of the days that have rows without ml_features, oldest first."""
    sql = statement("day").render(features=sharding.everywhere(client, USER_FEATURES))
    counted = [(day, *client.rows(sql, {"date": day})[0]) for day in sorted(set(days))]
    return [EmptyDay(day, int(rows), int(empty)) for day, rows, empty in counted if empty]


@cache
def columns() -> frozenset[str]:
    """Return the columns that shared/content_features.sql reads from ml_features."""
    return frozenset(re.findall(r"AS (\w+)", load(shipped() / "sql" / "shared" / "content_features.sql").text))
