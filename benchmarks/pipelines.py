"""Measure every pipeline on the demo: its model beside its strongest baseline, a linear model, and two bounds.

    python benchmarks/pipelines.py --seeds 1 --pipelines churn           # a piece of a few minutes
    python benchmarks/pipelines.py --seeds 1 2 3 --page                  # the rest, and the table of docs/pipelines.md

Each result is written to --results as soon as it is known, and results that are there are not measured again: the table
may be measured in pieces, and an interrupted command repeated. --save writes the best observable of the first seed to
sql/demo/best_observable.json, which `raypipe reachable` shows. Takes ten minutes per seed on 2 cores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import models
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
from raypipe.registry import aliases

PIPELINES = (*observable.PIPELINES, "recommendation")
LAST_DATE = date(2026, 1, 31)
PAGE = models.ROOT / "docs" / "pipelines.md"
TITLES = (
    *("pipeline", "seed", "metric", "model", "strongest baseline", "gained"),
    *("linear", "best observable", "truth", "way"),
)

Results = dict[str, Any]


def measured(endpoint: Endpoint, client: Client, name: str, observed: Observed, bags: int) -> Results:
    """Fit a pipeline as it ships and return what is shown of it."""
    loaded = load_pipeline(name, shipped() / "configs", environ={})
    # An interrupted command may have left a champion, and the gain is that over a baseline.
    client.run(f"TRUNCATE TABLE {aliases.TABLE}")
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
        result["observable"] = observable.measured(client, name, observed, bags)
    return result


def of_seed(arguments: argparse.Namespace, seed: int) -> None:
    """Measure the pipelines whose results are not there yet."""
    path = arguments.results
    missing = [name for name in arguments.pipelines if f"{name} {seed}" not in known(path)]
    if not missing:
        return
    url = f"chdb:{arguments.folder}/{seed}"
    with connected(url, None, None, check=False) as endpoint, Client(endpoint) as client:
        migrate(client)
        # The newest snapshot is the last thing that a demo writes.
        if not client.value(f"SELECT count() FROM customer_user_features WHERE feature_date = '{LAST_DATE}'"):
            build(client, users=arguments.users, seed=seed, last_date=LAST_DATE, replace=True)
        observed = Observed.read(client)
        for name in missing:
            result = measured(endpoint, client, name, observed, arguments.bags)
            path.write_text(json.dumps({**known(path), f"{name} {seed}": result}, indent=2) + "\n")
            say(f"{name}, seed {seed}: {result}")
            if arguments.save and seed == arguments.seeds[0] and "observable" in result:
                observable.save(client, {name: result["observable"]}, "python benchmarks/pipelines.py --save")


def known(path: Path) -> Results:
    return dict(json.loads(path.read_text())) if path.exists() else {}


def row(name: str, result: Mapping[str, Any]) -> str:
    """Return a line of the table; the way is from the strongest baseline to the best observable."""
    model, gain, bound = result["model"], result["gain"], result.get("observable")
    way = bound and (model["value"] - result["baseline_value"]) / (bound["value"] - result["baseline_value"])
    others = (result["linear"], bound and bound["value"], result["best"])
    cells = (
        *name.split(),
        result["metric"],
        f"{model['value']:.4f} [{model['low']:.4f}, {model['high']:.4f}]",
        f"{result['baseline_value']:.4f} ({result['baseline']})",
        "–" if gain["low"] is None else f"{gain['value']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]",
        *("–" if value is None else f"{value:.4f}" for value in others),
        f"{way:.0%}" if way else "–",
    )
    return f"| {' | '.join(cells)} |"


def table(results: Results) -> str:
    """Return the table in Markdown."""
    order = sorted(results, key=lambda name: (PIPELINES.index(name.split()[0]), name))
    lines = [f"| {' | '.join(TITLES)} |", f"|{'---|' * len(TITLES)}", *(row(name, results[name]) for name in order)]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(".raypipe/pipelines"), help="a database per seed goes here")
    parser.add_argument("--results", type=Path, default=Path("pipelines.json"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--pipelines", nargs="+", choices=PIPELINES, default=PIPELINES)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--bags", type=int, default=3, help="models of the best observable")
    parser.add_argument("--save", action="store_true", help="keep the best observable of the first seed")
    parser.add_argument("--page", action="store_true", help="write the table into docs/pipelines.md")
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        of_seed(arguments, seed)
    text = table(known(arguments.results))
    print(text)
    if arguments.page:
        models.write(PAGE, text)


if __name__ == "__main__":
    main()
