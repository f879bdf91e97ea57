"""Write an attempt's rows into one table, a chunk per request, and count them."""

import zlib
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.artifact.contract import KEY_HASH
from raypipe.clickhouse.client import content_token
from raypipe.clickhouse.inserts import in_halves
from raypipe.score.ledger import UINT64

# Inserts a chunk's rows under a token.
Insert = Callable[[pa.Table, str], None]


class Chunks:
    """The chunks of an attempt at a slice in one table.

    Args:
        insert: repeats itself after errors that pass; the token makes that harmless.
        identity: names the run, the slice and the attempt in each token.
    """

    def __init__(self, insert: Insert, run_id: str, piece: int, attempt: int) -> None:
        self._insert = insert
        self._identity = (run_id, piece, attempt)
        self._columns = {
            "slice": pa.scalar(piece, pa.uint32()),
            "chunk": pa.scalar(0, pa.uint32()),
            "attempt": pa.scalar(attempt, pa.uint64()),
        }
        self.chunks = self.rows = self.checksum = 0

    def put(self, rows: pa.Table) -> None:
        """Insert a chunk; where the server is short of memory, insert halves under tokens of their own."""
        if rows.num_rows:
            in_halves(rows, self._put)

    def _put(self, rows: pa.Table) -> None:
        count = rows.num_rows
        token = content_token(*self._identity, self.chunks, count, _checksum(rows.drop_columns([KEY_HASH])))
        self._insert(self._full(rows), token)
        self.chunks += 1
        self.rows += count
        self.checksum = add(self.checksum, rows.column(KEY_HASH))

    def _full(self, rows: pa.Table) -> pa.Table:
        full = rows.drop_columns([KEY_HASH])
        columns = {**self._columns, "chunk": pa.scalar(self.chunks, pa.uint32())}
        for name, value in columns.items():
            full = full.append_column(name, pa.repeat(value, rows.num_rows))
        return full


def add(total: int, hashes: pa.Array | pa.ChunkedArray) -> int:
    """Add key hashes to a checksum modulo 2^64; NumPy's sum wraps as ClickHouse's does."""
    values = pc.fill_null(hashes, 0).to_numpy()
    return (total + int(np.sum(values, dtype=np.uint64))) % UINT64


def _checksum(rows: pa.Table) -> int:
    """Return the CRC-32 of a chunk's content, for its deduplication token.

    The attempt's random number keeps tokens apart. This tells only whether a request that is sent again has the same
    rows, in a third of the time that a cryptographic hash takes.
    """
    total = 0
    for column in rows.columns:
        for chunk in column.chunks:
            for buffer in chunk.buffers():
                if buffer is not None:
                    total = zlib.crc32(buffer, total)
    return total
