"""Count the drift alerts of many nights of a small synthetic publisher, without drift and with it.

    python benchmarks/nights.py --readers 3000 --nights 60 --seeds 1 2 3
    python benchmarks/nights.py --readers 3000 --nights 20 --drift-after 15 --json

Each seed gets a database of its own, which is dropped at the end. The features of all nights are built first, and the
pipelines are fitted once, on days before the first night. Each night scores on threads, without Ray. With
--drift-after N, the readers behave otherwise from night N + 1 on. Exit code 1 says that the nights without drift had
more than one alert in all, or that a drift was not noticed within two nights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.config.load import load_pipeline
from raypipe.demo import publisher
from raypipe.features import snapshots
from raypipe.fit.fit import fit
from raypipe.progress import silent
from raypipe.project import shipped
from raypipe.score.score import score

# Days before the first night: three training dates, a test date, the horizon of its labels, and features of 84 days.
HISTORY = 210
ALERTS = """
SELECT pipeline, column, slice_column, slice_value, round(psi, 4), reason
FROM raypipe_drift WHERE date = {date:Date} AND reference = {reference:String} AND status = 'alert' ORDER BY psi DESC
"""
Alert = dict[str, Any]


def nights(
    endpoint: Endpoint, folder: Path, seed: int, arguments: argparse.Namespace
) -> Iterator[tuple[date, list[Alert]]]:
    """Run the nights of one seed, and yield each with its alerts."""
    last = datetime.now(UTC).date() - timedelta(days=1)
    first = last - timedelta(days=arguments.nights - 1)
    drift_on = None if arguments.drift_after is None else first + timedelta(days=arguments.drift_after)
    overrides = [f"artifacts={folder / str(seed)}", "score.explain.rows=0", *arguments.set]
    pipelines = [load_pipeline(name, shipped() / "configs", overrides, environ={}) for name in arguments.pipelines]
    with Client(endpoint) as client:
        migrate(client)
        publisher.build(
            client, arguments.readers, arguments.nights + HISTORY, seed, last, drift_on=drift_on, snapshot_every=14
        )
        snapshots.compute(client, last, first, run_at=datetime.now(UTC), timezone="UTC", progress=silent)
    for loaded in pipelines:
        fit(endpoint, loaded, first - timedelta(days=1), silent)
    for number in range(arguments.nights):
        day = first + timedelta(days=number)
        for loaded in pipelines:
            score(endpoint, loaded, day, "latest", silent)
        with Client(endpoint) as client:
            rows = client.rows(ALERTS, {"date": day, "reference": pipelines[0].config.monitor.reference})
        names = ("pipeline", "column", "slice_column", "slice_value", "psi", "reason")
        yield day, [dict(zip(names, row, strict=True)) for row in rows]


def run(endpoint: Endpoint, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the alerts of every seed, by night."""
    results: dict[str, Any] = {}
    for seed in arguments.seeds:
        own = replace(endpoint, database=f"bench_nights_{seed}")
        started = time.monotonic()
        with Client(replace(endpoint, database="default")) as outside:
            outside.run(f"DROP DATABASE IF EXISTS {own.database} SYNC")
            outside.run(f"CREATE DATABASE {own.database}")
            found = []
            for number, (day, alerts) in enumerate(nights(own, folder, seed, arguments)):
                found.append({"night": number + 1, "date": day.isoformat(), "alerts": alerts})
                for alert in alerts:
                    print(f"seed {seed} night {number + 1:3} {day} {alert}", flush=True)
            if not arguments.keep:
                outside.run(f"DROP DATABASE IF EXISTS {own.database} SYNC")
        total = sum(len(night["alerts"]) for night in found)
        seconds = time.monotonic() - started
        print(f"seed {seed}: {total} alerts in {len(found)} nights, {seconds:.0f} s", flush=True)
        results[str(seed)] = found
    return results


def is_as_promised(results: dict[str, Any], drift_after: int | None) -> bool:
    """Return whether quiet nights were quiet, and a drift was noticed within two nights with the score among it."""
    quiet = sum(
        len(night["alerts"])
        for found in results.values()
        for night in found
        if drift_after is None or night["night"] <= drift_after
    )
    noticed = True
    if drift_after is not None:
        for found in results.values():
            names = {alert["column"] for night in found[drift_after : drift_after + 2] for alert in night["alerts"]}
            noticed &= "score" in names and len(names) > 1
    return quiet <= 1 and noticed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=3000)
    parser.add_argument("--nights", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--pipelines", nargs="+", default=["churn", "engagement"])
    parser.add_argument("--drift-after", type=int, help="the drift begins after so many nights")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a value of the config")
    parser.add_argument(
        "--url", default=None, help="URL of ClickHouse; default: an embedded engine in a scratch folder"
    )
    parser.add_argument("--keep", action="store_true", help="keep the databases")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="raypipe-nights-") as folder,
        connected(arguments.url or f"chdb:{folder}/clickhouse") as endpoint,
    ):
        results = run(endpoint, Path(folder), arguments)
    if arguments.json:
        print(json.dumps(results))
    raise SystemExit(0 if is_as_promised(results, arguments.drift_after) else 1)


if __name__ == "__main__":
    main()
