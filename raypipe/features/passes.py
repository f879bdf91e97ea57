"""Read the sources of several days in one pass, into tables that each day is then built from.

A day's features cover up to 84 days, and neighbouring days share almost all of them. A pass reads each raw table once
and keeps a row per reader and day. The totals of all sessions up to a day come from the totals of an earlier day and
the sessions since.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property

from raypipe.artifact.contract import describe_query
from raypipe.clickhouse import twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.parameters import Parameters
from raypipe.clickhouse.statements import identifier, literal
from raypipe.errors import RaypipeError
from raypipe.features import sources
from raypipe.features.catalogue import WINDOW_DAYS
from raypipe.features.day import SETTINGS
from raypipe.features.reading import NEVER, bounds, raw, whole_day
from raypipe.features.sources import CONTENT, EVENTS, MOMENTS, MOST_TYPES, PIPELINE, SourceWindow, statement

WORDS, TOTALS = "session_words", "session_totals"
# Each adds up the rows of a reader and day, and is sorted by day, so that a snapshot reads only its window.
BY_DAY = {
    "session_days": "session_rows",
    "event_days": "event_rows",
    "content_days": "content_rows",
    "category_days": "category_rows",
}
DAY = timedelta(days=1)

Counts = Mapping[date, Counter[str]]


@dataclass(frozen=True)
class Level:
    """The sessions of a day: their number, and of those with a finite engagement score the number and the sum."""

    sessions: int
    scores: int
    points: float


@dataclass
class Pass:
    """The sources of several days, in tables of their own.

    Attributes:
        tables: the name of each table, by the SQL file that fills it.
        covered: the first and the last day of each source, as `sources.days` returns them.
        types: the readers' events by type and day, by source.
        levels: the sessions by day.
        unreadable: the sessions with unreadable categories by day.
        totals_of: the day of the totals; None before the first.
    """

    client: Client
    timezone: str
    tables: Mapping[str, str]
    covered: Mapping[str, tuple[date, date] | None]
    types: Mapping[str, Counts]
    levels: Mapping[date, Level]
    unreadable: Mapping[date, int]
    totals_of: date | None = None
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def window(self, day: date) -> SourceWindow:
        """Return the values that the day's statement binds, and the gaps in its sources."""
        types = {table: _most_frequent(counts, day) for table, counts in self.types.items()}
        levels = [self.levels[one] for one in _window(day) if one in self.levels]
        scores = sum(level.scores for level in levels)
        usual = sum(level.points for level in levels) / scores if scores else 0.0
        known = sources.described(day, self.covered, types, sum(level.sessions for level in levels), usual)
        places = {
            f"{name}_places": [1 + self.counted[table].index(kind) for kind in known.parameters[f"{name}_types"]]
            for name, table in (("event", EVENTS), ("content", CONTENT))
        }
        return SourceWindow({**known.parameters, **places}, known.warnings)

    @cached_property
    def counted(self) -> Mapping[str, list[str]]:
        """Return the event types that the rows of each source count, in their order."""
        return {table: sorted(set().union(*counts.values())) for table, counts in self.types.items()}

    def fill(self, first: date, last: date) -> None:
        """Read the raw tables for the days from `first` to `last`, each once."""
        types = {"event_types": self.counted[EVENTS], "content_types": self.counted[CONTENT]}
        parameters = {**bounds(first, last), **types, "timezone": self.timezone}
        for name in (WORDS, *BY_DAY):
            self._insert(name, _raw(name), parameters)

    def select(self, day: date, *, from_sessions: bool) -> str:
        """Return the whole day as one SELECT over the tables."""
        if from_sessions:
            self._advance(day)
        totals = self._totals("{date:Date}")
        words, *rows = (f"SELECT * FROM {identifier(self.tables[name])}" for name in (WORDS, *BY_DAY))
        return whole_day(totals, *rows, words=words, from_sessions=from_sessions)

    def unreadable_sessions(self, day: date) -> int:
        """Return the number of sessions up to the day with unreadable categories."""
        return sum(count for one, count in self.unreadable.items() if one <= day)

    def _totals(self, day: str) -> str:
        return f"SELECT * EXCEPT (as_of) FROM {identifier(self.tables[TOTALS])} WHERE as_of = {day}"

    def _advance(self, day: date) -> None:
        """Bring the totals from an earlier day, or from none, to the end of a day."""
        before = self.totals_of
        if before == day:
            return
        sql = statement(TOTALS).render(words=f"SELECT * FROM {identifier(self.tables[WORDS])}")
        if before is not None:
            sql = statement("merged_totals").render(previous=self._totals("{before:Date}"), added=sql)
        since = NEVER if before is None else before + DAY
        parameters = {"first_session": since, "date": day, "before": before or NEVER, "timezone": self.timezone}
        self._insert(TOTALS, f"SELECT {{date:Date}} AS as_of, * FROM (\n{sql}\n)", parameters)
        if before is not None:
            table = identifier(self.tables[TOTALS])
            self.client.run(f"ALTER TABLE {table} DROP PARTITION {literal(str(before))}")
        self.totals_of = day

    def _insert(self, name: str, sql: str, parameters: Parameters) -> None:
        self.client.run(f"INSERT INTO {identifier(self.tables[name])}\n{sql}", parameters, SETTINGS)


@contextmanager
def opened(client: Client, days: Sequence[date], run_id: str, epoch: int, timezone: str) -> Iterator[Pass]:
    """Read the sources of several days once, and drop the tables at the end.

    A killed pass leaves its tables like a twin: the next owner of the lock drops them.

    Args:
        days: the days to build, oldest first.
        run_id: the name of the build.
        epoch: the epoch of the lock's owner.
    """
    first, last = days[0], days[-1]
    tables = {name: twins.named(f"{name}_{run_id}", epoch) for name in (WORDS, TOTALS, *BY_DAY)}
    parameters = {**bounds(first, last), "timezone": timezone}
    own = Pass(
        client,
        timezone,
        tables,
        {table: sources.days(client, table, timezone) for table in MOMENTS},
        {table: _types(client, table, parameters) for table in (EVENTS, CONTENT)},
        _levels(client, parameters),
        dict(client.rows(statement("unreadable_by_day").text, parameters)),
    )
    with ExitStack() as stack:
        for name, table in tables.items():
            stack.callback(_drop, client, table)
            _create(client, name, table, {**parameters, "first_session": NEVER, "event_types": [], "content_types": []})
        own.fill(first, last)
        yield own


def _raw(name: str) -> str:
    """Return the SELECT that fills a table from the raw tables."""
    return statement(name).render(rows=raw(BY_DAY[name])) if name in BY_DAY else raw(name)


def _create(client: Client, name: str, table: str, parameters: Parameters) -> None:
    """Create a table for the rows of a SQL file."""
    columns = describe_query(client, _raw(name), parameters)
    if name == TOTALS:
        columns = {"as_of": "Date", **columns}
    listed = ", ".join(f"{identifier(column)} {kind}" for column, kind in columns.items())
    order = "day" if name in BY_DAY else "tuple()"
    partition = " PARTITION BY as_of" if name == TOTALS else ""
    client.run(client.topology.drop(table))
    client.run(
        f"CREATE TABLE {identifier(table)} ({listed}) ENGINE = MergeTree{partition} ORDER BY {order}"
        f" COMMENT {literal(PIPELINE)}"
    )


def _drop(client: Client, table: str) -> None:
    # A failure to drop must not hide an earlier error; `raypipe doctor --clean` drops the table later.
    with suppress(RaypipeError):
        client.run(client.topology.drop(table))


def _types(client: Client, table: str, parameters: Parameters) -> Counts:
    sql = statement("types_by_day").render(events=identifier(table))
    counts: dict[date, Counter[str]] = {}
    for day, kind, events in client.rows(sql, {**parameters, "most": MOST_TYPES}):
        counts.setdefault(day, Counter())[str(kind)] = int(events)
    return counts


def _levels(client: Client, parameters: Parameters) -> dict[date, Level]:
    rows = client.rows(statement("levels_by_day").text, parameters)
    return {day: Level(int(sessions), int(scores), float(points)) for day, sessions, scores, points in rows}


def _window(day: date) -> list[date]:
    return [day - n * DAY for n in range(WINDOW_DAYS)]


def _most_frequent(counts: Counts, day: date) -> list[str]:
    """Return the event types of a day's window, the most frequent first."""
    total = sum((counts[one] for one in _window(day) if one in counts), Counter[str]())
    return sorted(total, key=lambda kind: (-total[kind], kind))
