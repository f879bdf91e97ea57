"""The sources of the features: the tables that must hold rows, their days and their event types."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, identifier, load
from raypipe.clickhouse.tables import describe_all
from raypipe.data import exclusion
from raypipe.errors import DataError
from raypipe.features.catalogue import LONG_WINDOW_DAYS, WINDOW_DAYS
from raypipe.project import shipped

# The name of the features in locks and twins, as of a pipeline.
PIPELINE = exclusion.FEATURES
SESSIONS, EVENTS, CONTENT = "customer_sessions", "customer_events", "editorial_content_events"
USER_FEATURES, DOCUMENTED = exclusion.USER_FEATURES, "ml_model_features"
SOURCES = (SESSIONS, EVENTS, CONTENT, "editorial_article_performance", "editorial_articles", "categories")
# It may be empty: the features from it are null then.
CATEGORY_PERFORMANCE = "editorial_category_performance"
MOMENTS = {SESSIONS: "session_start", EVENTS: "event_timestamp", CONTENT: "event_timestamp"}
# More types than any publisher has; a table with event ids in place of types would make endless JSON.
MOST_TYPES = 50


@dataclass(frozen=True)
class SourceWindow:
    """The content of the sources in the 28 days up to and including a date.

    Attributes:
        parameters: the values that a day's statement binds: the most frequent event types, and which sources have rows.
        warnings: gaps that the features of this date will have.
    """

    parameters: Mapping[str, Any]
    warnings: tuple[str, ...]


def statement(name: str) -> Statement:
    """Load one of the pipeline's own SQL files."""
    return load(shipped() / "sql" / "features" / f"{name}.sql")


def require_tables(client: Client) -> None:
    """Refuse a database where a table is missing or a source is empty.

    Raises:
        DataError: names each of these tables; nothing was computed.
    """
    needed = [*SOURCES, CATEGORY_PERFORMANCE, USER_FEATURES, DOCUMENTED]
    tables = describe_all(client, names=needed)
    missing = [name for name in needed if name not in tables]
    any_row = "SELECT count() FROM (SELECT 1 FROM {} LIMIT 1)"
    empty = [name for name in SOURCES if name in tables and not client.value(any_row.format(identifier(name)))]
    if missing or empty:
        raise DataError(
            "Features cannot be computed: source tables are missing or empty",
            found=", ".join([*(f"{name} is missing" for name in missing), *(f"{name} is empty" for name in empty)]),
            next_step="create the missing tables with `raypipe migrate`, and fill the empty ones"
            if missing
            else "fill the empty tables, or choose another database; nothing was changed",
        )


def days(client: Client, table: str, timezone: str) -> tuple[date, date] | None:
    """Return the first and the last day of a table's rows in a zone; None for an empty table."""
    sql = statement("days").render(events=identifier(table), moment=MOMENTS[table])
    ((first, last),) = client.rows(sql, {"timezone": timezone})
    return None if first is None else (first, last)


def window(client: Client, day: date, timezone: str) -> SourceWindow:
    """Look at the sources in the window that ends with a day of a zone."""
    types = {table: _types(client, table, day, timezone) for table in (EVENTS, CONTENT)}
    counting = statement("sessions_in_window").render(sessions=identifier(SESSIONS))
    ((sessions, engagement),) = client.rows(counting, {"date": day, "timezone": timezone})
    covered = {table: days(client, table, timezone) for table in MOMENTS}
    return described(day, covered, types, sessions, engagement)


def described(
    day: date,
    covered: Mapping[str, tuple[date, date] | None],
    types: Mapping[str, list[str]],
    sessions: int,
    engagement: float,
) -> SourceWindow:
    """Describe the sources of a day.

    Args:
        covered: the first and the last day of each source, as `days` returns them.
        types: the event types in the window, the most frequent first, by table.
        sessions: the number of sessions in the window.
        engagement: their mean engagement score.
    """
    known = {SESSIONS: bool(sessions), **{table: bool(names) for table, names in types.items()}}
    listed = {table: names[:MOST_TYPES] for table, names in types.items()}
    parameters = {
        "event_types": listed[EVENTS],
        "content_types": listed[CONTENT],
        "event_places": [*range(1, len(listed[EVENTS]) + 1)],
        "content_places": [*range(1, len(listed[CONTENT]) + 1)],
        "knows_sessions": int(known[SESSIONS]),
        "knows_events": int(known[EVENTS]),
        "knows_content": int(known[CONTENT]),
        # Rounded, as the last digits depend on the order of the sum.
        "usual_engagement": round(float(engagement), 3),
    }
    return SourceWindow(parameters, (*_gaps(day, covered, known), *_too_many(types)))


def _types(client: Client, table: str, day: date, timezone: str) -> list[str]:
    sql = statement("event_types").render(events=identifier(table))
    return [str(name) for name, _ in client.rows(sql, {"date": day, "timezone": timezone})]


def _gaps(day: date, covered: Mapping[str, tuple[date, date] | None], known: Mapping[str, bool]) -> Iterator[str]:
    for table, has_rows in known.items():
        window = WINDOW_DAYS if table == EVENTS else LONG_WINDOW_DAYS
        first, _ = covered[table] or (day, day)
        if not has_rows:
            yield f"{table} has no row from {day - timedelta(days=WINDOW_DAYS - 1)} to {day}: its features are null"
        elif first > day - timedelta(days=WINDOW_DAYS - 1):
            yield f"{table} begins on {first}: features over {WINDOW_DAYS} days cover only {(day - first).days + 1}"
        elif first > day - timedelta(days=window - 1):
            yield f"{table} begins on {first}: features over {window} days cover only {(day - first).days + 1}"


def _too_many(types: Mapping[str, list[str]]) -> Iterator[str]:
    for table, names in types.items():
        if len(names) > MOST_TYPES:
            yield f"{table} has {len(names)} event types: only the {MOST_TYPES} most frequent get a count each"
