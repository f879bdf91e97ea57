"""Measure `raypipe explore` on tables of ten million rows and on a tenth of them.

    python benchmarks/exploring.py --rows 10000000 --url http://default@localhost:8123/default

Needs a ClickHouse on this machine. The benchmark creates the database bench_exploring with the publisher's tables and
drops it at the end. It fills four tables inside ClickHouse to a tenth of the rows, merges all parts, and explores them
with the real command in a process of its own. Then it fills them up and repeats. The server's memory comes from
system.query_log. Without a query log, running queries are sampled twenty times per second, and short ones may be
missed. `server_memory` names the method.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from contest.processes import python, run
from contest.rounds import say

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema import migrate
from raypipe.clickhouse.schema.migrate import SYSTEM
from raypipe.clickhouse.statements import identifier, load, load_all
from raypipe.errors import ServerError
from raypipe.project import shipped

TABLES = ("customer_user_features", "customer_sessions", "customer_events", "ml_model_predictions")
SNAPSHOTS = (date(2026, 1, 1), date(2026, 1, 31))
SQL = Path(__file__).parent / "sql"
QUICK_ROWS = 1_000_000
EVERY_SECONDS = 0.05
MIB = 1 << 20
LOG, SAMPLED = "query_log", "sampled"

# The text of a query and its peak memory.
Query = tuple[str, int]


class Watch(threading.Thread):
    """Sample the memory of the running queries on a database."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(daemon=True)
        self._endpoint = endpoint
        self._ended = threading.Event()
        self._peaks: dict[str, Query] = {}
        self.start()

    def run(self) -> None:
        sql = "SELECT query_id, query, peak_memory_usage FROM system.processes WHERE current_database = {name:String}"
        with Client(replace(self._endpoint, database=SYSTEM)) as client:
            while not self._ended.wait(EVERY_SECONDS):
                for number, query, held in client.rows(sql, {"name": self._endpoint.database}):
                    known = self._peaks.get(number, (query, 0))[1]
                    self._peaks[number] = (query, max(known, held))

    def end(self) -> list[Query]:
        self._ended.set()
        self.join()
        return list(self._peaks.values())


def keeps_log(client: Client) -> bool:
    """Return whether the server keeps a query log. The first flush creates the log's table."""
    try:
        client.run("SYSTEM FLUSH LOGS")
    except ServerError:
        return False
    return bool(client.value("SELECT count() FROM system.tables WHERE database = 'system' AND name = 'query_log'"))


def logged(client: Client, database: str, since: str) -> list[Query]:
    """Return the queries on a database since a server time, from the query log."""
    client.run("SYSTEM FLUSH LOGS")
    sql = (
        "SELECT query, memory_usage FROM system.query_log"
        " WHERE type != 'QueryStart' AND current_database = {name:String}"
        " AND event_time_microseconds >= parseDateTime64BestEffort({since:String}, 6, 'UTC')"
    )
    return [(query, held) for query, held in client.rows(sql, {"name": database, "since": since})]


def fill(endpoint: Endpoint, first: int, rows: int, users: int) -> None:
    """Add rows to each table and merge all parts."""
    with Client(endpoint) as client:
        for statement in load_all(SQL / "explored.sql"):
            client.run(statement.text, {"first": first, "rows": rows, "users": users})
        client.run(load(SQL / "users.sql").text, {"rows": rows, "date": SNAPSHOTS[first > 0]})
        for table in TABLES:
            client.run(f"OPTIMIZE TABLE {identifier(table)} FINAL")


def explore(endpoint: Endpoint) -> dict[str, Any]:
    """Run the command once. Return its seconds and memory, in total and per table."""
    where = ["--config", str(shipped() / "configs"), "--url", str(endpoint)]
    with Client(replace(endpoint, database=SYSTEM)) as client:
        log = keeps_log(client)
        since = client.value("SELECT toString(now64(6), 'UTC')")
        watch = None if log else Watch(endpoint)
        found = run(python("-m", "raypipe", "explore", *where, "--json"), {"RAYPIPE_PASSWORD": endpoint.password()})
        queries = watch.end() if watch else logged(client, endpoint.database, since)
    report = found.document
    tables = {table["table"]: table for table in report["tables"]}
    return {
        "seconds": round(found.seconds, 2),
        "peak_mb": found.peak_mb,
        "server_memory": LOG if log else SAMPLED,
        "server_peak_mb": most(queries),
        "relations": len(report["relations"]),
        "relations_seconds": round(report["seconds"] - sum(table["seconds"] for table in tables.values()), 2),
        "unanswered": unanswered(report),
        "tables": {
            name: {
                "rows": tables[name]["rows"],
                "rows_read": tables[name]["sample"]["rows"],
                "columns": len(tables[name]["columns"]),
                "seconds": tables[name]["seconds"],
                "server_peak_mb": most([query for query in queries if f"`{name}`" in query[0]]),
            }
            for name in TABLES
        },
    }


def most(queries: list[Query]) -> float | None:
    return round(max(held for _, held in queries) / MIB, 1) if queries else None


def unanswered(report: dict[str, Any]) -> list[str]:
    """Return the questions that the report could not answer, since figures for partial work are not comparable."""
    failed = [f"{one['what']}: {one['error']}" for one in report["errors"]]
    for table in report["tables"]:
        failed += [f"{table['table']}: {one['what']}: {one['error']}" for one in table["errors"]]
        failed += [f"{table['table']}.{one['column']}: {one['error']}" for one in table["columns"] if one["error"]]
    return failed


def ratios(whole: dict[str, Any], tenth: dict[str, Any]) -> dict[str, Any]:
    """Return each figure of the whole tables over the same figure of a tenth."""
    measured = ("seconds", "peak_mb", "server_peak_mb", "relations_seconds")
    found: dict[str, Any] = {name: ratio(whole[name], tenth[name]) for name in measured}
    for table in TABLES:
        pair = whole["tables"][table], tenth["tables"][table]
        found[table] = {name: ratio(pair[0][name], pair[1][name]) for name in ("seconds", "server_peak_mb")}
    return found


def ratio(one: float | None, other: float | None) -> float | None:
    return round(one / other, 2) if one is not None and other else None


def benchmark(endpoint: Endpoint, database: str, rows: int) -> dict[str, Any]:
    own, few = replace(endpoint, database=database), rows // 10
    with Client(replace(endpoint, database=SYSTEM)) as client:
        client.run(f"DROP DATABASE IF EXISTS {identifier(database)} SYNC")
        try:
            migrate.migrate_at(own)
            found = {}
            for name, first, more in (("tenth", 0, few), ("whole", few, rows - few)):
                say(f"filling {len(TABLES)} tables to {first + more:,} rows")
                fill(own, first, more, users=few)
                found[name] = explore(own)
                show(found[name])
        finally:
            client.run(f"DROP DATABASE IF EXISTS {identifier(database)} SYNC")
    return {"rows": rows, **found, "ratios": ratios(found["whole"], found["tenth"])}


def show(found: dict[str, Any]) -> None:
    for name, table in found["tables"].items():
        held = table["server_peak_mb"]
        say(
            f"  {name:24} {table['rows']:>12,} rows {table['rows_read']:>10,} read {table['columns']:3} columns"
            f" {table['seconds']:7.2f} s  server {'–' if held is None else held} MiB"
        )
    say(
        f"  {found['relations']} references {found['relations_seconds']} s; the whole command {found['seconds']} s,"
        f" {found['peak_mb']} MiB; the server's largest query {found['server_peak_mb']} MiB ({found['server_memory']})"
    )
    for one in found["unanswered"]:
        say(f"  unanswered: {one}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows per table, in each of the four tables")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS} rows")
    parser.add_argument("--url", default=os.environ.get("RAYPIPE_URL") or "chdb:.raypipe/clickhouse")
    parser.add_argument("--database", default="bench_exploring", help="scratch database, dropped before and after")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    if arguments.rows < 10:
        parser.error("--rows must be at least 10")
    with connected(arguments.url) as endpoint:
        result = benchmark(endpoint, arguments.database, QUICK_ROWS if arguments.quick else arguments.rows)
    say(f"ten times the rows: {json.dumps(result['ratios'])}")
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
