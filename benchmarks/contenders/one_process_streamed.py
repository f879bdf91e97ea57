"""Score in one well-written process: an Arrow stream read ahead, all cores per batch, inserts behind.

The features arrive as one list column, and its buffer is the matrix. raypipe's compiled trees predict. The server adds
the constant columns. No stage waits for another. It lacks a second process, restarts and a check of its result.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from queue import Queue

import pyarrow as pa

from contenders.job import Job, report
from contenders.predictions import KEYS, NarrowSink, matrix

AHEAD = 4


class Stage(threading.Thread):
    """Run a stage in a thread. `finish` raises its error."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def finish(self) -> None:
        self.join()
        if self._error:
            raise self._error


def read(job: Job, batches: Queue[pa.RecordBatch | None]) -> None:
    settings = {"max_threads": job.cores, "output_format_arrow_compression_method": "none"}
    try:
        with job.connect().query_arrow_stream(job.select, settings=settings) as stream:
            for batch in stream:
                batches.put(batch)
    finally:
        batches.put(None)


def insert(job: Job, scored: Queue[pa.Table | None]) -> None:
    sink = NarrowSink(job, job.connect())
    for chunk in chunks(iter(scored.get, None), job.chunk_rows):
        sink.insert(chunk)


def chunks(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(part.num_rows for part in waiting) >= rows:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def main() -> None:
    job = Job.from_command_line()
    model = job.compiled(job.cores)
    started = time.perf_counter()
    batches: Queue[pa.RecordBatch | None] = Queue(AHEAD)
    # Unbounded: after a failed insert the predictions must not wait for a free place.
    scored: Queue[pa.Table | None] = Queue()
    reader, writer = Stage(lambda: read(job, batches)), Stage(lambda: insert(job, scored))
    for batch in iter(batches.get, None):
        scores = model.predict(matrix(batch.column("x")))
        scored.put(pa.Table.from_batches([batch.select(KEYS)]).append_column("score", pa.array(scores)))
    reader.finish()
    scored.put(None)
    writer.finish()
    report(started)


if __name__ == "__main__":
    main()
