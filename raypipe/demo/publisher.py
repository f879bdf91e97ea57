"""Write the synthetic publisher inside ClickHouse, from numbers and a seed.

Only statements leave this process. Every random value is a hash of the seed and the row's own numbers, so the
same arguments give the same rows, whatever the threads and blocks.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier, load_all
from raypipe.demo.plan import DemoPlan
from raypipe.errors import DataError
from raypipe.features import snapshots
from raypipe.progress import Progress, silent
from raypipe.project import shipped

MARK = "demo_truth"
TRUTH_TABLES = (MARK, "demo_days", "demo_articles", "demo_arms", "demo_settings")
FILLED_TABLES = (
    *("companies", "brands", "countries", "cities", "categories", "device_types", "operating_systems", "browsers"),
    *("brand_countries", "editorial_authors", "users", "user_accounts", "editorial_articles"),
    *("customer_sessions", "customer_events", "editorial_content_events", "editorial_article_performance"),
    *("editorial_category_performance", "editorial_author_performance", "customer_session_summary_daily"),
    "customer_user_features",
)
# Two insert threads and blocks of a million rows give few parts. An insert may write every monthly partition at once.
SETTINGS = {
    "max_partitions_per_insert_block": 0,
    "max_insert_threads": 2,
    "min_insert_block_size_rows": 1_000_000,
    "min_insert_block_size_bytes": 512 << 20,
    "max_bytes_before_external_group_by": 4 << 30,
}


@dataclass(frozen=True)
class Summary:
    """The number of readers, sessions and events that `build` wrote, the days covered and the time taken."""

    users: int
    sessions: int
    events: int
    first_date: date
    last_date: date
    seconds: float


def build(
    client: Client,
    users: int = 50_000,
    days: int = 180,
    seed: int = 1,
    last_date: date | None = None,
    *,
    drift_on: date | None = None,
    snapshot_every: int = 15,
    replace: bool = False,
    written_at: datetime | None = None,
    progress: Progress = silent,
) -> Summary:
    """Fill the database with a synthetic publisher; the publisher's tables must exist.

    Sessions and events cover all days; of more than about 200,000 readers, a sample has events. The features of the
    last date and of every `snapshot_every` days before it are built, as `raypipe features` builds them. The latent
    truth goes to the demo_… tables.

    Args:
        users: the number of readers; about one in twelve reads two brands and has two rows in demo_truth.
        seed: the same seed (and days, users, last_date, written_at) gives the same rows.
        last_date: the last day with sessions; None for yesterday in UTC. The tables' TTL counts from `written_at`.
        drift_on: from this day on, engagement scores drop to three quarters, and a third of the sessions moves to
            mobile.
        written_at: the value of created_at and updated_at; None for now.

    Raises:
        UsageError: an argument cannot be used.
        DataError: tables are missing, or contain rows that may not be replaced.
    """
    started = time.monotonic()
    plan = DemoPlan(
        users,
        days,
        seed,
        last_date or datetime.now(UTC).date() - timedelta(days=1),
        drift_on,
        snapshot_every,
        (written_at or datetime.now(UTC)).replace(tzinfo=None, microsecond=0),
    )
    _make_room(client, replace)
    _fill(client, plan, progress)
    sessions, events = (
        int(client.value(f"SELECT count() FROM {table}")) for table in ("customer_sessions", "customer_events")
    )
    return Summary(users, sessions, events, plan.first_date, plan.last_date, round(time.monotonic() - started, 3))


def _fill(client: Client, plan: DemoPlan, progress: Progress) -> None:
    def say(step: str) -> None:
        progress(step, 0, 0)

    for step, file in (
        ("settings and truth", "settings.sql"),
        ("reference tables", "reference.sql"),
        ("readers and accounts", "readers.sql"),
        ("articles", "articles.sql"),
        ("older versions of some rows", "doubled.sql"),
    ):
        say(step)
        _run(client, file, plan.parameters)
    for first, until in plan.months:
        say(f"sessions from {first} to {until}")
        _run(client, "sessions.sql", {**plan.parameters, "first": first, "until": until})
    say("events")
    _run(client, "events.sql", plan.parameters)
    for late in (0, 1):
        _run(client, "performance.sql", {**plan.parameters, "late": late})
    say("daily summaries")
    for file in ("summary.sql", "desks_performance.sql"):
        _run(client, file, plan.parameters)
    snapshots.compute_days(client, plan.snapshots, run_at=plan.built_at, timezone="UTC", progress=progress)


def _run(client: Client, file: str, parameters: Mapping[str, Any]) -> None:
    for statement in load_all(shipped() / "sql" / "demo" / file):
        client.run(
            client.topology.declared(statement.text),
            {name: parameters[name] for name in statement.parameters},
            SETTINGS,
        )


def _make_room(client: Client, replace: bool) -> None:
    """Create the truth tables in an empty database; with `replace`, empty the tables of an earlier demo."""
    database = client.endpoint.database
    query = "SELECT name, total_rows FROM system.tables WHERE database = currentDatabase() AND engine != 'Distributed'"
    counted = {node: {str(name): int(rows or 0) for name, rows in node.rows(query)} for node in sharding.nodes(client)}
    counts: Counter[str] = Counter()
    for tables in counted.values():
        counts.update(tables)
    missing = [table for table in FILLED_TABLES if table not in counts]
    if missing:
        raise DataError(
            f"The database {database} lacks tables that the demo fills",
            found=", ".join(missing),
            next_step="fill it with the command `raypipe demo`, which creates the tables",
        )
    occupied = [table for table in FILLED_TABLES if counts[table]]
    if occupied and not (replace and MARK in counts):
        raise DataError(
            f"The database {database} is not empty",
            found=", ".join(f"{table} ({counts[table]:,} rows)" for table in occupied[:5]),
            allowed="an empty database, or with --replace the database of an earlier demo",
            next_step="add --replace to write the demo again" if MARK in counts else "name another database in the URL",
        )
    # The mark is emptied last, so that an interrupted replacement can be repeated.
    for table in (*FILLED_TABLES, *reversed([table for table in TRUTH_TABLES if table in counts])):
        for node, tables in counted.items():
            if tables.get(table):
                node.run(f"TRUNCATE TABLE {identifier(table)}")
    _run(client, "truth_tables.sql", {})
