"""Slices over a pool of Ray actors; nothing but slices and receipts crosses the object store.

Plain actors instead of a Ray Data dataset: docs/decisions/0008-scoring-pool.md has the measurement.
"""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError

from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster.runtime import node_cpus, plain_errors, room
from raypipe.data.slices import Slice
from raypipe.errors import ModelError, UsageError
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.worker import SliceScorer


@dataclass(frozen=True)
class PoolSize:
    """How many actors score, and what each may use.

    Attributes:
        largest: actors at most; None for as many as the cluster's CPUs hold. Beyond that they wait, and an
            autoscaling cluster grows for them.
        cpus: CPUs an actor reserves, and threads its model uses.
        restarts: how often an actor may die and a slice be repeated before the run fails.
    """

    largest: int | None
    cpus: int
    restarts: int


class _Actor:
    """Loads the model at its first call, so that what goes wrong there is raised like any other error."""

    def __init__(self, endpoint: Endpoint, manifest: str, cpus: int) -> None:
        self._endpoint = endpoint
        self._manifest = manifest
        self._cpus = cpus
        self._loaded: SliceScorer | None = None

    def ready(self) -> None:
        """Loads and checks the model."""
        self._scorer()

    def score(self, piece: Slice) -> str:
        """Scores a slice; the receipt as JSON."""
        return self._scorer().score(piece).to_json()

    def _scorer(self) -> SliceScorer:
        if self._loaded is None:
            try:
                self._loaded = SliceScorer(self._endpoint, Manifest.from_json(self._manifest), self._cpus)
            except ModelError as error:
                # The driver has read the artifact: what is wrong with it may be so on this machine alone.
                error.problem = f"{error.problem}, on the node {platform.node()}"
                raise
        return self._loaded


def score_slices(endpoint: Endpoint, manifest: Manifest, slices: Iterable[Slice], size: PoolSize) -> Iterator[Receipt]:
    """Scores the slices in parallel and yields each receipt as it comes.

    Raises:
        UsageError: an actor needs more CPUs than the cluster has.
        RaypipeError: what an actor met and could not repeat.
    """
    queue = deque(slices)
    count = _actors(len(queue), size)
    actor = ray.remote(_Actor).options(num_cpus=size.cpus, max_restarts=size.restarts, max_task_retries=size.restarts)
    pool: list[Any] = [actor.remote(endpoint, manifest.to_json(), size.cpus) for _ in range(count)]
    # An actor gets a slice when it is ready: one that waits for its node keeps no slice waiting.
    working = {one.ready.remote(): one for one in pool}
    scoring = 0
    try:
        while queue or scoring:
            with plain_errors(), _named_deaths(size):
                (done,), _ = ray.wait(list(working), num_returns=1)
                receipt = ray.get(done)
            free = working.pop(done)
            scoring -= receipt is not None
            if queue:
                working[free.score.remote(queue.popleft())] = free
                scoring += 1
            else:
                # Its CPUs, and on an autoscaling cluster its node, are not needed any more.
                ray.kill(free)
            if receipt is not None:
                yield Receipt.from_json(receipt)
    finally:
        for one in pool:
            ray.kill(one)


@contextmanager
def _named_deaths(size: PoolSize) -> Iterator[None]:
    try:
        yield
    except (RayActorError, OutOfMemoryError) as error:
        raise ModelError(
            f"A scoring actor died more than {size.restarts} times (score.actors.restarts)",
            found=" ".join(str(error).split()),
            next_step="an actor that runs out of memory needs fewer actors (score.actors.max) or smaller chunks"
            " (score.chunk_rows); then finish the run with `raypipe resume`",
        ) from error


def _actors(slices: int, size: PoolSize) -> int:
    nodes = node_cpus(size.cpus)
    fitting = room(nodes, size.cpus)
    if fitting < 1:
        raise UsageError(
            "A scoring actor asks for more CPUs than a node of Ray has",
            found=f"score.actors.cpus = {size.cpus}",
            allowed=f"at most {max(nodes)}",
        )
    return max(1, min(slices, size.largest or fitting))
