"""Measure the cost of a crash: kill a run when most of its slices are done, then resume it.

    python benchmarks/resume.py --users 1000000 --url http://default@localhost:8123/default

Needs a ClickHouse on this machine. The benchmark creates the database bench_resume and drops it at the end. SIGKILL
ends the whole process group of `raypipe score` once the ledger has the wanted share of the slices. The result compares
the scoring time of the resume with the scoring time of all slices. Scoring time comes from the receipts: the actors'
seconds for reading, predicting and inserting.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from contest.arena import ONE_TARGET, PIPELINE, SCORED, Arena, arena
from contest.rounds import say

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.project import shipped
from raypipe.score import ledger, runs

POLL_SECONDS = 0.02


def command(own: Arena, *arguments: str) -> list[str]:
    """Return a raypipe command line for the benchmark's database."""
    where = ["--config", str(shipped() / "configs"), "--url", str(own.endpoint), "--json"]
    return [sys.executable, "-m", "raypipe", *arguments, *where]


def killed_at(own: Arena, share: float, settings: list[str]) -> str:
    """Start a run, kill it when the share of its slices is in the ledger, and return its id."""
    overrides = [part for one in [f"artifacts={own.artifacts}", *settings] for part in ("--set", one)]
    arguments = command(own, "score", PIPELINE, "--date", str(SCORED), "--model", "latest", *overrides)
    process = subprocess.Popen(
        arguments, env={**os.environ, **own.environment}, start_new_session=True, stdout=subprocess.DEVNULL
    )
    tick = threading.Event()
    with Client(own.endpoint) as client:
        while process.poll() is None:
            found = [run for run in runs.listed(client, PIPELINE) if run.status == runs.RUNNING]
            if found and len(ledger.receipts(client, found[0].run_id)) >= share * found[0].slices:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return found[0].run_id
            tick.wait(POLL_SECONDS)
    raise SystemExit("the run ended before it could be killed; use more users")


def scoring_seconds(client: Client, run_id: str) -> dict[int, tuple[int, float]]:
    """Return the attempt and the actors' seconds of each finished slice."""
    return {one.slice: (one.attempt, sum(one.seconds.values())) for one in ledger.receipts(client, run_id)}


def measure(own: Arena, share: float, settings: list[str]) -> dict[str, Any]:
    """Kill a run, resume it, and compare the slices scored before and after."""
    run_id = killed_at(own, share, settings)
    with Client(own.endpoint) as client:
        before = scoring_seconds(client, run_id)
        say(f"killed with {len(before)} of {runs.find(client, run_id).slices} slices done; resuming {run_id}")
        done = subprocess.run(
            command(own, "resume", run_id),
            env={**os.environ, **own.environment},
            stdout=subprocess.PIPE,
            check=True,
        )
        after = scoring_seconds(client, run_id)
        again = {piece: found for piece, found in after.items() if before.get(piece) != found}
        document = json.loads(done.stdout)
    whole = sum(seconds for _, seconds in after.values())
    return {
        "users": document["rows_published"],
        "slices": len(after),
        "killed_after_slices": len(before),
        "scored_by_the_resume": len(again),
        "scoring_seconds": round(whole, 3),
        "scoring_seconds_of_the_resume": round(sum(seconds for _, seconds in again.values()), 3),
        "share": round(sum(seconds for _, seconds in again.values()) / whole, 4),
        "seconds_of_the_resume": document["seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000, help="number of users to score")
    parser.add_argument("--share", type=float, default=0.9, help="kill the run once this share of its slices is done")
    parser.add_argument("--slice-rows", type=int, default=20_000)
    parser.add_argument("--url", default=os.environ.get("RAYPIPE_URL") or "chdb:.raypipe/clickhouse")
    parser.add_argument("--database", default="bench_resume", help="scratch database, dropped before and after")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raypipe-bench-") as folder, connected(arguments.url) as endpoint:
        default = replace(endpoint, database="default")
        with arena(default, arguments.database, arguments.users, Path(folder) / "artifacts") as own:
            settings = [*ONE_TARGET, f"score.slice_rows={arguments.slice_rows}"]
            result = measure(own, arguments.share, settings)
    say(f"the resume took {100 * result['share']:.1f} % of the scoring time of the whole run")
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
