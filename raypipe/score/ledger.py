"""The ledger: one row per finished slice, with its receipt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client, content_token
from raypipe.clickhouse.statements import identifier
from raypipe.models.model import COMPILED, LIBRARY
from raypipe.score import portions
from raypipe.score.manifest import Manifest
from raypipe.score.portions import Attempt

UINT64 = 1 << 64
# Named here, so that no row of the ledger asks the server for the types.
_SLICES = pa.schema(
    [
        ("run_id", pa.string()),
        ("slice", pa.uint32()),
        ("rows_read", pa.uint64()),
        ("rows_scored", pa.uint64()),
        ("rows_rejected", pa.uint64()),
        ("checksum", pa.uint64()),
        ("chunks", pa.uint32()),
        ("receipt", pa.string()),
    ]
)


@dataclass(frozen=True)
class Receipt:
    """An actor's report of a finished slice.

    Attributes:
        attempt: a random number in the slice's staged rows; rows of other attempts do not count.
        rows_staged: rows with a score that are in staging.
        rows_rejected: rows that could not be scored or have no key.
        checksum: the sum of the read rows' key hashes, modulo 2^64.
        staged_checksum: the sum over the staged rows.
        seconds: wall seconds spent on `read`, `predict` and `insert`.
        started_at: seconds since 1970, as is finished_at.
        histograms: counts per bin of the features (of a sample) and of the scores.
        fingerprints: those of a sample of the rows, for `raypipe audit`; empty without rows.
        rows_direct: rows with a score that are in a portion of each target.
        direct_checksum: the sum over these rows.
        predictor: `compiled` for compiled trees, or `library`.
    """

    slice: int
    attempt: int
    rows_read: int
    rows_staged: int
    rows_rejected: int
    checksum: int
    staged_checksum: int
    chunks: int
    seconds: Mapping[str, float]
    started_at: float
    finished_at: float
    peak_mb: float
    histograms: Mapping[str, Any] = field(default_factory=dict)
    fingerprints: Mapping[str, Any] = field(default_factory=dict)
    predictor: str = LIBRARY
    rows_direct: int = 0
    direct_checksum: int = 0

    @property
    def rows_scored(self) -> int:
        """Return the number of rows with a score."""
        return self.rows_staged + self.rows_direct

    @property
    def scored_checksum(self) -> int:
        """Return the sum of the key hashes of the rows with a score, modulo 2^64."""
        return (self.staged_checksum + self.direct_checksum) % UINT64

    def to_json(self) -> str:
        """Return the receipt as JSON text."""
        # Not asdict, which copies each of the thousands of counts.
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> Receipt:
        """Read the text of `to_json`."""
        return cls(**json.loads(text))


def record(client: Client, run_id: str, receipt: Receipt) -> None:
    """Write a finished slice, at the server's time; writing it twice leaves one row."""
    row = {
        "run_id": run_id,
        "slice": receipt.slice,
        "rows_read": receipt.rows_read,
        "rows_scored": receipt.rows_scored,
        "rows_rejected": receipt.rows_rejected,
        "checksum": receipt.checksum,
        "chunks": receipt.chunks,
        "receipt": receipt.to_json(),
    }
    rows = pa.Table.from_pylist([row], _SLICES)
    client.insert("raypipe_slices", rows, token=content_token(run_id, row["receipt"]), columns=_SLICES.names)


def receipts(client: Client, run_id: str) -> list[Receipt]:
    """Return the receipts of a run's finished slices, in the order of the slices."""
    rows = client.rows(
        "SELECT receipt FROM raypipe_slices FINAL WHERE run_id = {run_id:String} ORDER BY slice", {"run_id": run_id}
    )
    return [Receipt.from_json(row[0]) for row in rows]


@dataclass(frozen=True)
class StagedSlice:
    """The rows of one attempt at a slice that stand in staging, and in the portion of each target."""

    rows: int = 0
    chunks: int = 0
    checksum: int = 0
    portions: tuple[int, ...] = ()


def staged(client: Client, manifest: Manifest) -> dict[Attempt, StagedSlice]:
    """Count the staged rows, the chunks, the key checksum and the rows of the portions by attempt."""
    rows = client.rows(
        "SELECT slice, attempt, count(), uniqExact(chunk), sum(key_hash)"
        f" FROM {identifier(manifest.staging)} GROUP BY slice, attempt"
    )
    staged = {(piece, attempt): StagedSlice(*counts) for piece, attempt, *counts in rows}
    direct = {
        attempt: replace(staged.get(attempt, StagedSlice()), portions=counts)
        for attempt, counts in portions.counted(client, manifest).items()
    }
    return {**staged, **direct}


def reconcile(client: Client, manifest: Manifest) -> list[Receipt]:
    """Return the receipts that the data confirms; drop what stands of the other slices, to be scored again.

    The data is the truth: the server forgets insert tokens, and an interrupted slice may leave only its ledger row.
    A run that the library has to score keeps no slice of compiled trees.
    """
    counts = staged(client, manifest)
    written = receipts(client, manifest.run_id)
    if not manifest.compiled:
        written = [receipt for receipt in written if receipt.predictor != COMPILED]
    good = [receipt for receipt in written if confirms(counts.get((receipt.slice, receipt.attempt)), receipt)]
    kept = {receipt.slice for receipt in good}
    for piece in sorted({piece for piece, _ in counts} - kept):
        for shard in sharding.shards(client):
            shard.run(f"ALTER TABLE {identifier(manifest.staging)} DROP PARTITION {piece}")
    if manifest.direct:
        portions.drop_others(client, manifest, {(receipt.slice, receipt.attempt) for receipt in good})
    return good


def confirms(counted: StagedSlice | None, receipt: Receipt) -> bool:
    """Return whether staging, and the portion of each target, hold exactly the rows of the receipt."""
    counted = counted or StagedSlice()
    expected = StagedSlice(receipt.rows_staged, receipt.chunks, receipt.staged_checksum, counted.portions)
    return counted == expected and all(rows == receipt.rows_direct for rows in counted.portions or (0,))


def attempts(written: Sequence[Receipt]) -> list[int]:
    """Return the attempts whose rows count."""
    return [receipt.attempt for receipt in written]
