"""Score slices on a pool of Ray actors; only the manifest, slices and receipts cross the object store.

docs/decisions/0008-scoring-pool.md measures why these are plain actors and not a Ray Data dataset.
"""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError

from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster.connection import node_cpus, room
from raypipe.cluster.worker_errors import plain_errors
from raypipe.data.slices import Slice
from raypipe.errors import ModelError, UsageError
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.worker import SliceScorer


@dataclass(frozen=True)
class PoolSize:
    """The number of scoring actors and their resources.

    Attributes:
        largest: the most actors. Those beyond the cluster's CPUs wait, and an autoscaling cluster grows for them. None
            for as many as the CPUs hold, those of nodes that join during the run included.
        cpus: CPUs that an actor reserves, and threads that its model uses.
        restarts: how often an actor may die and a slice be repeated before the run fails.
    """

    largest: int | None
    cpus: int
    restarts: int


class ScoringActor:
    """Loads the model at its first call, so that a failure there is raised like any other error."""

    def __init__(self, endpoint: Endpoint, cpus: int) -> None:
        self._endpoint = endpoint
        self._cpus = cpus
        self._loaded: SliceScorer | None = None

    def ready(self, manifest: str) -> None:
        """Load and check the model."""
        self._scorer(manifest)

    def score(self, manifest: str, piece: Slice) -> str:
        """Score a slice and return the receipt as JSON."""
        return self._scorer(manifest).score(piece).to_json()

    def _scorer(self, manifest: str) -> SliceScorer:
        if self._loaded is None:
            try:
                self._loaded = SliceScorer(self._endpoint, Manifest.from_json(manifest), self._cpus)
            except ModelError as error:
                # The driver has read the same artifact, so the fault may be this machine's.
                error.problem = f"{error.problem}, on the node {platform.node()}"
                raise
        return self._loaded


class Pool:
    """A pool of actors for one run. Their processes start at once, while the run is still planned.

    Raises:
        UsageError: an actor needs more CPUs than a node has.
    """

    def __init__(self, endpoint: Endpoint, size: PoolSize) -> None:
        self._endpoint = endpoint
        self._size = size
        fitting = _fitting(size)
        self._actors = [self._actor() for _ in range(min(fitting, size.largest or fitting))]

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all actors."""
        self._end(self._actors)

    def score(self, manifest: Manifest, slices: Sequence[Slice]) -> Iterator[Receipt]:
        """Score the slices in parallel and yield each receipt as it comes.

        Raises:
            RaypipeError: an actor failed for a reason that does not pass.
        """
        queue = deque(slices)
        # No slice is left for these.
        self._end(self._actors[len(queue) :])
        shared = ray.put(manifest.to_json())
        # An actor gets a slice when it is ready, so that an actor without a node delays no slice.
        named = f"{manifest.pipeline} {manifest.date}"
        # Ray's dashboard and the processes of actors show these names.
        loading = {"name": f"{ScoringActor.__name__}: load the model of {named}"}
        working = {actor.ready.options(**loading).remote(shared): actor for actor in self._actors}
        scoring = 0
        while queue or scoring:
            getting_ready = len(working) - scoring
            grown = self._grown(len(queue) - getting_ready)
            working |= {actor.ready.options(**loading).remote(shared): actor for actor in grown}
            with plain_errors(), _named_deaths(self._size):
                (done,), _ = ray.wait(list(working), num_returns=1)
                receipt = ray.get(done)
            free = working.pop(done)
            scoring -= receipt is not None
            if queue:
                piece = queue.popleft()
                task = free.score.options(name=f"{ScoringActor.__name__}: score {named}, slice {piece.index}")
                working[task.remote(shared, piece)] = free
                scoring += 1
            else:
                # Frees its CPUs, and on an autoscaling cluster its node.
                self._end([free])
            if receipt is not None:
                yield Receipt.from_json(receipt)

    def _grown(self, slices: int) -> Sequence[Any]:
        """Start actors for nodes that have joined, and actors for which a cluster has to grow; return them."""
        wanted = self._size.largest or room(node_cpus(self._size.cpus), self._size.cpus)
        actors = [self._actor() for _ in range(min(slices, wanted - len(self._actors)))]
        self._actors += actors
        return actors

    def _end(self, actors: Sequence[Any]) -> None:
        for actor in actors:
            ray.kill(actor)
        self._actors = [actor for actor in self._actors if actor not in actors]

    def _actor(self) -> Any:
        size = self._size
        kind = ray.remote(ScoringActor).options(
            num_cpus=size.cpus, max_restarts=size.restarts, max_task_retries=size.restarts
        )
        return kind.remote(self._endpoint, size.cpus)


@contextmanager
def _named_deaths(size: PoolSize) -> Iterator[None]:
    try:
        yield
    except (RayActorError, OutOfMemoryError) as error:
        raise ModelError(
            f"A scoring actor died more than {size.restarts} times (score.actors.restarts)",
            found=" ".join(str(error).split()),
            next_step="if it ran out of memory, use fewer actors (score.actors.max) or smaller chunks"
            " (score.chunk_rows); then finish the run with `raypipe resume`",
        ) from error


def _fitting(size: PoolSize) -> int:
    """Return the number of actors that the nodes hold."""
    nodes = node_cpus(size.cpus)
    fitting = room(nodes, size.cpus)
    if fitting < 1:
        raise UsageError(
            "A scoring actor needs more CPUs than a Ray node has",
            found=f"score.actors.cpus = {size.cpus}",
            allowed=f"at most {max(nodes)}",
        )
    return fitting
