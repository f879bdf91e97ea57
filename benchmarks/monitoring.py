"""Measure the cost of monitoring: score with and without histograms, drift, expectations and slices.

    python benchmarks/monitoring.py --users 5000000 --url http://default@localhost:8123/default

Needs a ClickHouse on this machine. The benchmark creates the database bench_monitoring and drops it at the end. Two
smaller nights come first, so that a night is compared with the last night, the same weekday and the fit. The variants
alternate in one process after an uncounted run of each; both plan, score and publish the same rows.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from contest.arena import PIPELINE, SCORED, SQL, TRAINED_USERS, Arena, arena
from contest.machine import server_process
from contest.processes import busy_of
from contest.rounds import say

from raypipe.artifact.package import load_package
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.statements import load
from raypipe.registry import models
from raypipe.score import expectations, prepare, run_drift, worker
from raypipe.score import run as scoring
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.threads import Threads

ARTIFACTS = "artifacts"
EARLIER = (SCORED - timedelta(days=7), SCORED - timedelta(days=1))
Monitor = Callable[[Client, Manifest, Sequence[Receipt]], Any]


class Uncounted:
    """A tally that counts nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    def add(self, *_: Any) -> None:
        pass

    def to_json(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class Cost:
    """The seconds of a run from its plan to its commit, and the core-seconds of this process and of the server."""

    seconds: float
    busy: float
    server_busy: float


def unmonitored() -> ExitStack:
    """Return a context that counts, checks and compares nothing."""
    stack = ExitStack()
    for module, name, instead in (
        (worker, "Tally", Uncounted),
        (prepare, "watched", lambda *_: ()),
        (expectations, "counts", lambda *_: {}),
        (expectations, "checks", lambda *_: []),
        (run_drift, "measure", lambda *_: None),
    ):
        stack.enter_context(mock.patch.object(module, name, instead))
    return stack


def once(own: Arena, day: date, server: int) -> Cost:
    """Plan, score and publish one night."""
    with Client(own.endpoint) as client:
        loaded = own.loaded()
        model = models.find(client, PIPELINE, "latest")
        package = load_package(model.artifact_uri, model.artifact_sha256, client)
        started, busy, server_busy = time.perf_counter(), time.process_time(), busy_of(server)
        manifest = prepare.manifest(client, loaded, model, package, prepare.population(client, loaded, day), write=True)
        scoring.execute(
            client,
            manifest,
            partial(Threads(None, 1, None).score, client.endpoint),
            take_over=False,
            progress=lambda *_: None,
            monitor=partial(run_drift.measure, client, loaded.config.monitor),
        )
        return Cost(time.perf_counter() - started, time.process_time() - busy, busy_of(server) - server_busy)


def measure(own: Arena, repeats: int, server: int) -> dict[str, list[Cost]]:
    """Run both variants in turn and return their costs."""
    costs: dict[str, list[Cost]] = {"monitored": [], "bare": []}
    variants: list[tuple[str, Callable[[], Any]]] = [("monitored", ExitStack), ("bare", unmonitored)]
    for number in range(repeats + 1):
        for name, context in variants[:: -1 if number % 2 else 1]:
            with context():
                cost = once(own, SCORED, server)
            say(f"  {name}: {cost.seconds:.2f} s, {cost.busy:.2f} + {cost.server_busy:.2f} core-seconds")
            if number:
                costs[name].append(cost)
    return costs


def document(own: Arena, users: int, costs: dict[str, list[Cost]]) -> dict[str, Any]:
    """Return the medians, and the share of a run's time that monitoring takes."""
    with Client(own.endpoint) as client:
        series = client.value(
            "SELECT max(series) FROM (SELECT count() AS series FROM raypipe_histograms FINAL GROUP BY run_id)"
        )
    middle = {
        name: {key: round(median(getattr(cost, key) for cost in found), 3) for key in vars(found[0])}
        for name, found in costs.items()
    }
    monitored, bare = middle["monitored"], middle["bare"]
    core_seconds = [one["busy"] + one["server_busy"] for one in (monitored, bare)]
    return {
        "users": users,
        "series": series,
        **middle,
        "share_of_seconds": round(monitored["seconds"] / bare["seconds"] - 1, 4),
        "share_of_core_seconds": round(core_seconds[0] / core_seconds[1] - 1, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000, help="number of users to score")
    parser.add_argument("--url", default=os.environ.get("RAYPIPE_URL") or "chdb:.raypipe/clickhouse")
    parser.add_argument("--database", default="bench_monitoring", help="scratch database, dropped before and after")
    parser.add_argument("--repeats", type=int, default=3, help="counted runs of each variant")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raypipe-bench-") as folder, connected(arguments.url) as endpoint:
        default, server = replace(endpoint, database="default"), server_process(endpoint.url)
        with arena(default, arguments.database, arguments.users, Path(folder) / ARTIFACTS) as own:
            os.environ["RAYPIPE_PASSWORD"] = own.endpoint.password()
            with Client(own.endpoint) as client:
                for day in EARLIER:
                    client.run(load(SQL / "users.sql").text, {"rows": TRAINED_USERS, "date": day})
            for day in EARLIER:
                once(own, day, server)
            result = document(own, arguments.users, measure(own, arguments.repeats, server))
    say(
        f"monitoring of {result['series']} series costs {100 * result['share_of_seconds']:.1f} % of the wall time,"
        f" {100 * result['share_of_core_seconds']:.1f} % of the core-seconds"
    )
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
