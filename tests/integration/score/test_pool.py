"""Test the pool of scoring actors on a real Ray."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
import ray

from raypipe.artifact.package import load_card
from raypipe.clickhouse.client import Client
from raypipe.cluster import runtime
from raypipe.config.load import load_pipeline
from raypipe.errors import ModelError, UsageError
from raypipe.project import shipped
from raypipe.registry import models
from raypipe.score import prepare, staging
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.pool import Pool, PoolSize
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher

pytestmark = pytest.mark.usefixtures("ray_session")

SIZE = PoolSize(largest=None, cpus=1, restarts=1)


@pytest.fixture
def manifest(fitted_publisher: FittedPublisher) -> Iterator[Manifest]:
    """A run that is planned, with its staging table; nothing is scored yet."""
    loaded = load_pipeline("churn", shipped() / "configs", fitted_publisher.overrides, environ={})
    with Client(fitted_publisher.endpoint) as client:
        people = prepare.population(client, loaded, PUBLISHER_LAST_DATE)
        model = models.find(client, "churn", "champion")
        card = load_card(model.artifact_uri, model.artifact_sha256, client)
        planned = prepare.manifest(client, loaded, model, card, people, write=True)
        staging.create(client, planned)
        try:
            yield planned
        finally:
            staging.drop(client, planned)


def scored(publisher: FittedPublisher, manifest: Manifest, size: PoolSize = SIZE) -> list[Receipt]:
    """Score all slices on a pool of this size."""
    with Pool(publisher.endpoint, size) as pool:
        return list(pool.score(manifest, manifest.slicing.slices))


def _cpus_come_back() -> bool:
    """Whether the actors give their CPUs back; Ray tells a moment later."""
    tick = threading.Event()
    for _ in range(100):
        if ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"]:
            return True
        tick.wait(0.1)
    return False


def test_every_slice_is_scored_once(fitted_publisher: FittedPublisher, manifest: Manifest) -> None:
    slices = manifest.slicing.slices
    receipts = scored(fitted_publisher, manifest)
    assert sorted(receipt.slice for receipt in receipts) == [piece.index for piece in slices]
    assert sum(receipt.rows_read for receipt in receipts) == manifest.source_rows


def test_one_actor_scores_them_all_when_there_may_be_only_one(
    fitted_publisher: FittedPublisher, manifest: Manifest
) -> None:
    receipts = scored(fitted_publisher, manifest, replace(SIZE, largest=1))
    times = sorted((receipt.started_at, receipt.finished_at) for receipt in receipts)
    assert all(before[1] <= after[0] for before, after in pairwise(times))


def test_more_actors_than_the_cpus_hold_do_not_keep_a_run_waiting(
    fitted_publisher: FittedPublisher, manifest: Manifest
) -> None:
    slices = manifest.slicing.slices
    receipts = scored(fitted_publisher, manifest, replace(SIZE, largest=len(slices)))
    assert len(receipts) == len(slices)


def test_an_actor_that_cannot_load_its_model_says_why(fitted_publisher: FittedPublisher, manifest: Manifest) -> None:
    changed = replace(manifest, artifact_sha256="0" * 64)
    # On a cluster the folder of artifacts may be missing on one node alone.
    with pytest.raises(ModelError, match=f"is not there, on the node {platform.node()}"):
        scored(fitted_publisher, changed)
    assert _cpus_come_back()


def test_an_actor_asking_for_more_cpus_than_there_are_is_refused(
    fitted_publisher: FittedPublisher, manifest: Manifest
) -> None:
    with pytest.raises(UsageError, match="more CPUs than a Ray node has"):
        scored(fitted_publisher, manifest, replace(SIZE, cpus=1000))


def test_a_pool_starts_its_actors_before_it_has_slices_and_ends_those_that_no_slice_is_left_for(
    fitted_publisher: FittedPublisher, manifest: Manifest
) -> None:
    with Pool(fitted_publisher.endpoint, SIZE) as pool:
        assert len(pool._actors) == ray.cluster_resources()["CPU"] > 1
        first, *_ = manifest.slicing.slices
        assert [receipt.slice for receipt in pool.score(manifest, [first])] == [first.index]
        assert pool._actors == []
        # A second run on the same pool.
        assert len(list(pool.score(manifest, manifest.slicing.slices))) == len(manifest.slicing.slices)
    assert _cpus_come_back()


def test_a_session_leaves_a_ray_that_was_there_before(fitted_publisher: FittedPublisher) -> None:
    with runtime.session(fitted_publisher.endpoint) as own:
        own.ready()
    assert ray.is_initialized()
