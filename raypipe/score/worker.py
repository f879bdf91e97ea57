"""Score one slice: stream its rows, predict, write them, write a receipt. Runs without Ray, too.

Rows go narrow into staging; in a direct run all but the highest scores go into a portion of each target.
"""

import json
import math
import os
import resource
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.artifact.contract import KEY_HASH, MATRIX, matrix
from raypipe.artifact.package import Package, load_package
from raypipe.clickhouse import retry, sharding
from raypipe.clickhouse.client import Client, content_token
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.data.slices import Slice, place
from raypipe.models.model import Rows, answer, predictor
from raypipe.score import ledger, staging
from raypipe.score.allocation import return_freed_memory
from raypipe.score.chunks import Chunks, add
from raypipe.score.fingerprints import Sampler, spacing
from raypipe.score.highest import Highest
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.shapes import Shape, shapes
from raypipe.score.slicers import slicers
from raypipe.score.tally import Tally, stride

SLICE_ATTEMPTS = 4
# Spreads the cost of a model call over many rows. A batch stays below what `allocation` returns to the system, because
# clearing new pages for each batch costs a quarter of this process's time.
BATCH_ROWS = 32_768
BATCH_BYTES = 8 << 20

Scores = npt.NDArray[np.float32]


class SliceScorer:
    """Scores slices one after the other.

    Args:
        threads: threads of the model, and of the server's side of a read.
        going: called before each batch; raises an error to give the slice up.
    """

    def __init__(
        self, endpoint: Endpoint, manifest: Manifest, threads: int, going: Callable[[], None] = lambda: None
    ) -> None:
        self._manifest = manifest
        self._threads = threads
        self._going = going
        self._client = Client(endpoint)
        return_freed_memory()
        # Loading checks every byte and scores the golden rows again: this machine's libraries may differ.
        self._package = load_package(
            manifest.artifact_uri, manifest.artifact_sha256, self._client, only_scores=True, compiled=manifest.compiled
        )
        self._package.model.set_threads(threads)
        self._shapes = shapes(self._client, manifest)

    def score(self, piece: Slice) -> Receipt:
        """Score a slice and write it into the ledger; after an error that passes, begin the slice again."""
        shard = sharding.shards(self._client)[piece.shard]
        receipt = retry.repeat(
            lambda: _Attempt(
                shard, self._manifest, self._package, piece, self._threads, self._going, self._shapes
            ).run(),
            attempts=SLICE_ATTEMPTS,
        )
        ledger.record(self._client, self._manifest.run_id, receipt)
        return receipt


class _Attempt:
    """One attempt at one slice; its rows have the attempt's number, so attempts never mix."""

    def __init__(
        self,
        client: Client,
        manifest: Manifest,
        package: Package,
        piece: Slice,
        threads: int,
        going: Callable[[], None] = lambda: None,
        shaped: tuple[Shape, ...] = (),
    ) -> None:
        self._client = client
        self._manifest = manifest
        self._model = package.model
        self._piece = piece
        self._threads = threads
        self._going = going
        self._width = len(package.contract.columns)
        self._at = manifest.day_end
        self._tally = Tally(
            package.bins,
            stride(manifest.source_rows),
            slicers(package.contract, manifest.slices),
        )
        plain = (*manifest.carry, *manifest.inputs)
        self._sampler = Sampler(spacing(manifest.source_rows), package.contract.columns, plain)
        self._attempt = secrets.randbits(63)
        self._read = self._rejected = self._checksum = 0
        identity = (manifest.run_id, piece.index, self._attempt)
        self._staging = Chunks(self._stage, *identity)
        self._portions = [Chunks(shape.portion(client, piece.index, self._attempt), *identity) for shape in shaped]
        self._highest = Highest(manifest.explain_rows if shaped else 0, manifest.keys)
        self._seconds = {"read": 0.0, "predict": 0.0, "insert": 0.0}

    def run(self) -> Receipt:
        """Read, predict and write the slice's rows, chunk by chunk.

        Raises:
            DataError: the run is over, and its staging table is gone.
        """
        started = time.time()
        if self._portions:
            # Portions are tables of this attempt alone, which an actor of a run that is over must not create.
            staging.require(self._client, self._manifest)
        waiting: list[pa.Table] = []
        for batch in self._batches():
            waiting.append(self._highest.exchange(self._scored(batch)))
            if sum(part.num_rows for part in waiting) >= self._manifest.chunk_rows:
                self._write(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            self._write(pa.concat_tables(waiting))
        if self._highest.rows is not None:
            with self._timed("insert"):
                self._staging.put(self._highest.rows)
        return self._receipt(started)

    def _receipt(self, started: float) -> Receipt:
        # Each portion got the same rows.
        direct = self._portions[0] if self._portions else None
        return Receipt(
            self._piece.index,
            self._attempt,
            self._read,
            self._staging.rows,
            self._rejected,
            self._checksum,
            self._staging.checksum,
            self._staging.chunks,
            {name: round(value, 4) for name, value in self._seconds.items()},
            started,
            time.time(),
            round(peak_mb(), 1),
            self._tally.to_json(),
            self._sampler.to_json(),
            predictor(self._model),
            direct.rows if direct else 0,
            direct.checksum if direct else 0,
        )

    def _batches(self) -> Iterator[pa.RecordBatch]:
        slicing = self._manifest.slicing
        sql = place(self._manifest.select, slicing, self._piece)
        parameters = {**self._manifest.select_parameters, **slicing.parameters(self._piece)}
        settings = {
            "max_threads": self._threads,
            "max_block_size": min(self._manifest.chunk_rows, batch_rows(self._width)),
            "preferred_block_size_bytes": BATCH_BYTES,
        }
        with self._client.stream(sql, parameters, settings) as (_, batches):
            while True:
                self._going()
                with self._timed("read"):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch

    def _scored(self, batch: pa.RecordBatch) -> pa.Table:
        """Return the batch's keys, carried columns and scores; rows that cannot be published are rejected."""
        hashes = batch.column(KEY_HASH)
        with self._timed("predict"):
            x = matrix(batch.column(MATRIX), self._width)
            inputs = {name: batch.column(name) for name in self._manifest.inputs}
            prediction = answer(self._model, Rows(x, inputs, self._at))
            scores = prediction.scores.astype(np.float32, copy=False)
            self._tally.add(batch, x, scores)
        self._sampler.add(batch, x)
        first = self._read
        self._read += batch.num_rows
        self._checksum = add(self._checksum, hashes)
        table = pa.Table.from_batches([batch.select([*self._manifest.keys, *self._manifest.carry, KEY_HASH])])
        for name, _ in self._manifest.outputs:
            table = table.append_column(name, prediction.columns[name])
        usable = _in_range(scores, self._manifest.score_range) & _keyed(batch, self._manifest.keys)
        if not usable.all():
            self._reject(batch, scores, np.flatnonzero(~usable), first)
        # A copy, too: columns of the batch would keep its matrix in memory until the chunk is staged.
        table, scores = table.filter(pa.array(usable)), scores[usable]
        return table.append_column("score", pa.array(scores))

    def _stage(self, rows: pa.Table, token: str) -> None:
        self._client.insert(self._manifest.staging, rows, token=token, columns=rows.schema.names)

    def _write(self, rows: pa.Table) -> None:
        # The run's tables may be gone by now, and a portion must not come anew.
        self._going()
        with self._timed("insert"):
            for chunks in self._portions or [self._staging]:
                chunks.put(rows)

    def _reject(self, batch: pa.RecordBatch, scores: Scores, positions: npt.NDArray[np.int64], first: int) -> None:
        keys = _shown(batch.select(list(self._manifest.keys)).take(pa.array(positions)))
        rows = []
        for position, key in zip(positions.tolist(), keys, strict=True):
            missing = [name for name, value in key.items() if value is None]
            reason = f"NULL in the key ({', '.join(missing)})" if missing else self._fault(float(scores[position]))
            rows.append(
                {
                    "run_id": self._manifest.run_id,
                    "slice": self._piece.index,
                    # Another attempt may read the rows in another order, so positions count within an attempt.
                    "attempt": self._attempt,
                    "row": first + position,
                    "entity": json.dumps(key, default=str),
                    "reason": reason,
                    "value": repr(float(scores[position])),
                    "rejected_at": datetime.now(UTC),
                }
            )
        self._rejected += len(rows)
        token = content_token(self._manifest.run_id, self._piece.index, self._attempt, "rejected", first)
        self._client.insert_rows("raypipe_rejected_rows", rows, token=token)

    def _fault(self, score: float) -> str:
        if not math.isfinite(score) or self._manifest.score_range is None:
            return "the score is not a finite number"
        low, high = self._manifest.score_range
        return f"the score is outside the range of its kind, {low:g} to {high:g}"

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[stage] += time.perf_counter() - started


def batch_rows(width: int) -> int:
    """Return the rows of a batch with so many columns of the matrix."""
    return min(BATCH_ROWS, max(1, BATCH_BYTES // (4 * max(1, width))))


def _shown(keys: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the keys as values of JSON; a ClickHouse String may be any bytes."""
    columns = [
        [
            None if value is None else value.decode("utf-8", errors="backslashreplace")
            for value in column.cast(pa.binary()).to_pylist()
        ]
        if pa.types.is_string(column.type)
        else column.to_pylist()
        for column in keys.columns
    ]
    return [dict(zip(keys.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]


def _in_range(scores: Scores, score_range: tuple[float, float] | None) -> npt.NDArray[np.bool_]:
    """Return which scores may be published."""
    if score_range is None:
        return np.isfinite(scores)
    # NumPy compares in the scores' own precision, so that a bound such as 0.1 includes the score 0.1.
    return (scores >= score_range[0]) & (scores <= score_range[1])


def _keyed(batch: pa.RecordBatch, keys: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    usable = np.ones(batch.num_rows, dtype=bool)
    for name in keys:
        column = batch.column(name)
        if column.null_count:
            usable &= pc.is_valid(column).to_numpy(zero_copy_only=False)
    return usable


def peak_mb() -> float:
    """Return this process's peak resident memory in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if os.uname().sysname == "Linux" else peak / 1024**2
