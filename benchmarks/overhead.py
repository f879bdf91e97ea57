"""Measure the cost of exactly-once: score with and without ledger, insert tokens, gate and verification.

    python benchmarks/overhead.py --users 5000000 --url http://default@localhost:8123/default

Needs a ClickHouse on this machine. The benchmark creates the database bench_overhead and drops it at the end. Both
variants read the same slices on the same threads, stage the same rows, and fill and swap the same twin. They alternate
in one process after an uncounted run.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from contest.arena import Arena, arena
from contest.rounds import say

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.score import gate, ledger, publish
from raypipe.score import run as scoring
from raypipe.score.gate import GateCounts
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.threads import Threads

ARTIFACTS = "artifacts"


def _bare(insert: Callable[..., None]) -> Callable[..., None]:
    def bare(self: Client, *arguments: Any, **options: Any) -> None:
        insert(self, *arguments, **{**options, "token": None})

    return bare


def unguarded() -> ExitStack:
    """Return a context that switches off every check, the tokens and the ledger."""
    stack = ExitStack()

    def passed(client: Client, manifest: Manifest, written: Sequence[Receipt]) -> GateCounts:
        return GateCounts(sum(receipt.rows_scored for receipt in written), 0)

    for module, name, instead in (
        (gate, "check", passed),
        (publish, "verify", lambda *_: None),
        (ledger, "reconcile", lambda *_: []),
        (ledger, "record", lambda *_: None),
        (Client, "insert", _bare(Client.insert)),
        (Client, "insert_through", _bare(Client.insert_through)),
    ):
        stack.enter_context(mock.patch.object(module, name, instead))
    return stack


def once(own: Arena) -> float:
    """Run once and return the seconds from the lock to the commit."""
    own.clear()
    with Client(own.endpoint) as client:
        manifest, _ = own.manifest(client)
        scorer = partial(Threads(None, 1, None).score, client.endpoint)
        started = time.perf_counter()
        scoring.execute(client, manifest, scorer, take_over=False, progress=lambda *_: None, monitor=lambda *_: None)
        return time.perf_counter() - started


def measure(own: Arena, repeats: int) -> dict[str, list[float]]:
    """Run both variants in turn and return their seconds."""
    found: dict[str, list[float]] = {"guarded": [], "bare": []}
    once(own)
    for number in range(repeats):
        variants: list[tuple[str, Callable[[], Any]]] = [("guarded", ExitStack), ("bare", unguarded)]
        for name, context in variants[:: -1 if number % 2 else 1]:
            with context():
                found[name].append(once(own))
            say(f"  {name}: {found[name][-1]:.2f} s")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000, help="number of users to score")
    parser.add_argument("--url", default=os.environ.get("RAYPIPE_URL") or "chdb:.raypipe/clickhouse")
    parser.add_argument("--database", default="bench_overhead", help="scratch database, dropped before and after")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each variant")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raypipe-bench-") as folder, connected(arguments.url) as endpoint:
        default = replace(endpoint, database="default")
        with arena(default, arguments.database, arguments.users, Path(folder) / ARTIFACTS) as own:
            os.environ["RAYPIPE_PASSWORD"] = own.endpoint.password()
            found = measure(own, arguments.repeats)
    result = {
        "users": arguments.users,
        "seconds": {name: round(median(times), 3) for name, times in found.items()},
        "overhead": round(median(found["guarded"]) / median(found["bare"]) - 1, 4),
    }
    say(f"exactly once costs {100 * result['overhead']:.1f} % of the wall time")
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
