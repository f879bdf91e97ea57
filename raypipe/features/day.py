"""Build one day of customer_user_features, and fill its ml_features."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from raypipe.artifact.contract import describe_query
from raypipe.clickhouse import partitions, sharding, twins
from raypipe.clickhouse.client import Client
from raypipe.data import exclusion
from raypipe.errors import DataError, UsageError
from raypipe.features import sources, swap
from raypipe.features.reading import Reading
from raypipe.features.sources import SESSIONS, USER_FEATURES, statement
from raypipe.features.swap import Place, Swapping

log = logging.getLogger(__name__)

COMPUTED, REPLACED, FILLED, PRESENT = "computed", "replaced", "filled", "present"
GIB = 1 << 30
# Larger aggregates, joins and sorts go to the server's disk, whatever the population.
SETTINGS = {
    "join_algorithm": "grace_hash",
    "join_use_nulls": 0,
    "max_bytes_in_join": GIB,
    "max_bytes_before_external_group_by": GIB,
    "max_bytes_before_external_sort": GIB,
    "output_format_json_named_tuples_as_objects": 1,
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_quote_denormals": 0,
    "max_insert_threads": 2,
    "optimize_on_insert": 0,
}


@dataclass(frozen=True)
class BuiltDay:
    """The result of building a day.

    Attributes:
        status: `computed` where the day was missing, `replaced`, `filled` where only ml_features were missing, or
            `present` where nothing changed.
        method: `replace`, `move` or `exchange`; '' where the day was present.
        unreadable: the number of rows with unreadable JSON, which was skipped, by `table.column`.
        warnings: gaps in the sources of its features.
    """

    date: date
    status: str
    method: str
    rows: int
    unreadable: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0


def build(
    client: Client,
    day: date,
    run_id: str,
    run_at: datetime,
    *,
    timezone: str,
    reading: Reading,
    replace: bool,
    require_lock: Callable[[], None],
    swapping: Swapping,
) -> BuiltDay:
    """Build a day, whole or not at all; an existing day only gets its empty ml_features filled.

    Args:
        run_id: names the build's twin.
        run_at: the created_at and updated_at of the written rows.
        timezone: the zone in which days are cut, an IANA name.
        reading: the way to the sources.
        replace: compute every column of an existing day again from the sessions.
        require_lock: called right before the swap; raises when another process has taken over.
        swapping: tells whether the day is new on some shards alone.

    Raises:
        DataError: the new rows are not those of a whole day.
        Busy: a run at work reads the day, or another writer changed the table; nothing was changed by this build.
    """
    started = time.perf_counter()
    places = [_place(shard, day) for shard in sharding.shards(client)]
    rows, unfilled = _count(client, USER_FEATURES, day)
    status = _status(rows, unfilled, replace)
    if status == PRESENT:
        return BuiltDay(
            day, status, "", rows, _noted(day, _broken(client, USER_FEATURES, day)), seconds=_since(started)
        )
    exclusion.require_unread(client, day, shared=not swap.is_daily(places[0].table))
    from_sessions = status != FILLED
    window = reading.window(day)
    for warning in window.warnings:
        log.warning("%s: %s", day, warning)
    parameters = {**window.parameters, "date": day, "timezone": timezone, "run_at": run_at}
    twin = f"raypipe_twin_{run_id}"
    with ExitStack() as tables:
        for place in places:
            tables.enter_context(swap.scratch(place.client, twin, place.table))
            _fill(place.client, twin, reading.select(day, from_sessions=from_sessions), parameters, reading.columns)
        filled, empty = _count(client, twin, day)
        _require_whole(client, twin, day, filled, empty, None if from_sessions else rows)
        unreadable = _unreadable(client, twin, day, reading if from_sessions else None)
        swap.put_all(places, twin, day, require_lock, swapping)
    stored, _ = _count(client, USER_FEATURES, day)
    if stored != filled:
        raise DataError(
            f"{USER_FEATURES} does not hold the rows of {day} that were just written",
            found=f"{stored} rows",
            allowed=f"{filled} rows",
            next_step=f"look for a second writer, then repeat with `raypipe features --date {day} --replace`",
        )
    return BuiltDay(day, status, places[0].method, filled, unreadable, window.warnings, _since(started))


def _place(shard: Client, day: date) -> Place:
    """Look at a shard's part of a day, before the day is built."""
    table = twins.require_swappable(shard, USER_FEATURES)
    states = partitions.states(shard, USER_FEATURES)
    return Place(shard, table, states, occupied=_count(shard, USER_FEATURES, day)[0] > 0)


def require_sessions(client: Client, wanted: Sequence[date], timezone: str, *, replace: bool) -> None:
    """Refuse days that would be computed from sessions and have none.

    Raises:
        UsageError: the sessions do not cover a day; nothing was computed.
    """
    covered = sources.days(client, SESSIONS, timezone)
    for day in wanted:
        if covered and covered[0] <= day <= covered[1]:
            continue
        if _status(*_count(client, USER_FEATURES, day), replace) in (COMPUTED, REPLACED):
            raise UsageError(
                f"The user features of {day} cannot be computed: {SESSIONS} does not cover the day",
                found=f"sessions from {covered[0]} to {covered[1]}" if covered else "no sessions",
                allowed="a day with sessions",
                next_step="choose covered days with --from and --date, or wait until the sessions have arrived",
            )


def pending(client: Client, wanted: Sequence[date], *, replace: bool) -> list[date]:
    """Return the days that `build` would change."""
    sql = statement("whole_days").render(features=sharding.everywhere(client, USER_FEATURES))
    whole = {day for (day,) in client.rows(sql, {"first": wanted[0], "last": wanted[-1]})}
    return [day for day in wanted if replace or day not in whole]


def _status(rows: int, unfilled: int, replace: bool) -> str:
    if rows == 0:
        return COMPUTED
    if replace:
        return REPLACED
    return FILLED if unfilled else PRESENT


def _fill(
    client: Client, twin: str, sql: str, parameters: Mapping[str, Any], known: dict[str, tuple[str, ...]]
) -> None:
    if sql not in known:
        known[sql] = tuple(describe_query(client, sql, parameters))
    twins.fill(client, twin, known[sql], sql, parameters, SETTINGS)


def _count(client: Client, table: str, day: date) -> tuple[int, int]:
    sql = statement("day").render(features=sharding.everywhere(client, table))
    ((rows, unfilled),) = client.rows(sql, {"date": day})
    return int(rows), int(unfilled)


def _require_whole(client: Client, twin: str, day: date, filled: int, empty: int, expected: int | None) -> None:
    """Refuse a twin with too few rows, rows of another day, rows without ml_features, or a duplicate key."""
    ((total, keys),) = client.rows(statement("twin").render(twin=sharding.everywhere(client, twin)))
    twice = expected is None and keys != total
    if not filled or filled != total or empty or twice or (expected is not None and filled != expected):
        raise DataError(
            f"The user features of {day} were not written: the new rows are not those of a whole day",
            found=f"{total} rows, {filled} of the day, {keys} distinct keys, {empty} without ml_features",
            allowed=f"{expected} rows" if expected is not None else "one row per user, and at least one row",
            next_step="repeat the command; if it fails again, look at the tables with `raypipe sql`",
        )


def _unreadable(client: Client, twin: str, day: date, reading: Reading | None) -> dict[str, int]:
    events = statement("unreadable_events").render(features=sharding.everywhere(client, twin))
    counts = {"customer_events.engagement_metrics": int(client.value(events))}
    if reading is not None:
        counts[f"{SESSIONS}.categories_visited"] = reading.unreadable_sessions(day)
    else:
        counts |= _broken(client, twin, day)
    return _noted(day, counts)


def _broken(client: Client, table: str, day: date) -> dict[str, int]:
    """Count the rows with unreadable ml_features of another writer's, which stay as they are."""
    sql = statement("unreadable_ml_features").render(features=sharding.everywhere(client, table))
    return {f"{USER_FEATURES}.ml_features": int(client.value(sql, {"date": day}))}


def _noted(day: date, unreadable: dict[str, int]) -> dict[str, int]:
    for column, rows in unreadable.items():
        if rows:
            log.warning("%s: %s rows of %s hold unreadable JSON and were skipped", day, rows, column)
    return unreadable


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 3)
