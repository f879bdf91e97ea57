"""Measure the parts alone, with all cores, one after another: a lower bound for programs made of them.

One process per core reads slices until none is left and keeps the rows in memory. Then all predict, then all insert.
Starting the processes is not counted.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from typing import Any

import pyarrow as pa

from contenders.job import Job
from contenders.one_process_streamed import chunks
from contenders.predictions import KEYS, NarrowSink, matrix

PARTS = ("read", "predict", "insert")


def work(job: Job, taken: Any, step: Barrier) -> None:
    try:
        parts(job, taken, step)
    except BaseException:
        # The other processes must not wait for this one.
        step.abort()
        raise


def parts(job: Job, taken: Any, step: Barrier) -> None:
    client, model = job.connect(), job.compiled(1)
    sink = NarrowSink(job, client)
    settings = {"max_threads": 1, "output_format_arrow_compression_method": "none"}
    batches: list[pa.RecordBatch] = []
    step.wait()
    while (number := take(taken)) < len(job.slices):
        with client.query_arrow_stream(job.slices[number], settings=settings) as stream:
            batches.extend(stream)
    step.wait()
    scores = [model.predict(matrix(batch.column("x"))) for batch in batches]
    step.wait()
    pairs = zip(batches, scores, strict=True)
    tables = (
        pa.Table.from_batches([rows.select(KEYS)]).append_column("score", pa.array(found)) for rows, found in pairs
    )
    for chunk in chunks(tables, job.chunk_rows):
        sink.insert(chunk)
    step.wait()


def take(taken: Any) -> int:
    with taken.get_lock():
        taken.value += 1
        return int(taken.value) - 1


def main() -> None:
    job = Job.from_command_line()
    processes = multiprocessing.get_context("spawn")
    taken = processes.Value("q", 0)
    step = processes.Barrier(job.cores + 1, timeout=3600)
    workers = [processes.Process(target=work, args=(job, taken, step), daemon=True) for _ in range(job.cores)]
    for worker in workers:
        worker.start()
    seconds = {}
    step.wait()
    for part in PARTS:
        started = time.perf_counter()
        step.wait()
        seconds[part] = time.perf_counter() - started
    for worker in workers:
        worker.join()
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
