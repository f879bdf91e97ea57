"""A head start: slices that the command scores itself while a local Ray is still starting."""

from __future__ import annotations

import threading
from collections import deque

from raypipe.clickhouse.client import Endpoint
from raypipe.data.slices import Slice
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.worker import SliceScorer

# A slice takes seconds; a command that is interrupted does not wait longer than this for it.
PATIENCE_SECONDS = 30.0


class HeadStart:
    """Takes slices from a queue in threads until it is stopped or none is left.

    Args:
        endpoint: the ClickHouse of the run.
        manifest: the run.
        queue: the slices that nobody has taken yet; others may take from it, too.
        threads: how many; each scores a slice at a time.
    """

    def __init__(self, endpoint: Endpoint, manifest: Manifest, queue: deque[Slice], threads: int) -> None:
        self._endpoint = endpoint
        self._manifest = manifest
        self._queue = queue
        self._stopped = threading.Event()
        self._receipts: deque[Receipt] = deque()
        self._error: BaseException | None = None
        # Daemons: a server that never answers must not keep an interrupted command from ending.
        self._threads = [threading.Thread(target=self._run, name="head-start", daemon=True) for _ in range(threads)]

    def start(self) -> None:
        """Begins, and returns at once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Lets the slices at hand be finished and none be taken after them; returns at once."""
        self._stopped.set()

    def wait(self, seconds: float | None = None) -> None:
        """Waits until no slice is at hand any more, for so long with each thread."""
        for thread in self._threads:
            thread.join(seconds)

    def receipts(self) -> list[Receipt]:
        """The receipts since the last call.

        Raises:
            RaypipeError: what went wrong in a thread.
        """
        found = [self._receipts.popleft() for _ in range(len(self._receipts))]
        if self._error is not None:
            raise self._error
        return found

    def _run(self) -> None:
        try:
            scorer = SliceScorer(self._endpoint, self._manifest, threads=1)
            while not self._stopped.is_set() and self._queue:
                try:
                    piece = self._queue.popleft()
                except IndexError:
                    # Somebody else took the last one.
                    return
                self._receipts.append(scorer.score(piece))
        except BaseException as error:
            self._error = error
            self.stop()
