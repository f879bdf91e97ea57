"""Test that rows which are no longer current are closed, in a table with years of closed rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import load_all
from raypipe.project import shipped
from raypipe.score import current_rows
from raypipe.score.manifest import PublishTarget

TABLE = "customer_user_segment_assignments"
TARGET = PublishTarget(TABLE, "", current="is_current")
USERS, NIGHTS = 4_000, 500
RUN_DAY = date(2026, 1, 31)
# Enough for the entities of a night and the blocks that are read, several times over; not for a set of all closed rows.
MEMORY = {"max_memory_usage": 50_000_000, "max_threads": 2}


@pytest.fixture
def run(client: Client, scoring: Callable[..., Any]) -> Any:
    """Provide a run with its rows in the target, beside last night's current rows and many closed ones."""
    files = sorted((shipped() / "sql" / "schema").glob("*.sql"))
    (made,) = [one for file in files for one in load_all(file) if f"EXISTS {TABLE}\n" in one.text]
    # A merge would take one of two equal rows away, and so hide that it was written twice.
    plain = made.text.replace("ReplacingMergeTree(created_at)", "MergeTree")
    client.run(plain.replace("TTL created_at + toIntervalYear(1)", ""))
    run = scoring().with_manifest(targets=(TARGET,))
    for first, nights, is_current in ((2, NIGHTS, 0), (1, 1, 1), (0, 1, 1)):
        client.run(
            f"INSERT INTO {TABLE}"
            " (user_id, company_id, brand_id, assignment_date, model_version, is_current, created_at)"
            " SELECT concat('u', toString(number % {users:UInt32})), 'c', 'b',"
            " {day:Date} - {first:UInt32} - intDiv(number, {users:UInt32}) AS at,"
            " if(at = {day:Date}, {version:String}, 'earlier'), {is_current:UInt8},"
            " if(at = {day:Date}, {run_at:DateTime}, toDateTime(at)) FROM numbers({rows:UInt64})",
            {
                "users": USERS,
                "day": RUN_DAY,
                "first": first,
                "version": run.manifest.model_version,
                "is_current": is_current,
                "run_at": run.manifest.run_at,
                "rows": USERS * nights,
            },
        )
    return run


def closed(client: Client) -> list[tuple[int, int, int]]:
    """By whether they are current: rows, and those that stand once."""
    return client.rows(
        f"SELECT is_current, count(), uniqExact(user_id, assignment_date) FROM {TABLE} GROUP BY 1 ORDER BY 1"
    )


def test_the_night_before_is_closed_in_the_memory_of_a_night_however_long_the_history_is(run: Any) -> None:
    # An interrupted closing copied some of the rows.
    run.client.run(
        f"INSERT INTO {TABLE} SELECT * REPLACE (0 AS is_current) FROM (SELECT * FROM {TABLE}"
        " WHERE is_current = 1 AND assignment_date < {day:Date} AND user_id < 'u3')",
        {"day": RUN_DAY},
    )
    # The run has no row of this user, whose newest row therefore stays current.
    run.client.run(
        f"INSERT INTO {TABLE} SELECT * REPLACE ('absent' AS user_id) FROM {TABLE}"
        " WHERE is_current = 1 AND assignment_date < {day:Date} LIMIT 1",
        {"day": RUN_DAY},
    )
    all_closed, current = USERS * (NIGHTS + 1), USERS + 1
    with Client(run.client.endpoint, MEMORY) as small:
        for _ in range(2):
            current_rows.close_earlier(small, run.manifest, TARGET)
            assert closed(run.client) == [(0, all_closed, all_closed), (1, current, current)]
