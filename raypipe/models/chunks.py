"""Score a matrix in chunks on several threads; the scores do not depend on the number of threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

# A library's copies of a chunk with some tens of columns stay in the processor's caches.
CHUNK_ROWS = 8192


def in_chunks(rows: int, threads: int, work: Callable[[slice], None]) -> None:
    """Call `work` with slices that cover `rows`, on up to `threads` threads; 0 means all cores.

    Threads share the rows and never the sum within a row, so that scores do not depend on their number.
    """
    pieces = [slice(start, min(start + CHUNK_ROWS, rows)) for start in range(0, rows, CHUNK_ROWS)]
    workers = min(threads or os.cpu_count() or 1, len(pieces))
    if workers <= 1:
        for piece in pieces:
            work(piece)
        return
    with ThreadPoolExecutor(workers) as pool:
        # The list waits for all chunks, and raises the first error.
        list(pool.map(work, pieces))
