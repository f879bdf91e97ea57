"""Return freed memory to the system, so that a process holds only what it works on."""

import ctypes
import gc
from contextlib import suppress

import pyarrow as pa

# mallopt's number of this option in glibc's malloc.h.
_M_MMAP_THRESHOLD = -3
# Batches stay below it: clearing new pages for each of them would cost a tenth of the run. By default glibc raises the
# threshold to the size of what was freed, up to 32 MB, and keeps more the longer it runs.
_RETURNED_FROM = 12 << 20


def return_freed_memory() -> None:
    """Let the largest arrays have pages of their own, which are returned when they are freed.

    Arrow's and glibc's allocators otherwise keep some 50 MB per thread. Other C libraries keep their ways.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _RETURNED_FROM)


def give_back() -> None:
    """Return all freed memory, as between two pipelines: the next one needs its own at once, not in addition."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
