"""Score a population and publish it.

champion → manifest → lock → slices → staging → ledger → gate → drift → swap → commit
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial

from raypipe.artifact.package import load_card
from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import runtime
from raypipe.config.load import Loaded
from raypipe.config.schema import PipelineConfig
from raypipe.data import exclusion
from raypipe.data.slices import Slice
from raypipe.monitor.drift import Drift
from raypipe.progress import Progress
from raypipe.registry import models
from raypipe.score import admission, permissions, prepare, run_drift, runs
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.one_predictor import by_one_predictor
from raypipe.score.run import PublishedRun, Scorer, execute
from raypipe.score.threads import Threads, warm_up


@dataclass(frozen=True)
class ScoreResult:
    """A published run and its manifest."""

    outcome: PublishedRun[Drift]
    manifest: Manifest

    @property
    def drift(self) -> Drift:
        """Return the drift of the run."""
        return self.outcome.measured


def score(
    endpoint: Endpoint,
    loaded: Loaded,
    day: date | None,
    reference: str,
    progress: Progress,
    *,
    take_over: bool = False,
) -> ScoreResult:
    """Score a population and publish it.

    Args:
        day: the snapshot; None for the newest.
        reference: the model: a version, an alias such as `champion`, or `latest`.
        take_over: whether another run's lock may be taken.

    Raises:
        Denied: the user lacks a grant that the run needs.
    """
    config = loaded.config
    with Client(endpoint) as client, runtime.session(endpoint, config.ray) as session:
        progress("plan", 0, 1)
        permissions.require(client, loaded)
        population = prepare.population(client, loaded, day)
        model = models.find(client, config.pipeline, reference)
        models.require_artifact(model)
        # The workers load the model itself, and first score its golden rows.
        card = load_card(
            model.artifact_uri, model.artifact_sha256, client, pipeline=model.pipeline, version=model.version
        )
        # Refuses an unusable cluster before anything is written.
        with _scorer(endpoint, config, session, model.artifact_uri, model.artifact_sha256) as scorer:
            if not take_over:
                lock.require_free(client, config.pipeline)
            manifest = prepare.manifest(client, loaded, model, card, population, write=True)
            exclusion.require_at_rest(client, manifest.date, manifest.pinned)
            return _execute(client, config, manifest, scorer, progress, take_over)


def resume(
    endpoint: Endpoint, loaded: Loaded, run_id: str, progress: Progress, *, take_over: bool = False
) -> ScoreResult:
    """Finish an interrupted or failed run from its manifest; finished slices are kept.

    Raises:
        UsageError: there is no such run, or it is finished.
    """
    with Client(endpoint) as client, runtime.session(endpoint, loaded.config.ray) as session:
        run = runs.find(client, run_id)
        # Checked again under the lock; here before a cluster is used.
        admission.require_unfinished(run)
        manifest = Manifest.from_json(run.manifest)
        load_card(
            manifest.artifact_uri,
            manifest.artifact_sha256,
            client,
            pipeline=manifest.pipeline,
            version=manifest.model_version,
        )
        with _scorer(endpoint, loaded.config, session, manifest.artifact_uri, manifest.artifact_sha256) as scorer:
            return _execute(client, loaded.config, manifest, scorer, progress, take_over)


@contextmanager
def _scorer(
    endpoint: Endpoint, config: PipelineConfig, session: runtime.Session, uri: str, sha256: str
) -> Iterator[Scorer]:
    """Yield the scorer of a run: Ray's actors, or threads where no Ray is named or connected.

    Both get ready while the run is planned: the actors' processes start, or the library of the model is imported.
    """
    actors = config.score.actors
    if not session.is_wanted:
        warm_up(endpoint, uri, sha256)
        yield partial(Threads(actors.max, actors.cpus, config.ray.cpus).score, endpoint)
        return
    session.ready()
    from raypipe.score.pool import Pool, PoolSize

    with Pool(endpoint, PoolSize(actors.max, actors.cpus, actors.restarts)) as pool:

        def score_slices(manifest: Manifest, slices: Sequence[Slice]) -> Iterator[Receipt]:
            session.ready()
            yield from pool.score(manifest, slices)
            # The rest is ClickHouse's work.
            pool.close()
            session.release()

        yield score_slices


def _execute(
    client: Client, config: PipelineConfig, manifest: Manifest, scorer: Scorer, progress: Progress, take_over: bool
) -> ScoreResult:
    monitor = partial(run_drift.measure, client, config.monitor)
    manifest, published = by_one_predictor(
        manifest,
        take_over,
        lambda manifest, take_over: execute(
            client, manifest, scorer, take_over=take_over, progress=progress, monitor=monitor
        ),
    )
    return ScoreResult(published, manifest)
