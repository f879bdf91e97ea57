"""A night of ads, from events to a published policy. It needs no Ray: ClickHouse adds up, the rest takes a second.

events → sums a context and arm → policy, judged on the last days → registry → gate → tests and monitoring → predictions
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime

from raypipe.ads import ad_events, arm_tests, bandit, contexts, registration
from raypipe.ads import arms as monitoring
from raypipe.ads.ad_events import TEST, TRAIN, AdEvents, Window
from raypipe.ads.arm_tests import Night
from raypipe.ads.arms import Health
from raypipe.ads.fit import FittedAds, Recipe
from raypipe.artifact import files
from raypipe.artifact.contract import KEY_HASH, key_hash
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import load
from raypipe.config.ads import Ads
from raypipe.config.load import Loaded
from raypipe.data.days import last_day_over, require_over
from raypipe.data.slices import Slice, Slicing
from raypipe.errors import GateRefused, RaypipeError, UsageError
from raypipe.progress import Progress
from raypipe.registry.record import Registered
from raypipe.score import gate, prepare, runs
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest, PublishTarget
from raypipe.score.run import PublishedRun, execute

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AdsOutcome:
    """A published policy: its version, how it was learned and judged, its events, the scoring run and what it wrote.

    Attributes:
        tests: rows of ml_model_ab_tests.
        drift: population stability index of the arms' shares, by context.
    """

    version: Registered
    fitted: FittedAds
    events: AdEvents
    outcome: PublishedRun[tuple[list[str], int]]
    tests: int
    drift: dict[str, float]


def run(
    endpoint: Endpoint, loaded: Loaded, day: date | None, progress: Progress, *, take_over: bool = False
) -> AdsOutcome:
    """Learns, judges and publishes the policy of a day; again, to replace what it published before.

    The same events give the same version, which is then registered once.

    Args:
        endpoint: the ClickHouse.
        loaded: the config of a pipeline with a section `ads`.
        day: the last day of the window; None for the newest with an ad event that is over, in the config's time zone.
        progress: told the stage, what is done and what there is to do.
        take_over: whether another run's lock may be taken.

    Raises:
        DataError: no ad was shown.
        UsageError: the day is not over yet.
        GateRefused: too many events cannot be used, or the policy is worse than what was shown.
    """
    settings = _settings(loaded)
    with Client(endpoint) as client:
        window = _window(client, loaded, settings, day, datetime.now(UTC))
        run_id = f"{loaded.config.pipeline}_{window.day:%Y%m%d}_{secrets.token_hex(4)}"
        sums = f"raypipe_snapshot_{run_id}"
        try:
            progress("add up events", 0, 1)
            ad_events.copy(client, sums, load(loaded.sql(f"{loaded.config.pipeline}/arms.sql")), window)
            events = ad_events.read(client, sums)
            _require_usable(events, settings, window)
            progress("learn and judge", 0, 1)
            recipe = _recipe(loaded, settings, window)
            version, fitted = registration.version(client, recipe, events, loaded.config.artifacts)
            if not fitted.decision.promote:
                raise _held_back(loaded.config.pipeline, version, fitted)
            version = registration.promote(client, version, fitted.decision.reason)
            manifest = _manifest(client, loaded, window, version, run_id, sums)
            return _publish(client, loaded, settings, window, events, version, fitted, manifest, progress, take_over)
        except BaseException:
            # Why the night failed is worth more than a table that `raypipe doctor --clean` drops as well.
            with suppress(RaypipeError):
                client.run(client.topology.drop(sums))
            raise


def resume(endpoint: Endpoint, loaded: Loaded, run_id: str, progress: Progress, *, take_over: bool) -> AdsOutcome:
    """Does the date of an interrupted run again, which takes seconds; the new run replaces it.

    Raises:
        UsageError: there is no such run, or it is finished.
    """
    with Client(endpoint) as client:
        found = runs.find(client, run_id)
    runs.require_unfinished(found)
    return run(endpoint, loaded, found.date, progress, take_over=take_over)


def _settings(loaded: Loaded) -> Ads:
    if loaded.config.ads is None:
        raise UsageError(
            f"{loaded.config.pipeline} is no pipeline of ads", found="no section ads", allowed="a config with one"
        )
    return loaded.config.ads


def _window(client: Client, loaded: Loaded, settings: Ads, day: date | None, now: datetime) -> Window:
    zone = loaded.config.timezone
    if day is None:
        newest = load(loaded.sql(f"{loaded.config.pipeline}/newest.sql"))
        last = last_day_over(now, zone)
        day = ad_events.newest_day(client, newest, last, zone, settings.impression, settings.click)
    require_over(day, now, zone, "Ads are learned from whole days")
    return Window(
        day,
        settings.window_days,
        settings.test_days,
        zone,
        settings.context,
        settings.impression,
        settings.click,
        settings.buckets,
    )


def _require_usable(events: AdEvents, settings: Ads, window: Window) -> None:
    if events.skipped > settings.max_unusable * events.events:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(events.unusable.items()))
        raise GateRefused(
            "Too many ad events cannot be used; nothing was published",
            found=f"{events.skipped} of {events.events} from {window.since} to {window.day} ({reasons})",
            allowed=f"a share of {settings.max_unusable} (ads.max_unusable)",
            next_step="look at `metadata` of these events in customer_events",
        )


def _recipe(loaded: Loaded, settings: Ads, window: Window) -> Recipe:
    config = loaded.config
    return Recipe(
        pipeline=config.pipeline,
        description=config.description,
        source=config.source.table,
        columns={item.name: f"{item.description or ''} [{item.unit}]" for item in config.features},
        window=window,
        arms=settings.arms,
        settings=bandit.Settings(
            settings.prior_impressions,
            settings.prior_clicks,
            settings.floor,
            settings.draws,
            settings.confidence,
            config.split.seed,
        ),
        resamples=config.evaluate.bootstrap,
        min_impressions=settings.min_impressions,
        min_effective=settings.min_effective,
    )


def _held_back(pipeline: str, version: Registered, fitted: FittedAds) -> GateRefused:
    return GateRefused(
        f"The policy of {pipeline} is not good enough to publish",
        found=fitted.decision.reason,
        next_step=f"`raypipe models {pipeline}` lists {version.version}; wait for data, or change `ads` in the config",
    )


def _manifest(client: Client, loaded: Loaded, window: Window, version: Registered, run_id: str, sums: str) -> Manifest:
    config = loaded.config
    keys = (contexts.KEY,)
    arms = load(loaded.sql(f"{config.pipeline}/arms.sql"))
    targets = [(item.target, load(loaded.sql(item.sql))) for item in config.publish]
    population = f"SELECT DISTINCT context FROM {client.topology.everywhere(sums)} WHERE problem = ''"
    select = f"SELECT context, {key_hash(keys)} AS {KEY_HASH} FROM (\n{population}\n)"
    rows, checksum = gate.population(client, select, {})
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
        carry=tuple(contexts.CARRY),
        carry_types=tuple(contexts.CARRY.values()),
        select=select,
        select_parameters={},
        slicing=Slicing("whole", (), (), (Slice(0),), rows),
        source_rows=rows,
        source_checksum=checksum,
        chunk_rows=config.score.chunk_rows,
        max_rejected=0.0,
        duplicates="refuse",
        explain_rows=0,
        explain_features=0,
        threshold=0.0,
        levels=(),
        timezone=config.timezone,
        inputs=(),
        outputs=(),
        values={},
        targets=tuple(PublishTarget(table, statement.text) for table, statement in targets),
        snapshot=sums,
    )


def _publish(
    client: Client,
    loaded: Loaded,
    settings: Ads,
    window: Window,
    events: AdEvents,
    version: Registered,
    fitted: FittedAds,
    manifest: Manifest,
    progress: Progress,
    take_over: bool,
) -> AdsOutcome:
    """Scores with the artifact as it was stored, and publishes as every pipeline does."""
    policy = bandit.from_files(files.load(version.artifact_uri, version.artifact_sha256))
    night = Night(
        manifest.run_id,
        manifest.run_at,
        manifest.pipeline,
        version.model_id,
        version.version,
        window.since,
        window.day,
        settings.min_impressions,
        settings.confidence,
    )
    drift = monitoring.share_drift(_impressions(events, TRAIN), _impressions(events, TEST))
    health = Health(
        events.events,
        events.unusable,
        drift,
        loaded.config.monitor.psi_alert,
        asdict(fitted.value) if fitted.value else {},
        fitted.warnings,
    )

    def scorer(manifest: Manifest, slices: Sequence[Slice]) -> Iterator[Receipt]:
        for piece in slices:
            yield contexts.score(client, manifest, piece, policy, events.contexts)

    def monitor(manifest: Manifest, written: Sequence[Receipt]) -> tuple[list[str], int]:
        earlier = monitoring.written(client, night)
        tests = arm_tests.write_tests(client, night, policy, events.contexts, events.users)
        monitoring.write_monitoring(client, night, policy, health)
        return earlier, tests

    outcome = execute(client, manifest, scorer, take_over=take_over, progress=progress, monitor=monitor)
    earlier, tests = outcome.measured
    try:
        monitoring.remove(client, night, earlier)
    except RaypipeError as error:
        # The predictions are published; the next run of the date removes these rows, too.
        log.warning("the run is published; the tests and monitoring of an earlier one were left: %s", error.problem)
    return AdsOutcome(version, fitted, events, outcome, tests, drift)


def _impressions(events: AdEvents, part: str) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for row in events.rows(part):
        arms = found.setdefault(row["context"], {})
        arms[row["arm"]] = arms.get(row["arm"], 0) + row["impressions"]
    return found
