"""Scoring a matrix a chunk at a time, on several threads, with the same scores whatever their number."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

# What a library copies of a chunk of some tens of columns stays in the processor's caches.
CHUNK_ROWS = 8192


def in_chunks(rows: int, threads: int, work: Callable[[slice], None]) -> None:
    """Calls `work` with the slices that cover `rows`, from up to `threads` threads; 0 means all cores.

    Rows are spread over threads, not the sum within a row: a score never depends on how many there are.
    """
    pieces = [slice(start, min(start + CHUNK_ROWS, rows)) for start in range(0, rows, CHUNK_ROWS)]
    workers = min(threads or os.cpu_count() or 1, len(pieces))
    if workers <= 1:
        for piece in pieces:
            work(piece)
        return
    with ThreadPoolExecutor(workers) as pool:
        # The list waits for all of them and raises what the first one raised.
        list(pool.map(work, pieces))
