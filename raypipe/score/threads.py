"""Score slices on threads of this process, where Ray would only start after the first slices are done.

Reading, predicting and inserting release the interpreter's lock. docs/decisions/0025-one-machine-scores-on-threads.md
has the measurements.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread

from raypipe.artifact.package import load_package
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import machine
from raypipe.data.slices import Slice
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.worker import SliceScorer

# A thread sees between two batches that it has to end. Beyond this it waits for the server, and is left behind.
END_SECONDS = 5.0


class _Ended(Exception):
    """The run needs no more of this thread."""


class _Workers:
    """Threads that take slices from a queue; each has a model and a connection of its own."""

    def __init__(self, endpoint: Endpoint, manifest: Manifest, slices: Sequence[Slice], cpus: int) -> None:
        self._endpoint = endpoint
        self._manifest = manifest
        self._cpus = cpus
        self._slices: SimpleQueue[Slice] = SimpleQueue()
        for piece in slices:
            self._slices.put(piece)
        self.results: SimpleQueue[Receipt | BaseException] = SimpleQueue()
        self._ended = Event()
        self._threads: list[Thread] = []

    def start(self, count: int) -> None:
        """Start the threads; the process does not wait for them when it exits."""
        self._threads = [Thread(target=self._work, name=f"raypipe-score-{i}", daemon=True) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Let the threads end, and wait for those that are not waiting for the server."""
        self._ended.set()
        deadline = time.monotonic() + END_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        try:
            scorer = SliceScorer(self._endpoint, self._manifest, self._cpus, self._require_going)
            with suppress(Empty, _Ended):
                while True:
                    self._require_going()
                    self.results.put(scorer.score(self._slices.get_nowait()))
        except BaseException as error:
            self.results.put(error)

    def _require_going(self) -> None:
        if self._ended.is_set():
            raise _Ended


def warm_up(endpoint: Endpoint, uri: str, sha256: str) -> None:
    """Import a model's library in the background, while the run is planned; it takes a third of a second.

    The threads load the model again, and raise what is wrong with it.
    """

    def load() -> None:
        with suppress(Exception), Client(endpoint) as client:
            load_package(uri, sha256, client, only_scores=True)

    Thread(target=load, name="raypipe-warm-up").start()


@dataclass(frozen=True)
class Threads:
    """The share of this machine that a run may use.

    Attributes:
        largest: the most threads; None for as many as the CPUs hold.
        cpus: CPUs of each thread, which its model and the server's side of its reads use.
        machine: the CPUs of the run; None for all.
    """

    largest: int | None
    cpus: int
    machine: int | None

    def score(self, endpoint: Endpoint, manifest: Manifest, slices: Sequence[Slice]) -> Iterator[Receipt]:
        """Score the slices in parallel and yield each receipt as it comes; the first error ends all threads."""
        count, cpus = self.shares(len(slices))
        workers = _Workers(endpoint, manifest, slices, cpus)
        try:
            workers.start(count)
            for _ in slices:
                result = workers.results.get()
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            workers.end()

    def shares(self, slices: int) -> tuple[int, int]:
        """Return the number of threads for some slices, and the CPUs of each; few slices get more CPUs each."""
        available = self.machine or machine.cpus()
        most = self.largest or max(1, available // self.cpus)
        count = min(slices, most)
        return count, max(self.cpus, min(available, most * self.cpus) // count)
