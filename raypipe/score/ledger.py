"""The ledger: a row a finished slice, and the receipt that says how it was scored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from raypipe.clickhouse.client import Client, content_token
from raypipe.score.manifest import Manifest

UINT64 = 1 << 64


@dataclass(frozen=True)
class Receipt:
    """What an actor reports of a slice that it finished.

    Attributes:
        attempt: a random number that the slice's staged rows carry; rows of other attempts do not count.
        rows_read: rows that the slice's query yielded.
        rows_staged: rows with a score, now in staging.
        rows_rejected: rows that could not be scored or have no key.
        checksum: the sum of the read rows' key hashes, modulo 2^64.
        staged_checksum: the same over the staged rows.
        chunks: the number of inserts.
        seconds: wall seconds spent on `read`, `predict` and `insert`.
        started_at: when the slice began, seconds since 1970.
        finished_at: when it was complete.
        peak_mb: the actor's peak resident memory so far.
        histograms: counts per bin of the features (of a sample) and of the scores.
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

    def to_json(self) -> str:
        """The receipt as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Receipt:
        """The receipt that `to_json` wrote."""
        return cls(**json.loads(text))


LEDGER = pa.schema(
    [
        ("run_id", pa.string()),
        ("slice", pa.uint32()),
        ("rows_read", pa.uint64()),
        ("rows_scored", pa.uint64()),
        ("rows_rejected", pa.uint64()),
        ("checksum", pa.uint64()),
        ("chunks", pa.uint32()),
        ("receipt", pa.string()),
        ("completed_at", pa.timestamp("us", tz="UTC")),
    ]
)


def record(client: Client, run_id: str, receipt: Receipt) -> None:
    """Writes a finished slice down; writing it twice leaves one row."""
    row = {
        "run_id": run_id,
        "slice": receipt.slice,
        "rows_read": receipt.rows_read,
        "rows_scored": receipt.rows_staged,
        "rows_rejected": receipt.rows_rejected,
        "checksum": receipt.checksum,
        "chunks": receipt.chunks,
        "receipt": receipt.to_json(),
        "completed_at": datetime.now(UTC),
    }
    data = pa.Table.from_pylist([row], schema=LEDGER)
    client.insert("raypipe_slices", data, token=content_token(run_id, row["receipt"]), columns=LEDGER.names)


def receipts(client: Client, run_id: str) -> list[Receipt]:
    """The receipts of a run's finished slices, in the order of the slices."""
    rows = client.rows(
        "SELECT receipt FROM raypipe_slices FINAL WHERE run_id = {run_id:String} ORDER BY slice", {"run_id": run_id}
    )
    return [Receipt.from_json(row[0]) for row in rows]


@dataclass(frozen=True)
class Staged:
    """What staging holds of one attempt at a slice."""

    rows: int
    chunks: int
    checksum: int


def staged(client: Client, manifest: Manifest) -> dict[tuple[int, int], Staged]:
    """What the data itself says: staged rows, chunks and key checksum by (slice, attempt)."""
    rows = client.rows(
        "SELECT slice, attempt, count(), uniqExact(chunk), sum(key_hash)"
        f" FROM {client.topology.everywhere(manifest.staging)} GROUP BY slice, attempt"
    )
    return {(piece, attempt): Staged(count, chunks, checksum) for piece, attempt, count, chunks, checksum in rows}


def reconcile(client: Client, manifest: Manifest) -> list[Receipt]:
    """The receipts that the staged data confirms; what does not match is dropped, to be done again.

    The data is the truth: an insert token is forgotten after a while, a ledger row may be all that an
    interrupted slice left behind.
    """
    found = staged(client, manifest)
    written = receipts(client, manifest.run_id)
    good = [receipt for receipt in written if confirms(found.get((receipt.slice, receipt.attempt)), receipt)]
    kept = {receipt.slice for receipt in good}
    for piece in sorted({piece for piece, _ in found} - kept):
        sql, settings = client.topology.drop_partition(manifest.staging, piece)
        client.run(sql, settings=settings)
    return good


def confirms(found: Staged | None, receipt: Receipt) -> bool:
    """Whether staging holds exactly what the receipt says."""
    expected = Staged(receipt.rows_staged, receipt.chunks, receipt.staged_checksum)
    return (found or Staged(0, 0, 0)) == expected


def attempts(written: Sequence[Receipt]) -> list[int]:
    """The attempts whose rows count."""
    return [receipt.attempt for receipt in written]
