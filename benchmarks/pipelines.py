"""Measure every pipeline on the demo: its model beside its strongest baseline, a linear model, and two bounds.

    python benchmarks/pipelines.py --seeds 1 2 3 --results pipelines.json

Prints the table of docs/pipelines.md. Each result is written to --results as soon as it is known, and results that are
there are not measured again: repeat an interrupted command. Takes half an hour per seed on 2 cores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import observable
from contest.rounds import say
from observed import Observed

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.config.load import load_pipeline
from raypipe.demo import build, reachable
from raypipe.fit import fit
from raypipe.progress import silent
from raypipe.project import shipped

PIPELINES = (*observable.PIPELINES, "recommendation")
LAST_DATE = date(2026, 1, 31)

Results = dict[str, Any]


def measured(endpoint: Endpoint, client: Client, name: str, observed: Observed, bags: int) -> Results:
    """Fit a pipeline as it ships and return what is shown of it."""
    loaded = load_pipeline(name, shipped() / "configs", environ={})
    fitted = fit.fit(endpoint, loaded, None, silent).fitted
    reached = reachable.measure(client, loaded)[-1]
    decision, linear = fitted.decision, fitted.baselines.get("linear", {}).get(reached.metric)
    result: Results = {
        "metric": reached.metric,
        "rows": reached.rows,
        "model": dict(reached.model),
        "baseline": reached.baseline,
        "baseline_value": reached.baseline_value,
        "gain": {"value": decision.difference, "low": decision.low, "high": decision.high},
        "linear": linear and linear["value"],
        "best": reached.best,
        "seconds": round(fitted.seconds, 1),
    }
    if name in observable.PIPELINES:
        result["observable"] = observable.measured(client, name, observed, bags)["value"]
    return result


def of_seed(folder: Path, seed: int, users: int, path: Path, bags: int) -> None:
    """Measure the pipelines whose results are not there yet."""
    missing = [name for name in PIPELINES if f"{name} {seed}" not in known(path)]
    if not missing:
        return
    with connected(f"chdb:{folder}/{seed}", None, None, check=False) as endpoint, Client(endpoint) as client:
        migrate(client)
        # The newest snapshot is the last thing that a demo writes.
        if not client.value(f"SELECT count() FROM customer_user_features WHERE feature_date = '{LAST_DATE}'"):
            build(client, users=users, seed=seed, last_date=LAST_DATE, replace=True)
        observed = Observed.read(client)
        for name in missing:
            result = measured(endpoint, client, name, observed, bags)
            path.write_text(json.dumps({**known(path), f"{name} {seed}": result}, indent=2) + "\n")
            say(f"{name}, seed {seed}: {result}")


def known(path: Path) -> Results:
    return dict(json.loads(path.read_text())) if path.exists() else {}


def row(name: str, result: Mapping[str, Any]) -> str:
    """Return a line of the table; the way is from the strongest baseline to the best observable."""
    model, gain, bound = result["model"], result["gain"], result.get("observable")
    way = bound and (model["value"] - result["baseline_value"]) / (bound - result["baseline_value"])
    cells = (
        *name.split(),
        result["metric"],
        f"{model['value']:.4f} [{model['low']:.4f}, {model['high']:.4f}]",
        f"{result['baseline_value']:.4f} ({result['baseline']})",
        "–" if gain["low"] is None else f"{gain['value']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]",
        *("–" if result.get(value) is None else f"{result[value]:.4f}" for value in ("linear", "observable", "best")),
        f"{way:.0%}" if way else "–",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(".raypipe/pipelines"), help="a database per seed goes here")
    parser.add_argument("--results", type=Path, default=Path("pipelines.json"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--bags", type=int, default=3, help="models of the best observable")
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        of_seed(arguments.folder, seed, arguments.users, arguments.results, arguments.bags)
    results = known(arguments.results)
    titles = (
        "pipeline",
        "seed",
        "metric",
        "model",
        "strongest baseline",
        "gained",
        "linear",
        "observable",
        "truth",
        "way",
    )
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for name in sorted(results, key=lambda name: (PIPELINES.index(name.split()[0]), name)):
        print(row(name, results[name]))


if __name__ == "__main__":
    main()
