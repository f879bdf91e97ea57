"""Measure scoring on one, two and three Ray nodes of this machine, with a model that waits for each row.

    python benchmarks/nodes.py --url http://default@localhost:8123/default

A machine of few cores shows no gain of further nodes, as they share its cores. So the client's side is slowed down
without using a CPU: each prediction waits some microseconds per row. Each node is a raylet with one CPU. The benchmark
creates the database bench_nodes and drops it at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contest.arena import MODELS, SCORED, Arena, arena
from contest.rounds import say
from contest.slow import VARIABLE

from raypipe.clickhouse.connect import connected

SLOW = [*MODELS["shipped"], "model.class=contest.slow:Slow"]
TRAINED_USERS = 2000


@contextmanager
def cluster(nodes: int, environment: dict[str, str]) -> Iterator[str]:
    """Start a Ray of some nodes with one CPU each, and yield its address."""
    from ray.cluster_utils import Cluster

    os.environ.update(environment)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            made.add_node(num_cpus=1)
        yield made.address
    finally:
        made.shutdown()


def scored(own: Arena, nodes: int, wait: float, slice_rows: int) -> dict[str, Any]:
    """Measure one `raypipe score` on a cluster of this many nodes."""
    own.clear()
    with cluster(nodes, {**own.environment, VARIABLE: str(wait)}) as address:
        settings = [f"ray.address={address}", f"score.slice_rows={slice_rows}", "score.explain.rows=0"]
        found = own.raypipe("score", "--date", str(SCORED), "--model", "latest", settings=settings)
    run = {"nodes": nodes, "seconds": round(found.seconds, 1), "score": round(found.document["time"]["score"], 1)}
    say(f"  {json.dumps(run)}")
    return run


def main() -> None:
    """Print one line per number of nodes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=400_000)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--wait", type=float, default=50, help="microseconds per row")
    parser.add_argument("--url", default=os.environ.get("RAYPIPE_URL") or "chdb:.raypipe/clickhouse")
    options = parser.parse_args()
    with connected(options.url) as endpoint, tempfile.TemporaryDirectory() as folder:
        model = dict(trained=TRAINED_USERS, model=SLOW)
        with arena(endpoint, "bench_nodes", options.users, Path(folder), **model) as own:
            runs = [scored(own, nodes, options.wait, options.users // 24) for nodes in options.nodes]
    print("| nodes | seconds of `raypipe score` | of these, scoring | scoring, times as fast |\n|---|---|---|---|")
    for run in runs:
        print(f"| {run['nodes']} | {run['seconds']} | {run['score']} | {runs[0]['score'] / run['score']:.2f} |")


if __name__ == "__main__":
    main()
