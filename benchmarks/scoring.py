"""Compare raypipe's scoring with the alternatives, and with the limit set by its parts.

    python benchmarks/scoring.py --users 5000000 --url http://default@localhost:8123/default
    python benchmarks/scoring.py --quick --json
    python benchmarks/scoring.py --model deep --before ../raypipe-1.0

Needs a ClickHouse on this machine. The benchmark creates the database bench_scoring and drops it at the end. All
contenders read the same rows, use the same booster and features, and write the same predictions. Each run's result is
verified. benchmarks/README.md defines every number.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from contest import report
from contest.arena import MODELS, arena, job
from contest.machine import Usage, server_process
from contest.rounds import BEFORE, CONNECTOR, NAMES, Contest, rounds, say

from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.statements import identifier

QUICK_USERS = 200_000
CHUNK_ROWS = 250_000


def benchmark(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with connected(arguments.url) as endpoint:
        say(f"filling {arguments.database} on {endpoint.url} with {arguments.users} users, and fitting")
        default = replace(endpoint, database="default")
        usage = Usage(server_process(endpoint.url))
        model = MODELS[arguments.model]
        with arena(default, arguments.database, arguments.users, folder / "artifacts", model=model) as own:
            contest = Contest(own, job(own, CHUNK_ROWS, cores, {}), folder, usage, arguments.before)
            say("one uncounted run of raypipe as the reference")
            contest.reference()
            for name in CONNECTOR:
                if name in arguments.contenders:
                    contest.tune(name)
            results = rounds(contest, arguments.contenders, arguments.repeats, say)
            return report.document(contest, results, arguments.repeats)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000, help="number of users to score")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_USERS} users, one round")
    parser.add_argument(
        "--url", default=os.environ.get("RAYPIPE_URL") or "chdb:.raypipe/clickhouse", help="URL of ClickHouse"
    )
    parser.add_argument("--database", default="bench_scoring", help="scratch database, dropped before and after")
    parser.add_argument("--repeats", type=int, default=3, help="number of counted rounds")
    parser.add_argument("--contenders", default=",".join(NAMES), help="a comma-separated subset")
    parser.add_argument("--model", choices=MODELS, default="shipped", help="100 trees of depth 4, or 300 of depth 8")
    parser.add_argument(
        "--before", type=Path, metavar="CHECKOUT", help=f"add the contender {BEFORE}: the raypipe of another checkout"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    arguments.contenders = [name for name in arguments.contenders.split(",") if name]
    unknown = [name for name in arguments.contenders if name not in NAMES]
    if unknown or not arguments.contenders:
        parser.error(f"unknown contenders: {', '.join(unknown) or 'none given'}; choose from {', '.join(NAMES)}")
    if arguments.users < 1 or arguments.repeats < 1:
        parser.error("--users and --repeats must be at least 1")
    identifier(arguments.database)
    if arguments.before:
        arguments.before = arguments.before.resolve()
        arguments.contenders.append(BEFORE)
    if arguments.quick:
        arguments.users, arguments.repeats = QUICK_USERS, 1
    return arguments


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="raypipe-bench-") as folder:
        result = benchmark(arguments, Path(folder))
    say(report.table(result))
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
