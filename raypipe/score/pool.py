"""Slices over a pool of Ray actors; nothing but slice numbers and receipts crosses the object store."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray.data
from ray.data import ActorPoolStrategy
from ray.util.annotations import RayDeprecationWarning

from raypipe.clickhouse.client import Endpoint
from raypipe.data.slices import Slice
from raypipe.errors import UsageError
from raypipe.runtime import cluster_cpus, plain_errors
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.worker import SliceScorer


@dataclass(frozen=True)
class PoolSize:
    """How many actors score, and what each may use.

    Attributes:
        smallest: actors that are kept at least.
        largest: actors at most; None for as many as the cluster's CPUs allow.
        cpus: CPUs an actor reserves, and threads its model uses.
        restarts: how often an actor may die and a slice be repeated before the run fails.
    """

    smallest: int
    largest: int | None
    cpus: int
    restarts: int


class _Actor:
    def __init__(self, endpoint: Endpoint, manifest: str, cpus: int) -> None:
        self._manifest = Manifest.from_json(manifest)
        self._scorer = SliceScorer(endpoint, self._manifest, cpus)
        self._slices = {piece.index: piece for piece in self._manifest.slicing.slices}

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return {"receipt": [self._scorer.score(self._slices[int(index)]).to_json() for index in batch["slice"]]}


def score_slices(endpoint: Endpoint, manifest: Manifest, slices: Sequence[Slice], size: PoolSize) -> Iterator[Receipt]:
    """Scores the slices in parallel and yields each receipt as it comes.

    Raises:
        UsageError: an actor needs more CPUs than the cluster has.
        RaypipeError: what an actor met and could not repeat.
    """
    if not slices:
        return
    count = _actors(len(slices), size)
    items = ray.data.from_items([{"slice": piece.index} for piece in slices], override_num_blocks=len(slices))
    with warnings.catch_warnings():
        # The bounds on restarts have no parameters of their own yet, and Ray warns of the way to pass them. Without
        # them an actor restarts for ever, so one that always runs out of memory would keep a run alive till morning.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        dataset = items.map_batches(
            _Actor,
            fn_constructor_args=(endpoint, manifest.to_json(), size.cpus),
            batch_size=1,
            batch_format="numpy",
            compute=ActorPoolStrategy(
                min_size=min(size.smallest, count), max_size=count, initial_size=count, max_tasks_in_flight_per_actor=2
            ),
            num_cpus=size.cpus,
            max_restarts=size.restarts,
            max_task_retries=size.restarts,
        )
    with plain_errors():
        for row in dataset.iter_rows():
            yield Receipt.from_json(row["receipt"])


def _actors(slices: int, size: PoolSize) -> int:
    cpus = cluster_cpus()
    fitting = cpus // size.cpus
    if fitting < 1:
        raise UsageError(
            "A scoring actor asks for more CPUs than Ray has",
            found=f"score.actors.cpus = {size.cpus}",
            allowed=f"at most {cpus}",
        )
    return max(1, min(slices, fitting, size.largest or fitting))
