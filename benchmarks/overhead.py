"""Measure the cost of exactly-once: score with and without ledger, insert tokens, gate and verification.

    python benchmarks/overhead.py --users 5000000 --url http://default@localhost:8123/default

Needs a ClickHouse on this machine. The benchmark creates the database bench_overhead and drops it at the end. Both
variants read the same slices with the same Ray actors, stage the same rows, and fill and swap the same twin. They
alternate in one process after an uncounted run. Neither includes the start of Ray.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from contest.arena import Arena, arena
from contest.rounds import say

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.cluster import runtime
from raypipe.data.slices import Slice
from raypipe.score import gate, ledger, pool, publish
from raypipe.score import run as scoring
from raypipe.score.gate import GateCounts
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.pool import PoolSize

ARTIFACTS = "artifacts"


class BareActor(pool._Actor):
    """Score like the pool's actor, but insert without tokens and write no ledger."""

    def score(self, piece: Slice) -> str:
        with ExitStack() as stack:
            for name in ("insert", "insert_through"):
                stack.enter_context(mock.patch.object(Client, name, _bare(getattr(Client, name))))
            stack.enter_context(mock.patch.object(ledger, "record"))
            return super().score(piece)


def _bare(insert: Callable[..., None]) -> Callable[..., None]:
    def bare(self: Client, *arguments: Any, **options: Any) -> None:
        insert(self, *arguments, **{**options, "token": None})

    return bare


def unguarded() -> ExitStack:
    """Return a context that switches off every check."""
    stack = ExitStack()

    def passed(client: Client, manifest: Manifest, written: Sequence[Receipt]) -> GateCounts:
        return GateCounts(sum(receipt.rows_scored for receipt in written), 0)

    for module, name, instead in (
        (gate, "check", passed),
        (publish, "verify", lambda *_: None),
        (ledger, "reconcile", lambda *_: []),
        (pool, "_Actor", BareActor),
    ):
        stack.enter_context(mock.patch.object(module, name, instead))
    return stack


def once(own: Arena) -> float:
    """Run once and return the seconds from the lock to the commit."""
    own.clear()
    with Client(own.endpoint) as client:
        manifest, _ = own.manifest(client)

        def scorer(manifest: Manifest, slices: Sequence[Slice]) -> Iterator[Receipt]:
            yield from pool.score_slices(client.endpoint, manifest, slices, PoolSize(None, 1, 0))

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
            with runtime.session(own.endpoint) as workers:
                workers.ready()
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
