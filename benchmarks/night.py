"""Measure whole nights: the features and all pipelines that ship, on a synthetic publisher.

    python benchmarks/night.py --users 1000000 --url http://default@localhost:8123/default
    python benchmarks/night.py --quick --json
    python benchmarks/night.py --before ../raypipe-1.0

Needs a ClickHouse on this machine. The benchmark creates the database bench_night, fills it as `raypipe demo` does and
drops it at the end. The first night fits every model. The second night is the next day: it scores with the champions,
and refits only the models that are fitted every night. With --before, the nights of another checkout come first, on a
publisher of its own. benchmarks/README.md defines every number.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from contest.arena import Arena
from contest.machine import server_process
from contest.rounds import say
from contest.steps import measured

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.statements import identifier

QUICK_USERS = 20_000
COLUMNS = ("seconds", "busy", "server_busy", "peak_mb", "rows_published")

Night = list[dict[str, Any]]


@contextmanager
def filled(own: Arena, users: int, last: date) -> Iterator[None]:
    """Create the database of an arena with a publisher, and drop it at the end."""
    name = identifier(own.endpoint.database)
    with Client(replace(own.endpoint, database="default")) as outside:
        outside.run(f"DROP DATABASE IF EXISTS {name} SYNC")
        outside.run(f"CREATE DATABASE {name}")
        try:
            subprocess.run(
                command(own, "fill", last, str(users)),
                env={**os.environ, **own.environment},
                cwd=own.checkout,
                stderr=subprocess.DEVNULL,
                check=True,
            )
            yield
        finally:
            outside.run(f"DROP DATABASE IF EXISTS {name} SYNC")


def command(own: Arena, name: str, day: date, last: str) -> list[str]:
    """Return a command of `contest.night_steps` by the raypipe of the arena."""
    interpreter = str(own.checkout / ".venv/bin/python") if own.checkout else sys.executable
    return [interpreter, "-m", "contest.night_steps", name, str(own.endpoint), day.isoformat(), last]


def night(own: Arena, day: date, server: int) -> Night:
    """Run the night of one day, and return its measured steps.

    Raises:
        SystemExit: a step failed, or published wrong rows.
    """
    steps = []
    for step in measured(command(own, "run", day, str(own.artifacts)), own.environment, server, own.checkout):
        say(f"  {line(step)}")
        if step["status"] != "done":
            raise SystemExit(f"{step['pipeline']} {step['status']}: {step['reason']}")
        steps.append({name: step[name] for name in ("pipeline", *COLUMNS, "largest_process", "verify_seconds")})
    return steps


def nights(own: Arena, users: int, last: date, server: int) -> dict[str, Night]:
    """Run two nights on a new publisher, and return their steps and sums."""
    say(f"filling {own.endpoint.database} with {users:,} users")
    results: dict[str, Night] = {}
    with filled(own, users, last):
        for name, day in (("first", last - timedelta(days=1)), ("second", last)):
            say(f"the {name} night\n  {'':<16}" + "".join(f"{column:>16}" for column in COLUMNS))
            results[name] = night(own, day, server)
            results[name].append(total(results[name]))
            say(f"  {line(results[name][-1])}")
    return results


def total(steps: Night) -> dict[str, Any]:
    """Return the sums of a night, and its highest peak."""
    sums = {name: round(sum(step[name] for step in steps), 2) for name in COLUMNS if name != "peak_mb"}
    largest = max(steps, key=lambda step: float(step["peak_mb"]))
    return {"pipeline": "night", **sums, "peak_mb": largest["peak_mb"], "largest_process": largest["largest_process"]}


def line(step: dict[str, Any]) -> str:
    """Return a step as a line of a table."""
    return f"{step['pipeline']:<16}" + "".join(f"{step[name]:>16,}" for name in COLUMNS)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000, help="readers of the publisher")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_USERS} users")
    parser.add_argument(
        "--url", default=os.environ.get("RAYPIPE_URL") or "chdb:.raypipe/clickhouse", help="URL of ClickHouse"
    )
    parser.add_argument("--database", default="bench_night", help="scratch database, dropped before and after")
    parser.add_argument(
        "--before", type=Path, metavar="CHECKOUT", help="run the nights of the raypipe of another checkout first"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.users = QUICK_USERS
    arguments.before = arguments.before and arguments.before.resolve()
    return arguments


def main() -> None:
    arguments = parse()
    last = datetime.now(UTC).date() - timedelta(days=1)
    results = {}
    with connected(arguments.url) as endpoint:
        for name, checkout in {"before": arguments.before, "now": None}.items():
            if checkout or name == "now":
                with tempfile.TemporaryDirectory(prefix="raypipe-bench-") as folder:
                    own = Arena(replace(endpoint, database=arguments.database), Path(folder), checkout)
                    results[name] = nights(own, arguments.users, last, server_process(endpoint.url))
    if arguments.json:
        json.dump({"users": arguments.users, "cores": os.cpu_count(), "nights": results}, sys.stdout)


if __name__ == "__main__":
    main()
