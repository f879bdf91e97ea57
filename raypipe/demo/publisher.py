"""Writes the synthetic publisher, inside ClickHouse, from numbers and a seed.

Nothing but statements leaves this process. Everything random is a hash of the seed and a row's own numbers,
so that the same arguments give the same rows whatever the threads and blocks were.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from raypipe.artifact.contract import describe_query
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier, load, load_all
from raypipe.demo.plan import EVENT_DAYS, Plan
from raypipe.errors import DataError
from raypipe.project import shipped

MARK = "demo_truth"
TRUTH_TABLES = (MARK, "demo_days", "demo_articles", "demo_arms", "demo_settings")
FILLED_TABLES = (
    "companies",
    "brands",
    "countries",
    "cities",
    "categories",
    "device_types",
    "operating_systems",
    "browsers",
    "brand_countries",
    "editorial_authors",
    "users",
    "user_accounts",
    "editorial_articles",
    "customer_sessions",
    "customer_events",
    "editorial_content_events",
    "editorial_article_performance",
    "customer_session_summary_daily",
    "customer_user_features",
)
# Two insert threads and blocks of a million rows give few parts; every month of a table with monthly
# partitions may be touched at once.
SETTINGS = {
    "max_partitions_per_insert_block": 0,
    "max_insert_threads": 2,
    "min_insert_block_size_rows": 1_000_000,
    "min_insert_block_size_bytes": 512 << 20,
    "max_bytes_before_external_group_by": 4 << 30,
}

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Summary:
    """What `build` wrote: people, sessions, rows of customer_events, the days covered and the time it took."""

    users: int
    sessions: int
    events: int
    first_date: date
    last_date: date
    seconds: float


def build(
    client: Client,
    users: int = 50_000,
    days: int = 120,
    seed: int = 1,
    last_date: date | None = None,
    *,
    drift_on: date | None = None,
    snapshot_every: int = 15,
    replace: bool = False,
    written_at: datetime | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Fills the database with a synthetic publisher; the tables must exist (`raypipe migrate`).

    Sessions cover all the days, events the last 30 of them and at most about 200,000 readers. A snapshot of
    customer_user_features is computed for the last date and every `snapshot_every` days before it, with
    the statement of the `features` pipeline. The latent truth goes to the demo_… tables.

    Args:
        client: whose endpoint names the database.
        users: people; about one in twelve reads two brands and so is two rows of demo_truth.
        days: days with sessions, at least 30.
        seed: the same seed (and days, users, last_date, written_at) gives the same rows.
        last_date: the last day with sessions; yesterday in UTC if not given. The tables' TTL counts from
            `written_at`, not from here.
        drift_on: from this day on engagement scores are three quarters of what they were, and a third of
            the sessions moves to mobile.
        snapshot_every: days between snapshots.
        replace: empties the tables of an earlier demo first.
        written_at: what created_at and updated_at say; now if not given.
        progress: called with a line before each step.

    Raises:
        UsageError: an argument cannot be used.
        DataError: tables are missing, or hold rows and may not be replaced.
    """
    started = time.monotonic()
    plan = Plan(
        users,
        days,
        seed,
        last_date or datetime.now(UTC).date() - timedelta(days=1),
        drift_on,
        snapshot_every,
        (written_at or datetime.now(UTC)).replace(tzinfo=None, microsecond=0),
    )
    say = progress or _silent
    _make_room(client, replace)
    _fill(client, plan, say)
    sessions, events = (
        int(client.value(f"SELECT count() FROM {table}")) for table in ("customer_sessions", "customer_events")
    )
    return Summary(users, sessions, events, plan.first_date, plan.last_date, round(time.monotonic() - started, 3))


def _fill(client: Client, plan: Plan, say: Progress) -> None:
    for step, file in (
        ("settings and truth", "settings.sql"),
        ("reference tables", "reference.sql"),
        ("people and accounts", "people.sql"),
        ("articles", "articles.sql"),
        ("older versions of some rows", "doubled.sql"),
    ):
        say(step)
        _run(client, file, plan.parameters)
    for first, until in plan.months:
        say(f"sessions from {first} to {until}")
        _run(client, "sessions.sql", {**plan.parameters, "first": first, "until": until})
    say(f"events of the last {EVENT_DAYS} days")
    _run(client, "events.sql", plan.parameters)
    for late in (0, 1):
        _run(client, "performance.sql", {**plan.parameters, "late": late})
    say("daily summaries")
    _run(client, "summary.sql", plan.parameters)
    for snapshot in plan.snapshots:
        say(f"user features as of {snapshot}")
        _snapshot(client, {**plan.parameters, "date": snapshot, "timezone": "UTC"})


def _run(client: Client, file: str, parameters: Mapping[str, Any]) -> None:
    for statement in load_all(_folder() / file):
        client.run(statement.text, {name: parameters[name] for name in statement.parameters}, SETTINGS)


def _snapshot(client: Client, parameters: Mapping[str, Any]) -> None:
    select = load(shipped() / "sql" / "features" / "user_features.sql")
    values = {name: parameters[name] for name in select.parameters}
    columns = ", ".join(identifier(name) for name in describe_query(client, select.text, values))
    for statement in client.topology.fill("customer_user_features", columns, select.text):
        client.run(statement, values, SETTINGS)


def _folder() -> Path:
    return shipped() / "sql" / "demo"


def _make_room(client: Client, replace: bool) -> None:
    """Creates the truth tables in an empty database; empties those of an earlier demo when that is asked for."""
    database = client.endpoint.database
    found = {
        str(name): int(rows or 0)
        for name, rows in client.rows("SELECT name, total_rows FROM system.tables WHERE database = currentDatabase()")
    }
    missing = [table for table in FILLED_TABLES if table not in found]
    if missing:
        raise DataError(
            f"The database {database} lacks tables that the demo fills",
            found=", ".join(missing),
            next_step="run `raypipe migrate` first",
        )
    occupied = [table for table in FILLED_TABLES if found[table]]
    if occupied and not (replace and MARK in found):
        raise DataError(
            f"The database {database} is not empty",
            found=", ".join(f"{table} ({found[table]:,} rows)" for table in occupied[:5]),
            allowed="an empty database, or one that an earlier demo filled when replacing is asked for",
            next_step="add --replace to write the demo anew" if MARK in found else "name another database in the URL",
        )
    # The mark is emptied last: a demo cut short while it is replaced can still be replaced.
    for table in (*FILLED_TABLES, *reversed([table for table in TRUTH_TABLES if table in found])):
        if found[table]:
            client.run(f"TRUNCATE TABLE {identifier(table)}")
    _run(client, "truth_tables.sql", {})


def _silent(_: str) -> None:
    return None
