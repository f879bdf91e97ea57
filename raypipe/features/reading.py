"""Read the sources of a day's features from the raw tables, each once."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Protocol

from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client
from raypipe.features import sources
from raypipe.features.catalogue import LONG_WINDOW_DAYS, WINDOW_DAYS
from raypipe.features.sources import SESSIONS, USER_FEATURES, SourceWindow, statement

# Before every session.
NEVER = date(1970, 1, 1)
_STORED = f"SELECT * FROM {USER_FEATURES} WHERE feature_date = {{date:Date}}"


class Reading(Protocol):
    """The way to the sources of a day's features.

    Attributes:
        columns: the columns of each statement that was described, by its text; other days have the same statement.
    """

    columns: dict[str, tuple[str, ...]]

    def window(self, day: date) -> SourceWindow:
        """Return the values that the day's statement binds, and the gaps in its sources."""

    def select(self, day: date, *, from_sessions: bool) -> str:
        """Return the whole day as one SELECT; without `from_sessions` it keeps all columns but ml_features."""

    def unreadable_sessions(self, day: date) -> int:
        """Return the number of sessions up to the day with unreadable categories."""


@dataclass
class RawReading:
    """The raw tables as the sources of one day."""

    client: Client
    timezone: str
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def window(self, day: date) -> SourceWindow:
        """Return the values that the day's statement binds, and the gaps in its sources."""
        found = sources.window(self.client, day, self.timezone)
        return SourceWindow({**bounds(day, day), "first_session": NEVER, **found.parameters}, found.warnings)

    def select(self, day: date, *, from_sessions: bool) -> str:
        """Return the whole day as one SELECT over the raw tables."""
        names = ("session_totals", "session_rows", "event_rows", "content_rows", "category_rows")
        return whole_day(*(raw(name) for name in names), words=raw("session_words"), from_sessions=from_sessions)

    def unreadable_sessions(self, day: date) -> int:
        """Return the number of sessions up to the day with unreadable categories."""
        sql = statement("unreadable_sessions").render(sessions=sharding.everywhere(self.client, SESSIONS))
        return int(self.client.value(sql, {"date": day, "timezone": self.timezone}))


def bounds(first: date, last: date) -> dict[str, date]:
    """Return the first days that the snapshots from `first` to `last` read of the long and of the usual window."""
    return {
        "first": first - timedelta(days=LONG_WINDOW_DAYS - 1),
        "first_event": first - timedelta(days=WINDOW_DAYS - 1),
        "date": last,
    }


def raw(name: str) -> str:
    """Return the SELECT that reads the rows of a day's source from the raw tables."""
    sql = statement(name)
    return sql.render(words=raw("session_words")) if "words" in sql.placeholders else sql.text


def whole_day(
    totals: str, sessions: str, events: str, reads: str, categories: str, *, words: str, from_sessions: bool
) -> str:
    """Return a day as one SELECT over the SELECTs of its sources."""
    users = statement("user_features").render(totals=totals, words=words) if from_sessions else _STORED
    return statement("ml_features").render(
        users=users,
        visits=statement("visits").render(sessions=sessions),
        activity=statement("activity").render(events=events),
        content=statement("content").render(reads=reads),
        history=statement("history").render(categories=categories),
    )
