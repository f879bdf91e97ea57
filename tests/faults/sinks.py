"""Write runs through `raypipe.ClickHouseSink` as Ray does, in this process or in one that is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.process import BaseProcess

import pyarrow as pa
from ray.data.datasource import WriteResult

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.dataset import journal
from raypipe.dataset.sink import ClickHouseSink
from tests.faults.actors import PATIENCE, awaited
from tests.faults.oracle import own_tables
from tests.faults.proxy import Proxy, Rule

TARGET = "scores"
# Two partitions.
DDL = f"""
CREATE TABLE {TARGET} (id UInt64, day Date, score Float32) ENGINE = MergeTree PARTITION BY day ORDER BY id
"""
RUN = "churn/2026-01-31"
ROWS, TASKS = 6000, 3

INSERT = b"INSERT INTO `raypipe_staging_"
# An entry is written when a run begins, before its rows are moved, and after that.
ENTRY = b"INSERT INTO `raypipe_writes`"
MOVE = f"TO TABLE `{TARGET}`".encode()


def blocks(rows: int = ROWS, tasks: int = TASKS) -> list[pa.Table]:
    """Return rows of two days, as the blocks of several tasks."""
    size = rows // tasks
    return [
        pa.table(
            {
                "id": pa.array(range(first, first + size), pa.int64()),
                "day": pa.array([20_000 + number % 2 for number in range(first, first + size)], pa.date32()),
                "score": pa.array([number / rows for number in range(first, first + size)], pa.float64()),
            }
        )
        for first in range(0, rows, size)
    ]


def write(sink: ClickHouseSink, tasks: Sequence[pa.Table] | None = None) -> None:
    """Call the sink as `write_datasink` does: start, a task per block, then complete or failed."""
    tasks = blocks() if tasks is None else tasks
    try:
        sink.on_write_start(tasks[0].schema if tasks else None)
        returned = [sink.write([block], None) for block in tasks]
        sink.on_write_complete(WriteResult(sum(block.num_rows for block in tasks), 0, returned))
    except Exception as error:
        sink.on_write_failed(error)
        raise


def written(client: Client, table: str = TARGET) -> Counter[int]:
    """Return how often each id is in a table."""
    return Counter(identity for (identity,) in client.rows(f"SELECT id FROM {table}"))


def expected(times: int = 1) -> Counter[int]:
    """Return how often each id has to be there after some runs."""
    return Counter(dict.fromkeys(range(ROWS), times))


def sink(client: Client, run: str = RUN, *, take_over: bool = False, through: Proxy | None = None) -> ClickHouseSink:
    """Return a sink of the target."""
    endpoint = replace(client.endpoint, url=through.url) if through else client.endpoint
    return ClickHouseSink(TARGET, endpoint, run=run, keys=["id"], take_over=take_over)


def status(client: Client) -> str:
    """Return the status of the run in the ledger, '' without an entry."""
    entry = journal.find(client, journal.identity(TARGET, RUN))
    return entry.status if entry else ""


def parts(client: Client, table: str, partition: str = "") -> list[str]:
    """Return the names of a table's parts."""
    rows = client.rows(
        "SELECT name FROM system.parts WHERE active AND database = currentDatabase() AND table = {table:String}"
        " AND startsWith(partition_id, {partition:String}) ORDER BY name",
        {"table": table, "partition": partition},
    )
    return [name for (name,) in rows]


def assert_whole(client: Client, times: int = 1) -> None:
    """Assert that the target has every row, and that no table of a write is left."""
    assert written(client) == expected(times)
    assert own_tables(client) == []


@contextmanager
def writing(endpoint: Endpoint, run: str = RUN) -> Iterator[BaseProcess]:
    """Write a run in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_write, args=(endpoint, run, dict(os.environ)))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join(PATIENCE)


def _write(endpoint: Endpoint, run: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    write(ClickHouseSink(TARGET, endpoint, run=run, keys=["id"]))


def kill_at(process: BaseProcess, rule: Rule) -> None:
    """Kill a process at a request."""
    awaited(lambda: rule.hit.is_set() or process.exitcode is not None, f"no request with {rule.pattern!r}")
    assert rule.hit.is_set(), f"the process ended before a request with {rule.pattern!r}"
    os.kill(process.pid or 0, signal.SIGKILL)
    # A zombie still counts as a process.
    process.join(PATIENCE)
