"""Nights of a small publisher on two replicas, judged on each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raypipe.clickhouse import cluster_checks, replication
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.errors import RaypipeError
from raypipe.score import runs
from raypipe.score.manifest import Manifest
from tests.cluster.conftest import Replicas
from tests.cluster.equality import compare
from tests.conftest import FittedPublisher
from tests.faults.actors import awaited
from tests.faults.few import Night
from tests.faults.nights import TARGETS
from tests.faults.oracle import own_tables
from tests.faults.small import small_publisher

# Replicas of tests follow at once, or not at all; once Keeper is back, they need up to a minute for a new session.
WAIT_SECONDS = 10
KEEPER_SECONDS = 90


@dataclass(frozen=True)
class TwoNights:
    """One publisher, seen and scored through each of two replicas.

    Attributes:
        replicas: the nodes.
        artifacts: the folder of its champion.
    """

    replicas: Replicas
    artifacts: Path

    def endpoint(self, number: int, **changes: Any) -> Endpoint:
        """Return a replica's endpoint, with other settings where the test wants them."""
        return replace(self.replicas.nodes[number - 1], **{"wait_seconds": WAIT_SECONDS, **changes})

    @contextmanager
    def through(self, number: int, **changes: Any) -> Iterator[Night]:
        """Yield the night of a replica."""
        endpoint = self.endpoint(number, **changes)
        with Client(endpoint) as client:
            yield Night(FittedPublisher(endpoint, self.artifacts), client)

    def resumed(self, number: int, run_id: str, **changes: Any) -> Manifest:
        """Resume a run through a replica as `raypipe resume` does, and return its manifest."""
        with self.through(number, wait_seconds=KEEPER_SECONDS, **changes) as night:
            cluster_checks.require_usable(night.client)
            manifest = Manifest.from_json(night.find(run_id).manifest)
            night.run(manifest, take_over=True)
            return manifest

    def assert_exact(self, run: str) -> None:
        """Assert that each replica shows the population once, all of this run, and that both are equal by key."""
        for number in (1, 2):
            with self.through(number) as night:
                replication.catch_up(night.client)
                night.assert_exact(run)
                # A node that was down runs what it missed a moment after it answers.
                awaited(lambda client=night.client: not own_tables(client), "own tables dropped")
        with self.through(1) as one, self.through(2) as other:
            comparison = compare(one.client, other.client, TARGETS)
        assert comparison.differences == {}
        assert min(comparison.keys.values()) > 0

    def seen(self, number: int) -> dict[str, int]:
        """Return the rows of the day by run that readers of a replica's views see."""
        with self.through(number) as night:
            return night.seen()

    def empty(self) -> None:
        """Forget every run on both replicas."""
        with self.through(1, wait_seconds=KEEPER_SECONDS) as night:
            cluster_checks.require_usable(night.client)
            for table in own_tables(night.client):
                night.client.run(night.client.topology.drop(table))
            for table in ("raypipe_runs", "raypipe_slices", "raypipe_rejected_rows", "ml_model_monitoring", *TARGETS):
                night.client.run(f"TRUNCATE TABLE {table}")
        with self.through(2) as other:
            replication.catch_up(other.client)


def failed(night: Night, manifest: Manifest) -> str:
    """Run to its failure, and return the error's text."""
    try:
        night.run(manifest)
    except RaypipeError as error:
        return str(error)
    raise AssertionError("the run did not fail")


def publisher_on(replicas: Replicas, folder: Path) -> TwoNights:
    """Create the small publisher on both replicas."""
    made = small_publisher(replicas.first, replicas.first.database, folder)
    return TwoNights(replicas, made.artifacts)


def status(night: Night, manifest: Manifest) -> str:
    """Return the status of a run in the ledger."""
    return runs.find(night.client, manifest.run_id).status
