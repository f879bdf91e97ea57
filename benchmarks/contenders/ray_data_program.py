"""Score with the program of docs/ray-data.md: read_features → Scorer → ClickHouseSink, as exactly once as raypipe."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import pyarrow as pa

import raypipe
from contenders.job import Job, report
from contenders.predictions import KEYS, table
from raypipe.project import shipped

# Columns that are filled once outcomes are known. The sink wants every column, so these get the defaults of the server.
UNKNOWN = {
    "actual_value": pa.scalar(0.0),
    "actual_class": pa.scalar(""),
    "is_correct": pa.scalar(0, pa.uint8()),
    "actual_observed_at": pa.scalar(0, pa.timestamp("s", "UTC")),
}


class Finished(raypipe.Scorer):
    """Add the columns of the target to the scores."""

    def __init__(self, job: Job, endpoint: raypipe.Endpoint) -> None:
        super().__init__(job.pipeline, endpoint)
        self._job = job

    def __call__(self, batch: pa.Table) -> pa.Table:
        scored = super().__call__(batch)
        rows = table(self._job, scored.select(KEYS), scored.column("score").to_numpy())
        for name, value in UNKNOWN.items():
            rows = rows.append_column(name, pa.repeat(value, len(rows)))
        return rows


def main() -> None:
    job = Job.from_command_line()
    import ray

    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    started = time.perf_counter()
    ray.data.DataContext.get_current().enable_progress_bars = False
    place = urlsplit(job.url)
    with raypipe.connected(f"{place.scheme}://{job.user}@{place.netloc}/{job.database}") as clickhouse:
        raypipe.read_features(
            job.pipeline, job.day, clickhouse, version=job.model_version, config=shipped() / "configs"
        ).map_batches(
            Finished,
            fn_constructor_args=(job, clickhouse),
            batch_format="pyarrow",
            batch_size=None,
            zero_copy_batch=True,
            num_cpus=0.5,
            concurrency=job.cores,
        ).write_datasink(
            raypipe.ClickHouseSink(
                job.target, clickhouse, run=job.batch_id, keys=["company_id", "brand_id", "entity_id"]
            )
        )
    report(started)


if __name__ == "__main__":
    main()
