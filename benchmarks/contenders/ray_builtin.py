"""Score with Ray Data's own connector: read_clickhouse → map_batches over an actor pool → write_clickhouse.

A filter would force a single read task, so the connector reads a view of the day's rows. The view contains the features
query, and an actor encodes its columns. For `ray_builtin_compiled` it contains raypipe's compiled query, which returns
rows of the matrix. Parallel reads page by OFFSET and need an order. The three key columns are passed as one text,
because a list becomes a tuple, which the server cannot read in the table's order.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from contenders.job import Job, report
from contenders.one_process import encode
from contenders.predictions import KEYS, frame, matrix, table

ACTOR_CPUS = 0.5


class Scorer:
    """Turn rows into finished predictions in an actor, and record when it was ready."""

    def __init__(self, job: Job, ready: str) -> None:
        self._job = job
        self._contract = job.contract()
        self._booster = job.booster(max(1, job.cores // job.options["actors"]))
        (Path(ready) / str(os.getpid())).write_text(repr(time.time()))


class Plain(Scorer):
    """Score batches with the functions of `one_process`."""

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        scores = self._booster.inplace_predict(encode(self._contract, rows), validate_features=False)
        return frame(self._job, rows[KEYS], scores)


class Compiled(Scorer):
    """Turn rows of the matrix into Arrow columns that store constants once."""

    def __call__(self, rows: pa.Table) -> pa.Table:
        parts = [
            table(self._job, pa.Table.from_batches([batch.select(KEYS)]), self._score(batch))
            for batch in rows.to_batches()
        ]
        return pa.concat_tables(parts).unify_dictionaries()

    def _score(self, batch: pa.RecordBatch) -> Any:
        return self._booster.inplace_predict(matrix(batch.column("x")))


def main() -> None:
    job = Job.from_command_line()
    options = job.options
    ready = Path(options["ready"])
    import ray
    from ray.data import ActorPoolStrategy, SinkMode

    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    started = time.perf_counter()
    ray.data.DataContext.get_current().enable_progress_bars = False
    # The same client settings as raypipe's own client.
    client = {"compress": False, "autogenerate_session_id": False}
    ray.data.read_clickhouse(
        table=job.compiled_view if options["compiled"] else job.view,
        dsn=job.dsn,
        order_by=([", ".join(KEYS)], False),
        client_settings={"output_format_arrow_compression_method": "none"},
        client_kwargs=client,
        ray_remote_args={"num_cpus": options["task_cpus"]},
        override_num_blocks=options["blocks"],
    ).map_batches(
        Compiled if options["compiled"] else Plain,
        fn_constructor_args=(job, str(ready)),
        batch_size=None,
        batch_format="pyarrow" if options["compiled"] else "pandas",
        zero_copy_batch=True,
        compute=ActorPoolStrategy(size=options["actors"]),
        num_cpus=ACTOR_CPUS,
    ).write_clickhouse(
        job.target,
        job.dsn,
        mode=SinkMode.APPEND,
        client_settings={"async_insert": 0},
        client_kwargs=client,
        ray_remote_args={"num_cpus": options["task_cpus"]},
    )
    finished = time.time()
    report(started, since_first_actor=finished - min(float(path.read_text()) for path in ready.iterdir()))


if __name__ == "__main__":
    main()
