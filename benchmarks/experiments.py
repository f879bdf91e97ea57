"""Measure `raypipe abtest`: what a covariate saves on the demo, false alarms of daily looks, and rows a second.

    python benchmarks/experiments.py --rows 10000000 --url http://default@localhost:8123/default

Needs a ClickHouse on this machine. The benchmark creates the database bench_experiments and drops it at the end. On the
demo, readers get their arms by a hash, so that there is no difference to find: the width of the interval counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from contest.rounds import say

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.config.load_experiment import load_experiment
from raypipe.demo.publisher import build
from raypipe.experiment.abtest import abtest
from raypipe.experiment.inference import EveryLook, OneLook, Rule
from raypipe.experiment.result import ExperimentResult
from raypipe.progress import silent

DATABASE = "bench_experiments"
ARMS = [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5}]
# The experiment is dated after the run that publishes the scores, and the readers' week is moved there.
EXPOSED, NOW = date(2100, 1, 1), datetime(2100, 3, 1, tzinfo=UTC)
BEFORE = 28
EXPERIMENTS, LOOKS, PER_DAY = 2000, 30, 500
WEEK = """
CREATE TABLE engaged ENGINE = MergeTree ORDER BY (company_id, brand_id, user_id) AS
SELECT company_id, brand_id, user_id, toDate(session_start) > {date:Date} AS later,
    {exposed:Date} + (later ? 0 : -1) AS at, avg(engagement_score) AS engagement
FROM customer_sessions
WHERE user_id != ''
    AND toDate(session_start) > {date:Date} - {before:UInt16} AND toDate(session_start) <= {date:Date} + 7
GROUP BY ALL
"""
WIDE = """
CREATE TABLE wide ENGINE = MergeTree ORDER BY user_id AS
SELECT number AS user_id, cityHash64(number) % 2 ? 'a' : 'b' AS arm, cityHash64(number, 1) % 10 = 0 AS bought,
    exp(toFloat64(cityHash64(number, 2) % 1000) / 250) AS revenue, 1 + cityHash64(number, 3) % 7 AS views
FROM numbers({rows:UInt64})
"""


def analysed(client: Client, folder: Path, **config: Any) -> ExperimentResult:
    path = folder / "configs" / "experiments" / "bench.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"arms": ARMS, **config}, sort_keys=False))
    result = abtest(client, load_experiment("bench", folder / "configs", environ={}), None, NOW, silent, save=False)
    assert isinstance(result, ExperimentResult)
    return result


def covariates(endpoint: Endpoint, client: Client, folder: Path, users: int) -> dict[str, float]:
    """Return the share of the variance that CUPED and the published score take away."""
    migrate(client)
    # The run is two weeks before the last day, and its training snapshots need whole windows, too.
    summary = build(client, users=users, days=195)
    day = summary.last_date - timedelta(days=15)
    command = [sys.executable, "-m", "raypipe", "run", "engagement", "--date", f"{day}", "--url", str(endpoint)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    if endpoint.password_file:
        environment["RAYPIPE_PASSWORD_FILE"] = endpoint.password_file
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, env=environment)
    client.run(WEEK, {"date": day, "exposed": EXPOSED, "before": BEFORE})
    shared = {
        "table": "engaged",
        "unit": ["company_id", "brand_id", "user_id"],
        "salt": "no difference",
        "exposure": {"time": "at", "since": f"{EXPOSED}", "until": f"{EXPOSED}"},
        "metrics": [{"name": "engagement", "kind": "mean", "value": "engagement"}],
    }
    yesterday = f"{EXPOSED - timedelta(days=1)}"
    cuped = analysed(client, folder, **shared, pre_period={"since": yesterday, "until": yesterday})
    score = analysed(client, folder, **shared, score="engagement")
    return {"units": cuped.units, "cuped": cuped.metrics[0].variance_cut, "score": score.metrics[0].variance_cut}


def false_alarms(rule: Rule) -> float:
    """Return the share of A/A tests that a daily look ever finds significant."""
    draw = np.random.default_rng(11)
    successes = draw.binomial(PER_DAY, 0.1, size=(2, EXPERIMENTS, LOOKS)).cumsum(axis=2)
    units = PER_DAY * np.arange(1, LOOKS + 1)
    rates = successes / units
    errors = np.sqrt((rates * (1 - rates) / units).sum(axis=0))
    bounds = np.array([rule.critical(0.05, 2 * count, inf) for count in units])
    return float((np.abs(rates[1] - rates[0]) > bounds * errors).any(axis=1).mean())


def speed(client: Client, folder: Path, rows: int) -> dict[str, float]:
    """Return the seconds of an analysis of three metrics, and Python's own CPU seconds."""
    client.run(WIDE, {"rows": rows})
    metrics = [
        {"name": "bought", "kind": "proportion", "value": "bought"},
        {"name": "revenue", "kind": "mean", "value": "revenue", "covariate": "views"},
        {"name": "per_view", "kind": "ratio", "numerator": "revenue", "denominator": "views"},
    ]
    seconds = {}
    for kind in ("one", "many"):
        started, cpu = time.perf_counter(), time.process_time()
        result = analysed(client, folder, table="wide", unit=["user_id"], arm="arm", rows=kind, metrics=metrics)
        assert result.units == rows
        seconds |= {kind: time.perf_counter() - started, f"{kind}_python": time.process_time() - cpu}
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="chdb:.raypipe/bench_experiments")
    parser.add_argument("--users", type=int, default=20_000, help="readers of the demo")
    parser.add_argument("--rows", type=int, default=10_000_000, help="units of the measurement of speed")
    parser.add_argument("--json", action="store_true", help="print one document on stdout")
    arguments = parser.parse_args()
    with connected(arguments.url, None, None, check=False) as server, tempfile.TemporaryDirectory() as folder:
        place = replace(server, database=DATABASE)
        with Client(server) as admin:
            admin.run(f"CREATE DATABASE {DATABASE}")
            try:
                with Client(place) as client:
                    measured = {
                        "covariates": covariates(place, client, Path(folder), arguments.users),
                        "false_alarms": {
                            "every look": false_alarms(EveryLook(2 * PER_DAY * LOOKS, 0.05)),
                            "one look": false_alarms(OneLook()),
                        },
                        "seconds": speed(client, Path(folder), arguments.rows),
                    }
            finally:
                admin.run(f"DROP DATABASE IF EXISTS {DATABASE} SYNC")
    for name, values in measured.items():
        say(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in values.items()))
    if arguments.json:
        print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
