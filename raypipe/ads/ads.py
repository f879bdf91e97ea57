"""Learn and publish a day's policy for ads, without Ray: ClickHouse adds up, and the rest takes a second.

events → sums per context and arm → policy, judged on the last days → registry → gate → tests, monitoring, predictions
→ champion
"""

import hashlib
import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from raypipe.ads import ab_tests, bandit, events, monitoring, registration, scoring
from raypipe.ads.ab_tests import PolicyRun
from raypipe.ads.events import AdEvents, AdWindow
from raypipe.ads.fit import FittedPolicy, PolicySpec
from raypipe.artifact import stores
from raypipe.artifact.contract import KEY_HASH, key_hash
from raypipe.clickhouse import lock, sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import identifier, load
from raypipe.config.ads import Ads
from raypipe.config.load import Loaded
from raypipe.data.days import last_ended_day, require_ended
from raypipe.data.slices import Slice, Slicing
from raypipe.errors import GateRefused, RaypipeError, UsageError
from raypipe.progress import Progress
from raypipe.registry.record import Registered
from raypipe.score import admission, gate, prepare, runs
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest, PublishTarget
from raypipe.score.run import PublishedRun, execute

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedPolicy:
    """A published policy with its version, its evaluation, its events and its scoring run.

    Attributes:
        tests: the number of rows written to ml_model_ab_tests.
        drift: the population stability index of the arms' shares by context.
    """

    version: Registered
    fitted: FittedPolicy
    events: AdEvents
    outcome: PublishedRun[tuple[list[str], int]]
    tests: int
    drift: dict[str, float]


def run_ads(
    endpoint: Endpoint, loaded: Loaded, day: date | None, progress: Progress, *, take_over: bool = False
) -> PublishedPolicy:
    """Learn, judge and publish the policy of a day, replacing an earlier publication of the day.

    The same events give the same version, which is registered once.

    Args:
        loaded: the config of a pipeline with a section `ads`.
        day: the last day of the window; None for the newest finished day with an ad event, in the config's time zone.

    Raises:
        DataError: no ad was shown.
        UsageError: the day has not ended yet.
        Busy: another run holds the lock.
        GateRefused: too many events are unusable, or the policy is worse than the ads as they were shown.
    """
    settings, pipeline = _settings(loaded), loaded.config.pipeline
    with Client(endpoint) as client:
        if not take_over:
            lock.require_free(client, pipeline)
        window = _window(client, loaded, settings, day, datetime.now(UTC))
        run_id = f"{pipeline}_{window.day:%Y%m%d}_{secrets.token_hex(4)}"
        sums = f"raypipe_snapshot_{run_id}"
        try:
            progress("add up events", 0, 1)
            events.copy(client, sums, load(loaded.sql(f"{pipeline}/arms.sql")), window)
            ad_events = events.read(client, sums)
            _require_usable(ad_events, window)
            progress("learn and judge", 0, 1)
            version, fitted = registration.version(client, _spec(loaded, window), ad_events, loaded.config.artifacts)
            if not fitted.decision.promote:
                raise _held_back(pipeline, version, fitted)
            manifest = _manifest(client, loaded, window, version, run_id, sums)
            published = _publish(client, loaded, window, ad_events, version, fitted, manifest, progress, take_over)
            # Last, so that a run that publishes nothing leaves the champion.
            return replace(published, version=registration.promote(client, version, fitted.decision.reason))
        except BaseException:
            # The reason of the failure matters more than a table that `raypipe doctor --clean` drops as well.
            with suppress(RaypipeError):
                sharding.drop(client, sums)
            raise


def resume_ads(
    endpoint: Endpoint, loaded: Loaded, run_id: str, progress: Progress, *, take_over: bool
) -> PublishedPolicy:
    """Repeat the date of an interrupted run, which takes seconds; the new run replaces the old run.

    Raises:
        UsageError: there is no such run, or it is finished.
    """
    with Client(endpoint) as client:
        run = runs.find(client, run_id)
    admission.require_unfinished(run)
    return run_ads(endpoint, loaded, run.date, progress, take_over=take_over)


def _settings(loaded: Loaded) -> Ads:
    if loaded.config.ads is None:
        raise UsageError(
            f"{loaded.config.pipeline} is not a pipeline of ads",
            found="no section ads",
            allowed="a config with a section ads",
        )
    return loaded.config.ads


def _window(client: Client, loaded: Loaded, settings: Ads, day: date | None, now: datetime) -> AdWindow:
    zone = loaded.config.timezone
    if day is None:
        newest = load(loaded.sql(f"{loaded.config.pipeline}/newest.sql"))
        day = events.newest_day(client, newest, last_ended_day(now, zone), zone, settings)
    require_ended(day, now, zone, "Ads are learned from whole days")
    return AdWindow(day, zone, settings)


def _require_usable(ad_events: AdEvents, window: AdWindow) -> None:
    limit = window.settings.max_unusable
    if ad_events.skipped > limit * ad_events.events:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(ad_events.unusable.items()))
        raise GateRefused(
            "Too many ad events cannot be used, so nothing was published",
            found=f"{ad_events.skipped} of {ad_events.events} from {window.since} to {window.day} ({reasons})",
            allowed=f"a share of {limit} (ads.max_unusable)",
            next_step="look at `metadata` of these events in customer_events",
        )


def _spec(loaded: Loaded, window: AdWindow) -> PolicySpec:
    config = loaded.config
    return PolicySpec(
        config.pipeline,
        config.description,
        config.source.table,
        {item.name: f"{item.description or ''} [{item.unit}]" for item in config.features},
        window,
        config.split.seed,
        config.evaluate.bootstrap,
    )


def _held_back(pipeline: str, version: Registered, fitted: FittedPolicy) -> GateRefused:
    return GateRefused(
        f"The policy of {pipeline} is not good enough to publish",
        found=fitted.decision.reason,
        next_step=f"`raypipe models {pipeline}` lists {version.version}; wait for data, or change `ads` in the config",
    )


def _manifest(
    client: Client, loaded: Loaded, window: AdWindow, version: Registered, run_id: str, sums: str
) -> Manifest:
    config = loaded.config
    keys = (scoring.KEY,)
    arms = load(loaded.sql(f"{config.pipeline}/arms.sql"))
    targets = [(item.target, load(loaded.sql(item.sql))) for item in config.publish]
    population = f"SELECT DISTINCT context FROM {identifier(sums)} WHERE problem = ''"
    select = f"SELECT context, {key_hash(keys)} AS {KEY_HASH} FROM (\n{population}\n)"
    counted = gate.population(client, select, {})
    texts = "\x00".join([arms.text, *(statement.text for _, statement in targets)])
    return Manifest(
        run_id=run_id,
        run_at=prepare.run_at(client, config.pipeline),
        pipeline=config.pipeline,
        date=window.day,
        entity_type=config.entity.type,
        entity_id=config.entity.id,
        model_id=version.model_id,
        model_version=version.version,
        artifact_uri=version.artifact_uri,
        artifact_sha256=version.artifact_sha256,
        contract_sha256="",
        sql_sha256=hashlib.sha256(texts.encode()).hexdigest(),
        keys=keys,
        key_types=("String",),
        carry=tuple(scoring.CARRY),
        carry_types=tuple(scoring.CARRY.values()),
        select=select,
        select_parameters={},
        slicing=Slicing("whole", (), (), (Slice(0),), counted.rows),
        source_rows=counted.rows,
        source_checksum=counted.checksum,
        chunk_rows=config.score.chunk_rows,
        max_rejected=0.0,
        duplicates="refuse",
        explain_rows=0,
        explain_features=0,
        threshold=0.0,
        levels=(),
        score_range=None,
        timezone=config.timezone,
        inputs=(),
        outputs=(),
        values={},
        targets=tuple(PublishTarget(table, statement.text) for table, statement in targets),
        snapshot=sums,
        pinned=(),
    )


def _publish(
    client: Client,
    loaded: Loaded,
    window: AdWindow,
    ad_events: AdEvents,
    version: Registered,
    fitted: FittedPolicy,
    manifest: Manifest,
    progress: Progress,
    take_over: bool,
) -> PublishedPolicy:
    """Score with the stored artifact, and publish like every other pipeline."""
    store = stores.at(version.artifact_uri, client)
    policy = bandit.from_files(store.open(version.artifact_sha256, pipeline=version.pipeline, version=version.version))
    run = PolicyRun(manifest.run_id, manifest.run_at, manifest.pipeline, version.model_id, version.version, window)
    drift = monitoring.share_drift(ad_events)
    alert = loaded.config.monitor.psi_alert

    def scorer(manifest: Manifest, slices: Sequence[Slice]) -> Iterator[Receipt]:
        for piece in slices:
            yield scoring.score_contexts(client, manifest, piece, policy, ad_events.contexts)

    def monitor(manifest: Manifest, written: Sequence[Receipt]) -> tuple[list[str], int]:
        earlier = monitoring.written(client, run)
        tests = ab_tests.write_tests(client, run, policy, ad_events)
        monitoring.write_monitoring(client, run, fitted, ad_events, drift, alert)
        return earlier, tests

    outcome = execute(client, manifest, scorer, take_over=take_over, progress=progress, monitor=monitor)
    earlier, tests = outcome.measured
    try:
        monitoring.remove(client, run, earlier)
    except RaypipeError as error:
        # The predictions are published; the next run of the date removes these rows as well.
        log.warning("the run is published, but rows of an earlier run's tests and monitoring remain: %s", error.problem)
    return PublishedPolicy(version, fitted, ad_events, outcome, tests, drift)
