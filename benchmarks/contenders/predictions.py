"""Build the rows of sql/shared/predictions.sql that every contender writes, in Python or on the server."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.client import Client

from contenders.job import Job, Scores
from raypipe.clickhouse.statements import literal

KEYS = ["company_id", "brand_id", "user_id"]
BOUND = re.compile(r"\{(\w+):\w+\}")


def matrix(column: pa.Array) -> npt.NDArray[np.float32]:
    """Return the feature matrix of a list column, without a copy."""
    values: npt.NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=True).reshape(len(column), -1)
    return values


def frame(job: Job, keys: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """Return the finished rows as a data frame."""
    cuts = [bound for _, bound in job.levels[:-1]]
    names = np.array([name for name, _ in job.levels], dtype=object)
    return pd.DataFrame(
        {
            "prediction_id": job.batch_id + "/" + keys["company_id"] + "/" + keys["brand_id"] + "/" + keys["user_id"],
            "model_id": job.model_id,
            "prediction_type": job.pipeline,
            "entity_id": keys["user_id"],
            "entity_type": job.entity_type,
            "prediction_value": scores.astype(np.float64),
            "prediction_probability": scores,
            "prediction_class": names[np.searchsorted(cuts, scores.astype(np.float64), side="right")],
            "prediction_confidence": np.maximum(scores, 1 - scores),
            "input_features": "{}",
            "predicted_at": pd.Timestamp(job.time),
            "prediction_date": job.date,
            "company_id": keys["company_id"],
            "brand_id": keys["brand_id"],
            "batch_id": job.batch_id,
            "metadata": job.metadata,
            "created_at": pd.Timestamp(job.time),
        }
    )


def table(job: Job, keys: pa.Table, scores: Scores) -> pa.Table:
    """Return the finished rows as an Arrow table that stores constants once."""
    rows = len(scores)
    names = pa.array([name for name, _ in job.levels])
    level = np.searchsorted([bound for _, bound in job.levels[:-1]], scores.astype(np.float64), side="right")

    def constant(value: Any, kind: pa.DataType | None = None) -> pa.Array:
        return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), pa.array([value], kind))

    def same(value: Any, kind: pa.DataType) -> pa.Array:
        return pa.repeat(pa.scalar(value, kind), rows)

    ids = pc.binary_join_element_wise(job.batch_id, *(keys[name] for name in KEYS), "/")
    return pa.table(
        {
            "prediction_id": ids,
            "model_id": constant(job.model_id),
            "prediction_type": constant(job.pipeline),
            "entity_id": keys["user_id"],
            "entity_type": constant(job.entity_type),
            "prediction_value": scores.astype(np.float64),
            "prediction_probability": scores,
            "prediction_class": pa.DictionaryArray.from_arrays(level.astype(np.int8), names),
            "prediction_confidence": np.maximum(scores, 1 - scores),
            "input_features": constant("{}"),
            "predicted_at": same(job.time, pa.timestamp("s", "UTC")),
            "prediction_date": same(job.date, pa.date32()),
            "company_id": keys["company_id"],
            "brand_id": keys["brand_id"],
            "batch_id": constant(job.batch_id),
            "metadata": constant(job.metadata),
            "created_at": same(job.time, pa.timestamp("s", "UTC")),
        }
    )


class NarrowSink:
    """Send keys and scores and let the server add the rest with predictions.sql, the fastest way into the table."""

    def __init__(self, job: Job, client: Client) -> None:
        self._client = client
        values = {
            "run_id": job.batch_id,
            "model_id": job.model_id,
            "model_version": job.model_version,
            "pipeline": job.pipeline,
            "entity_type": job.entity_type,
            "run_at": job.time,
            "date": job.date,
        }
        self._into = BOUND.sub(lambda match: literal(values[match[1]]), job.insert_into)

    def insert(self, rows: pa.Table) -> None:
        """Insert a table of the keys and `score` as one block."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            for batch in rows.combine_chunks().to_batches():
                writer.write_batch(batch)
        settings = {"async_insert": 0, "max_insert_block_size": 2_000_000, "max_insert_threads": 1}
        # The driver's cheapest way to send a body. It binds no parameters.
        self._client.raw_insert(
            self._into, insert_block=sink.getvalue().to_pybytes(), settings=settings, fmt="ArrowStream"
        )
