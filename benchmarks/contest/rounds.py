"""Play the rounds: each contender in turn, in a new order per round, with every result verified."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from contenders.job import Job

from contest import verify
from contest.arena import ONE_TARGET, PIPELINE, SCORED, Arena
from contest.machine import Usage
from contest.processes import Finished, python, run
from raypipe.clickhouse.client import Client
from raypipe.score import ledger, runs

CONNECTOR = ("ray_builtin", "ray_builtin_compiled")
# The simplest and fastest comes first.
PEERS = ("one_process_streamed", "one_process", *CONNECTOR, "ray_data_program")
NAMES = ("raypipe", *PEERS, "limit")
# The raypipe of another checkout, see `--before`.
BEFORE = "raypipe_before"
OWN = ("raypipe", BEFORE)

Result = dict[str, Any]
Settings = dict[str, Any]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass
class Contest:
    """One population and its measurements.

    Attributes:
        folder: The folder of the contenders' jobs.
        usage: Measures the machine and the server.
        before: The checkout of `raypipe_before`.
        settings: The best settings of Ray's own connector per contender, from `tune`.
    """

    arena: Arena
    job: Job
    folder: Path
    usage: Usage
    before: Path | None = None
    settings: dict[str, Settings] = field(default_factory=dict)

    def play(self, name: str) -> Result:
        """Run one contender once, verify its rows and remove them."""
        self.arena.clear()
        if name == "limit":
            return self._peer(name, self.job).document
        with self.usage.measured() as used:
            result = self._raypipe(name) if name in OWN else self._other(name)
        result["core_seconds"], result["server_core_seconds"] = used["busy"], used["server_busy"]
        result["difference"] = verify.verify(self.arena, name, self.job.rows)
        self.arena.clear()
        return result

    def reference(self) -> None:
        """Run raypipe once, uncounted. Its rows are the reference for the others."""
        self.arena.clear()
        self._raypipe("raypipe")
        verify.remember(self.arena, self.job.rows)
        verify.verify(self.arena, "raypipe", self.job.rows)

    def tune(self, name: str) -> None:
        """Find the fastest settings of Ray's own connector: first the number of blocks, then the concurrency."""
        cores = self.job.cores
        tried: dict[float, Settings] = {}
        for blocks in sorted({cores, 4 * cores, max(cores, self.job.rows // 250_000)}):
            self._try(name, {"blocks": blocks, "actors": cores, "task_cpus": 1.0}, tried)
        blocks = tried[min(tried)]["blocks"]
        for actors, cpus in {(1, 1.0), (cores, 0.5)}:
            self._try(name, {"blocks": blocks, "actors": actors, "task_cpus": cpus}, tried)
        self.settings[name] = tried[min(tried)]

    def _try(self, name: str, options: Settings, tried: dict[float, Settings]) -> None:
        self.settings[name] = options
        seconds = self.play(name)["seconds"]
        tried[seconds] = options
        say(f"  {name} with {_words(options)}: {seconds:.1f} s")

    def _raypipe(self, name: str) -> Result:
        arena = replace(self.arena, checkout=self.before if name == BEFORE else None)
        with Client(self.arena.endpoint) as client:
            started = time.perf_counter()
            self.arena.manifest(client)
            planning = time.perf_counter() - started
            found = arena.raypipe("score", "--date", str(SCORED), "--model", "latest", settings=ONE_TARGET)
            run_id = found.document["run_id"]
            began = min(receipt.started_at for receipt in ledger.receipts(client, run_id))
            committed = runs.find(client, run_id).published_at.timestamp()
        parts = {"planning": round(planning, 3), **found.document["time"]}
        # The time before the first slice (except planning) and after the commit.
        parts |= {"before": began - found.started_at - planning, "after": found.started_at + found.seconds - committed}
        return {**_measured(found), "steady_seconds": planning + committed - began, "time": parts}

    def _other(self, name: str) -> Result:
        with tempfile.TemporaryDirectory(dir=self.folder) as ready:
            options = {**self.settings.get(name, {}), "ready": ready, "compiled": name == "ray_builtin_compiled"}
            job = replace(self.job, batch_id=f"{PIPELINE}_{name}", options=options)
            found = self._peer(name, job)
        steady = found.document.get("since_first_actor", found.document["steady_seconds"])
        parts = {key: value for key, value in found.document.items() if key != "steady_seconds"}
        return {**_measured(found), "steady_seconds": steady, "time": parts}

    def _peer(self, name: str, job: Job) -> Finished:
        path = job.write(self.folder / f"{name}.json")
        module = "ray_builtin" if name in CONNECTOR else name
        return run(python("-m", f"contenders.{module}", str(path)), self.arena.environment)


def rounds(
    contest: Contest, names: list[str], repeats: int, progress: Callable[[str], None]
) -> dict[str, list[Result]]:
    """Run every contender `repeats` times. Each round starts with another one, every second round runs backwards."""
    results: dict[str, list[Result]] = {name: [] for name in names}
    for number in range(repeats):
        first = number % len(names)
        order = (names[first:] + names[:first])[:: -1 if number % 2 else 1]
        for name in order:
            results[name].append(contest.play(name))
            progress(f"  round {number + 1}: {name} {json.dumps(_rounded(results[name][-1]))}")
    return results


def _measured(found: Finished) -> Result:
    return {
        "seconds": found.seconds,
        "peak_mb": found.peak_mb,
        "peak_mb_sum": found.peak_mb_sum,
        "largest_process": found.largest,
    }


def _words(options: Settings) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in options.items())


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return round(value, 2) if isinstance(value, float) else value
