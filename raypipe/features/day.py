"""One day of customer_user_features: computed from the sessions where it is missing, its ml_features filled."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from raypipe.artifact.contract import describe_query
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import shards
from raypipe.errors import DataError, UsageError
from raypipe.features import sources, swap
from raypipe.features.sources import SESSIONS, USER_FEATURES, statement
from raypipe.features.swap import Place

log = logging.getLogger(__name__)

COMPUTED, REPLACED, FILLED, PRESENT = "computed", "replaced", "filled", "present"
GIB = 1 << 30
# Aggregates, joins and sorts go to the server's disk from here on, whatever the population.
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
_STORED = f"SELECT * FROM {USER_FEATURES} WHERE feature_date = {{date:Date}}"


@dataclass(frozen=True)
class Built:
    """What became of a day.

    Attributes:
        date: the day.
        status: `computed` where it was missing, `replaced`, `filled` where only ml_features were missing, `present`
            where nothing was to be done.
        method: how it got in: `replace`, `move` or `exchange`; '' where it was present.
        rows: its rows.
        unreadable: JSON that could not be read and was skipped, as the number of rows by `table.column`.
        warnings: what its features lack.
        seconds: wall time.
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
    replace: bool,
    still_allowed: Callable[[], None] = lambda: None,
) -> Built:
    """Makes a day, whole or not at all; of one that is there only empty ml_features are filled.

    Args:
        client: the ClickHouse.
        day: the snapshot.
        run_id: of this build; its twin is named after it.
        run_at: what created_at and updated_at say of the rows that are written.
        timezone: the zone in which days are cut, an IANA name.
        replace: compute a day that is there anew from the sessions, every column of it.
        still_allowed: asked right before the swap; raises when another process has taken over.

    Raises:
        UsageError: the sessions do not reach the day.
        DataError: the rows that were made are not those expected.
        Busy: somebody else writes to the table; nothing was changed.
    """
    started = time.perf_counter()
    table = swap.require_target(client)
    states = swap.states(client, USER_FEATURES)
    rows, unfilled = _count(client, USER_FEATURES, day)
    status = _status(rows, unfilled, replace)
    if status == PRESENT:
        return Built(day, status, "", rows, _noted(day, _broken(client, USER_FEATURES, day)), seconds=_since(started))
    from_sessions = status != FILLED
    if from_sessions:
        _require_sessions(client, day, timezone)
    place = Place(table, states, rows > 0)
    window = sources.window(client, day, timezone)
    for warning in window.warnings:
        log.warning("%s: %s", day, warning)
    parameters = {**window.parameters, "date": day, "timezone": timezone, "run_at": run_at}
    with swap.scratch(client, f"raypipe_twin_{run_id}", table) as twin:
        _fill(client, twin, _select(from_sessions), parameters)
        made, empty = _count(client, twin, day)
        _require_whole(client, twin, day, made, empty, None if from_sessions else rows)
        unreadable = _unreadable(client, twin, day, timezone, from_sessions)
        swap.put(client, place, twin, day, still_allowed)
    stored, _ = _count(client, USER_FEATURES, day)
    if stored != made:
        raise DataError(
            f"{USER_FEATURES} does not hold the rows of {day} that were just written",
            found=f"{stored} rows",
            allowed=f"{made} rows",
            next_step=f"look for a second writer, then repeat with `raypipe features --date {day} --replace`",
        )
    return Built(day, status, place.method, made, unreadable, window.warnings, _since(started))


def _status(rows: int, unfilled: int, replace: bool) -> str:
    if rows == 0:
        return COMPUTED
    if replace:
        return REPLACED
    return FILLED if unfilled else PRESENT


def _select(from_sessions: bool) -> str:
    """The whole day as one SELECT; every raw table stands in it once."""
    return statement("ml_features").render(
        users=statement("user_features").text if from_sessions else _STORED,
        activity=statement("activity").text,
        content=statement("content").text,
    )


def _fill(client: Client, twin: str, sql: str, parameters: Mapping[str, Any]) -> None:
    columns = ", ".join(identifier(name) for name in describe_query(client, sql, parameters))
    for one in client.topology.fill(twin, columns, sql, shards(client)):
        client.run(one, parameters, SETTINGS)


def _count(client: Client, table: str, day: date) -> tuple[int, int]:
    sql = statement("day").render(features=client.topology.everywhere(table))
    ((rows, unfilled),) = client.rows(sql, {"date": day})
    return int(rows), int(unfilled)


def _require_sessions(client: Client, day: date, timezone: str) -> None:
    covered = sources.days(client, SESSIONS, timezone)
    if covered is None or not covered[0] <= day <= covered[1]:
        raise UsageError(
            f"The user features of {day} cannot be computed: {SESSIONS} does not reach that day",
            found=f"sessions from {covered[0]} to {covered[1]}" if covered else "no sessions",
            allowed="a day from the first to the last of them",
            next_step="name such a day with --date, or wait until its sessions have arrived",
        )


def _require_whole(client: Client, twin: str, day: date, made: int, empty: int, expected: int | None) -> None:
    """Refuses a twin with too few rows, rows of another day, rows without ml_features, or a key that stands twice."""
    ((total, keys),) = client.rows(statement("twin").render(twin=client.topology.everywhere(twin)))
    twice = expected is None and keys != total
    if not made or made != total or empty or twice or (expected is not None and made != expected):
        raise DataError(
            f"The user features of {day} were not written: the rows that were made are not those of a whole day",
            found=f"{total} rows, {made} of the day, {keys} distinct keys, {empty} without ml_features",
            allowed=f"{expected} rows" if expected is not None else "one row a user, and at least one",
            next_step="repeat the command; if it stays so, look at the tables with `raypipe sql`",
        )


def _unreadable(client: Client, twin: str, day: date, timezone: str, from_sessions: bool) -> dict[str, int]:
    events = statement("unreadable_events").render(features=client.topology.everywhere(twin))
    found = {"customer_events.engagement_metrics": int(client.value(events))}
    if not from_sessions:
        found |= _broken(client, twin, day)
    if from_sessions:
        sessions = statement("unreadable_sessions").render(sessions=client.topology.everywhere(SESSIONS))
        found[f"{SESSIONS}.categories_visited"] = int(client.value(sessions, {"date": day, "timezone": timezone}))
    return _noted(day, found)


def _broken(client: Client, table: str, day: date) -> dict[str, int]:
    """Rows that came with ml_features which nothing can be read from; they stay as they are."""
    sql = statement("unreadable_ml_features").render(features=client.topology.everywhere(table))
    return {f"{USER_FEATURES}.ml_features": int(client.value(sql, {"date": day}))}


def _noted(day: date, unreadable: dict[str, int]) -> dict[str, int]:
    for column, rows in unreadable.items():
        if rows:
            log.warning("%s: %s rows of %s hold no JSON that can be read; they were skipped", day, rows, column)
    return unreadable


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 3)
