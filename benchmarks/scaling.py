"""Measure time and memory of scoring and fitting as users, features, trees, rows and workers grow.

    python benchmarks/scaling.py --url http://default@localhost:8123/default --json > scaling.json
    python benchmarks/scaling.py --quick

Needs a ClickHouse on this machine. The benchmark creates the database bench_scaling for every size and drops it again.
It scores the shipped churn pipeline into both its targets and with explanations, with boosters of several sizes. Each
run is a fresh process. docs/scaling.md explains the formula that is fitted to the runs and its residuals.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from contest import formula
from contest.arena import PIPELINE, SCORED, SNAPSHOTS, Arena, arena
from contest.machine import Usage, server_process
from contest.rounds import say

from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.load import load_pipeline
from raypipe.project import shipped

MILLION = 1_000_000
TREES, OTHER_TREES = 100, (25, 50, 200, 400)
FEATURES = (10, 20, 30)

Run = dict[str, Any]


def scored(own: Arena, usage: Usage, actors: int, about: Run) -> Run:
    """Measure one `raypipe score` of the whole population, then remove its rows."""
    own.clear()
    settings = [f"score.actors.max={actors}", f"ray.cpus={max(actors, usage.cores)}"]
    with usage.measured() as used:
        found = own.raypipe("score", "--date", str(SCORED), "--model", "latest", settings=settings)
    document = found.document
    spent = document["time"]
    # read, predict and insert are sums over the actors. The other stages follow one another.
    walls = sum(spent[name] for name in ("start", "score", "gate", "explain", "publish"))
    run = {
        **about,
        "actors": actors,
        "seconds": round(found.seconds, 3),
        **spent,
        "around": round(found.seconds - walls, 3),
        "driver_mb": document["peak_mb"]["driver"],
        "actor_mb": document["peak_mb"]["actor"],
        "all_mb": found.peak_mb_sum,
        **used,
    }
    say(f"  {json.dumps(run)}")
    own.clear()
    return run


def fitted(own: Arena, usage: Usage, settings: Sequence[str], about: Run) -> Run:
    """Measure one `raypipe fit` from its start to its exit."""
    with usage.measured() as used:
        found = own.raypipe("fit", settings=list(settings))
    run = {
        **about,
        "rows": found.document["rows"]["train"],
        "seconds": round(found.seconds, 3),
        "peak_mb": found.peak_mb,
        "all_mb": found.peak_mb_sum,
        **used,
    }
    say(f"  fit {json.dumps(run)}")
    return run


def model(trees: int, features: int | None = None) -> list[str]:
    """Return settings for a booster of `trees` trees over the first `features` features."""
    names = [feature.name for feature in load_pipeline(PIPELINE, shipped() / "configs").config.features]
    settings = [f"model.rounds={trees}", "model.early_stopping_rounds=0"]
    if features is None:
        return settings
    # The sweep's space may name only existing features.
    space = f"sweep={{space: {{features.drop: {{subset: [{names[0]}]}}}}}}"
    return [*settings, f"features=[{', '.join(names[:features])}]", space]


def scorings(
    default: Endpoint, database: str, folder: Path, usage: Usage, sizes: Sequence[int], actors: Sequence[int]
) -> Iterator[Run]:
    """Score every size with every number of actors. At the middle size, vary trees and features, too."""
    for users in sizes:
        say(f"{users} users")
        with arena(default, database, users, folder / str(users), model=model(TREES)) as own:
            # The first scoring warms the server's caches and does not count.
            scored(own, usage, actors[0], {"users": users, "warming": True})
            for count in actors:
                yield scored(own, usage, count, {"users": users, "trees": TREES, "features": None})
            if users == sizes[len(sizes) // 2]:
                count = usage.cores
                for trees in OTHER_TREES:
                    own.raypipe("fit", settings=model(trees))
                    yield scored(own, usage, count, {"users": users, "trees": trees, "features": None})
                for features in FEATURES:
                    own.raypipe("fit", settings=model(TREES, features))
                    yield scored(own, usage, count, {"users": users, "trees": TREES, "features": features})


def fits(default: Endpoint, database: str, folder: Path, usage: Usage, users: Sequence[int]) -> Iterator[Run]:
    """Fit every size of training snapshots. At the last size, vary trees, features and workers, too."""
    for count in users:
        say(f"{len(SNAPSHOTS)} snapshots of {count} users to learn from")
        with arena(default, database, 1, folder / f"fit-{count}", trained=count, model=None) as own:
            yield fitted(own, usage, model(TREES), {"trees": TREES, "features": None, "workers": 0})
            if count == users[-1]:
                for trees in (50, 200, 400):
                    yield fitted(own, usage, model(trees), {"trees": trees, "features": None, "workers": 0})
                for features in FEATURES:
                    about = {"trees": TREES, "features": features, "workers": 0}
                    yield fitted(own, usage, model(TREES, features), about)
                for workers in (1, 2):
                    settings = [*model(TREES), f"model.workers={workers}", f"ray.cpus={usage.cores + workers}"]
                    yield fitted(own, usage, settings, {"trees": TREES, "features": None, "workers": workers})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[0.5, 1, 2, 4, 8], help="millions of users")
    parser.add_argument("--actors", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument(
        "--trained", type=int, nargs="+", default=[25_000, 50_000, 100_000, 200_000], help="users per training snapshot"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, as a quick check")
    parser.add_argument("--url", default=os.environ.get("RAYPIPE_URL") or "chdb:.raypipe/clickhouse")
    parser.add_argument("--database", default="bench_scaling", help="scratch database, dropped before and after")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.millions, arguments.actors, arguments.trained = [0.1, 0.2, 0.4], [1, 2], [10_000, 20_000, 40_000]
    return arguments


def main() -> None:
    arguments = parse()
    sizes = [int(size * MILLION) for size in arguments.millions]
    with tempfile.TemporaryDirectory(prefix="raypipe-bench-") as folder, connected(arguments.url) as endpoint:
        usage = Usage(server_process(endpoint.url))
        where = (replace(endpoint, database="default"), arguments.database, Path(folder), usage)
        result: dict[str, Any] = {
            "cores": usage.cores,
            "score": list(scorings(*where, sizes, arguments.actors)),
            "fit": list(fits(*where, arguments.trained)),
        }
    result["formula"] = formula.of(result["score"], TREES)
    say(formula.table(result))
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
