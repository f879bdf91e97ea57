"""Measure `raypipe.ClickHouseSink` beside Ray's own `write_clickhouse`.

    python benchmarks/sink.py --rows 5000000 --url http://default@localhost:8123

Needs a ClickHouse on this machine. Both write the same dataset, which is in Ray's memory before the clock starts, into
the same empty table of the database bench_sink: keys, a score and a day. They alternate, and every second round runs
backwards. Each write is compared with the dataset by number, distinct keys and a checksum. `seconds` are those of the
call, `core_seconds` those of the server and of all processes of Ray. `ratios` are write_clickhouse's over the sink's;
`sink_keys` also checks that the keys are distinct.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pyarrow as pa
import ray.data
from contest.machine import TICKS, server_process
from contest.processes import PROC
from contest.rounds import say
from ray.data import SinkMode

import raypipe
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import SYSTEM
from raypipe.clickhouse.statements import identifier
from raypipe.cluster import runtime

DATABASE = "bench_sink"
BLOCK_ROWS = 250_000
DDL = """
CREATE TABLE scores (brand String, user_id String, day Date, score Float32, model_version String)
ENGINE = MergeTree PARTITION BY day ORDER BY (brand, user_id)
"""
CHECK = "SELECT count(), uniqExact(user_id), sum(cityHash64(user_id, score)) FROM scores"


def block(first: int, rows: int) -> pa.Table:
    numbers = np.arange(first, first + rows)
    return pa.table(
        {
            "brand": pa.array(np.char.add("b", (numbers % 5).astype(str))),
            "user_id": pa.array(np.char.add("user_", numbers.astype(str))),
            "day": pa.array(np.full(rows, 20_000, np.int32)).cast(pa.date32()),
            "score": pa.array((numbers * 0.618 % 1).astype(np.float32)),
            "model_version": pa.array(["20260131.000000.abcdef"] * rows),
        }
    )


def dataset(rows: int) -> ray.data.Dataset:
    starts = ray.data.from_items([{"first": first} for first in range(0, rows, BLOCK_ROWS)])
    made = starts.repartition(-(-rows // BLOCK_ROWS)).map_batches(
        lambda batch: block(batch["first"][0].as_py(), min(BLOCK_ROWS, rows - batch["first"][0].as_py())),
        batch_size=1,
        batch_format="pyarrow",
    )
    return made.materialize()


def by_sink(rows: ray.data.Dataset, endpoint: Endpoint, keys: tuple[str, ...], run: str) -> None:
    rows.write_datasink(raypipe.ClickHouseSink("scores", endpoint, run=run, keys=keys))


def by_ray(rows: ray.data.Dataset, endpoint: Endpoint) -> None:
    secret = f":{quote(endpoint.password(), safe='')}" if endpoint.password() else ""
    place = urlsplit(endpoint.url).netloc
    dsn = f"clickhouse+http://{quote(endpoint.user)}{secret}@{place}/{endpoint.database}"
    rows.write_clickhouse("scores", dsn, mode=SinkMode.APPEND, client_kwargs={"compress": False})


def cpu_seconds(server: int) -> float:
    """Return the CPU seconds of the server, and of this session: Ray's workers do not leave it."""
    total, session = 0, os.getsid(0)
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if session == int(fields[3]) or server == int(entry.name):
                    total += int(fields[11]) + int(fields[12])
    return total / TICKS


def measured(client: Client, work: Callable[[], None], expected: tuple[Any, ...]) -> dict[str, float]:
    """Return the seconds of a write into the empty table, once its result is verified."""
    client.run("TRUNCATE TABLE scores SYNC")
    server = server_process(client.endpoint.url)
    cpu, started = cpu_seconds(server), perf_counter()
    work()
    seconds, core_seconds = perf_counter() - started, cpu_seconds(server) - cpu
    (found,) = client.rows(CHECK)
    if found != expected:
        raise SystemExit(f"the table is wrong: {found} instead of {expected}")
    return {"seconds": round(seconds, 3), "core_seconds": round(core_seconds, 2)}


def benchmark(endpoint: Endpoint, rows: int, rounds: int) -> dict[str, Any]:
    with Client(endpoint) as client:
        client.run(DDL)
        made = dataset(rows)
        by_ray(made, endpoint)
        (expected,) = client.rows(CHECK)
        if expected[:2] != (rows, rows):
            raise SystemExit(f"the first write is wrong: {expected} instead of {rows} rows")
        runs = iter(range(1_000_000))
        contenders: dict[str, Callable[[], None]] = {
            "write_clickhouse": lambda: by_ray(made, endpoint),
            "sink": lambda: by_sink(made, endpoint, (), f"run-{next(runs)}"),
            "sink_keys": lambda: by_sink(made, endpoint, ("brand", "user_id"), f"run-{next(runs)}"),
        }
        found: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
        for number in range(rounds):
            names = list(contenders)
            names = names[number % 3 :] + names[: number % 3]
            for name in names if number % 2 == 0 else names[::-1]:
                found[name].append(measured(client, contenders[name], expected))
                say(f"  round {number + 1} {name:17} {found[name][-1]}")
    figures = {name: {kind: median(item[kind] for item in items) for kind in items[0]} for name, items in found.items()}
    ray_own = figures["write_clickhouse"]
    ratios = {
        name: {kind: round(ray_own[kind] / figures[name][kind], 2) for kind in ray_own}
        for name in contenders
        if name != "write_clickhouse"
    }
    return {"rows": rows, "rounds": found, "medians": figures, "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="200,000 rows, one round")
    parser.add_argument("--url", default=os.environ.get("RAYPIPE_URL") or "chdb:.raypipe/clickhouse")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    rows, rounds = (200_000, 1) if arguments.quick else (arguments.rows, arguments.rounds)
    with connected(arguments.url) as endpoint, runtime.session(endpoint) as workers:
        own = replace(endpoint, database=DATABASE)
        with Client(replace(endpoint, database=SYSTEM)) as admin:
            admin.run(f"DROP DATABASE IF EXISTS {identifier(DATABASE)} SYNC")
            admin.run(f"CREATE DATABASE {identifier(DATABASE)}")
            try:
                workers.ready()
                runtime.quiet_libraries()
                result = benchmark(own, rows, rounds)
            finally:
                admin.run(f"DROP DATABASE IF EXISTS {identifier(DATABASE)} SYNC")
    say(json.dumps({"medians": result["medians"], "ratios": result["ratios"]}))
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
