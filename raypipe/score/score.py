"""Score a population and publish it: champion → manifest → lock → slices → staging → ledger → gate → swap → commit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from raypipe.artifact.package import load_card
from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import runtime
from raypipe.config.load import Loaded
from raypipe.config.schema import PipelineConfig
from raypipe.data.slices import Slice
from raypipe.monitor.drift import Drift
from raypipe.progress import Progress
from raypipe.registry import life, models
from raypipe.score import monitoring, prepare, runs
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.pool import PoolSize, score_slices
from raypipe.score.run import Outcome, execute
from raypipe.score.worker import SliceScorer


@dataclass(frozen=True)
class ScoreResult:
    """A published run, its manifest and its drift."""

    outcome: Outcome
    manifest: Manifest
    drift: Drift


def score(
    endpoint: Endpoint,
    loaded: Loaded,
    day: date | None,
    reference: str,
    progress: Progress,
    *,
    take_over: bool = False,
) -> ScoreResult:
    """Scores a population and publishes it.

    Args:
        endpoint: the ClickHouse.
        loaded: the pipeline's config.
        day: the snapshot; None for the newest.
        reference: the model: a version, an alias such as `champion`, or `latest`.
        progress: told the stage, what is done and what there is to do.
        take_over: whether another run's lock may be taken.
    """
    with Client(endpoint) as client, runtime.session(endpoint, loaded.config.ray) as workers:
        progress("plan", 0, 1)
        people = prepare.population(client, loaded, day)
        model = models.find(client, loaded.config.pipeline, reference)
        life.require_artifact(model)
        # The actors load the model itself, and score its golden rows before anything else.
        card = load_card(model.artifact_uri, model.artifact_sha256, pipeline=model.pipeline, version=model.version)
        _require_cluster(workers)
        if not take_over:
            lock.require_free(client, loaded.config.pipeline)
        manifest = prepare.manifest(client, loaded, model, card, people, write=True)
        return _execute(client, loaded.config, manifest, workers, progress, take_over)


def resume(
    endpoint: Endpoint, loaded: Loaded, run_id: str, progress: Progress, *, take_over: bool = False
) -> ScoreResult:
    """Finishes an interrupted run from its manifest; what is done stays done.

    Raises:
        UsageError: there is no such run, or it is finished.
    """
    with Client(endpoint) as client, runtime.session(endpoint, loaded.config.ray) as workers:
        run = runs.find(client, run_id)
        # Asked again under the lock; here before a cluster is asked for anything.
        runs.require_unfinished(run)
        manifest = Manifest.from_json(run.manifest)
        load_card(
            manifest.artifact_uri,
            manifest.artifact_sha256,
            pipeline=manifest.pipeline,
            version=manifest.model_version,
        )
        _require_cluster(workers)
        return _execute(client, loaded.config, manifest, workers, progress, take_over)


def _execute(
    client: Client,
    config: PipelineConfig,
    manifest: Manifest,
    workers: runtime.Session,
    progress: Progress,
    take_over: bool,
) -> ScoreResult:
    found: list[Drift] = []
    actors = config.score.actors
    size = PoolSize(actors.max, actors.cpus, actors.restarts)

    def scorer(manifest: Manifest, slices: Sequence[Slice]) -> Iterator[Receipt]:
        if len(slices) == 1 and workers.starts_here:
            # It would be done before a Ray on this machine had started.
            yield SliceScorer(client.endpoint, manifest, os.cpu_count() or 1).score(slices[0])
            return
        workers.ready()
        yield from score_slices(client.endpoint, manifest, slices, size)
        # The rest is ClickHouse's work.
        workers.release()

    def monitored(manifest: Manifest, written: Sequence[Receipt]) -> None:
        found.append(monitoring.measure(client, config.monitor, manifest, written))

    outcome = execute(client, manifest, scorer, take_over=take_over, progress=progress, monitor=monitored)
    return ScoreResult(outcome, manifest, found[0])


def _require_cluster(workers: runtime.Session) -> None:
    """Refuses a cluster that cannot be used before anything is written; a Ray of its own starts when there is need."""
    if not workers.starts_here:
        workers.ready()
