"""Reading a snapshot against computing it from the sessions: the same users, the same columns, one server.

    python benchmarks/loaders.py --users 10000 --url http://localhost:8123/demo --json

The database must hold the publisher's tables with a snapshot, such as `raypipe demo` writes. Contenders take
turns, after one round that does not count; seconds are medians. `ratio` is how many times longer the computation
takes, with names and content on both sides; `ratio_bare` is the same without them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.loaders.loaders import load_session_features, load_user_features

KEYS = ("company_id", "brand_id", "user_id")


def contenders(client: Client, users: int, day: Any) -> dict[str, Callable[[], pa.Table]]:
    return {
        "user_features": lambda: load_user_features(client, day, limit=users),
        "session_features": lambda: load_session_features(client, day, limit=users),
        "user_features_bare": lambda: load_user_features(client, day, limit=users, names=False, content=False),
        "session_features_bare": lambda: load_session_features(client, day, limit=users, names=False, content=False),
    }


def measure(runs: dict[str, Callable[[], pa.Table]], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def benchmark(client: Client, users: int, rounds: int) -> dict[str, Any]:
    day = load_user_features(client, limit=1, names=False, content=False)["feature_date"][0].as_py()
    runs = contenders(client, users, day)
    snapshot, computed = runs["user_features"](), runs["session_features"]()
    if not snapshot.select(KEYS).equals(computed.select(KEYS)):
        raise SystemExit(
            "the snapshot and the sessions do not yield the same users: is this a database of `raypipe demo`?"
        )
    medians = {name: statistics.median(times) for name, times in measure(runs, rounds).items()}
    return {
        "users": snapshot.num_rows,
        "feature_date": day.isoformat(),
        "rounds": rounds,
        "sessions": client.value("SELECT count() FROM customer_sessions"),
        "content_events": client.value("SELECT count() FROM editorial_content_events"),
        "contenders": {name: {"seconds": round(value, 3)} for name, value in medians.items()},
        "ratio": round(medians["session_features"] / medians["user_features"], 1),
        "ratio_bare": round(medians["session_features_bare"] / medians["user_features_bare"], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=10_000, help="how many users to load, the most frequent first")
    parser.add_argument("--url", default="chdb:.raypipe/clickhouse", help="the ClickHouse to read")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    with connected(arguments.url) as endpoint, Client(endpoint) as client:
        result = benchmark(client, arguments.users, arguments.rounds)
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"{result['users']} users of {result['feature_date']}, {result['sessions']} sessions")
    for name, found in result["contenders"].items():
        print(f"  {name:22} {found['seconds']:8.3f} s")
    print(f"  reading the snapshot is {result['ratio']} × faster ({result['ratio_bare']} × without names and content)")


if __name__ == "__main__":
    main()
