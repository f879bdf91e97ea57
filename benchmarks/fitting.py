"""Compare `raypipe fit` with XGBoost alone, on the same rows with the same parameters.

    python benchmarks/fitting.py --rows 2000000 --url http://default@localhost:8123/default
    python benchmarks/fitting.py --rows 100000 --trees 50 --repeats 1

Needs a ClickHouse on this machine. The benchmark creates the database bench_fitting and drops it at the end.
benchmarks/README.md defines every number.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from contest.arena import Arena, arena
from contest.processes import python, run
from contest.rounds import say

from raypipe.clickhouse.connect import connected

# Snapshots that the config's split learns from, and the share of their users that it leaves to learn from.
TRAINING_SNAPSHOTS, LEARNED = 3, 0.404


def rounds(own: Arena, rows: int, trees: int, repeats: int) -> list[dict[str, float]]:
    """Fit alternately with raypipe and with XGBoost alone."""
    # The limit is a sample's; without it all rows are fitted.
    limit = f"split.max_train_rows={2 * rows}"
    results = []
    for number in range(repeats):
        ours = own.raypipe("fit", settings=[limit, f"model.rounds={trees}", "model.early_stopping_rounds=0"])
        plain = run(python("-m", "contest.plain_fit", str(own.endpoint), str(trees), limit), own.environment)
        results.append(
            {**plain.document, "plain_mb": plain.peak_mb, "raypipe": ours.seconds, "raypipe_mb": ours.peak_mb}
        )
        say(f"  round {number + 1}: {json.dumps({name: round(value, 1) for name, value in results[-1].items()})}")
    return results


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000, help="training rows, about")
    parser.add_argument("--trees", type=int, default=600, help="trees of the model")
    parser.add_argument("--repeats", type=int, default=3, help="number of rounds")
    parser.add_argument("--url", default=os.environ.get("RAYPIPE_URL") or "chdb:.raypipe/clickhouse")
    parser.add_argument("--database", default="bench_fitting", help="scratch database, dropped before and after")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="raypipe-bench-") as folder, connected(arguments.url) as endpoint:
        default = replace(endpoint, database="default")
        users = int(arguments.rows / TRAINING_SNAPSHOTS / LEARNED)
        say(f"filling {arguments.database} with {users:,} users per training snapshot")
        with arena(default, arguments.database, 1, Path(folder), trained=users, model=None) as own:
            results = rounds(own, arguments.rows, arguments.trees, arguments.repeats)
    medians: dict[str, Any] = {name: round(median(one[name] for one in results), 2) for name in results[0]}
    medians["ratio"] = round(medians["raypipe"] / (medians["read"] + medians["train"]), 3)
    say(json.dumps(medians))
    if arguments.json:
        print(json.dumps({"trees": arguments.trees, "repeats": arguments.repeats, **medians}))


if __name__ == "__main__":
    main()
