"""Roll back: make the previous champion the champion again.

dates that the champion published → scored and published with the previous champion → aliases
"""

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.load import Loaded
from raypipe.errors import Busy, UsageError
from raypipe.progress import Progress, prefixed
from raypipe.registry import aliases, champions, models
from raypipe.registry.aliases import CHAMPION
from raypipe.registry.champions import Reversal
from raypipe.registry.record import Registered
from raypipe.registry.rows import statement
from raypipe.score import prepare, score
from raypipe.versions.promotion import fitting_card

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Day:
    """A date to publish again with the restored version.

    Attributes:
        restores: the earlier run of the restored version on this date; empty without one.
        source_rows: the population of that run.
        unfinished: a run of the restored version that died during a rollback; empty without one.
    """

    date: date
    restores: str
    source_rows: int
    source_checksum: int
    unfinished: str


@dataclass(frozen=True)
class Restored:
    """A date that was published again with the restored version.

    Attributes:
        restores: the earlier run of the restored version; empty without one.
        same_population: whether both runs read the same entities; None without an earlier run.
    """

    date: date
    run_id: str
    rows_published: int
    restores: str
    same_population: bool | None


@dataclass(frozen=True)
class RolledBack:
    """A rollback: the restored version, the outgoing champion, and the restored dates."""

    version: Registered
    outgoing: str
    reason: str
    days: tuple[Restored, ...]


def rollback(
    endpoint: Endpoint,
    loaded: Loaded,
    progress: Progress,
    *,
    reason: str,
    set_by: str,
    predictions: bool = True,
    take_over: bool = False,
) -> RolledBack:
    """Publish the champion's dates with the previous champion, then make it the champion again.

    The dates are scored, checked and published as in any run. The aliases move last: an interrupted rollback leaves the
    champion in place, and the same command finishes it.

    Args:
        predictions: whether to restore published predictions; False moves the aliases alone.

    Raises:
        UsageError: there is no version to roll back to.
        ModelError: the version's artifact is gone.
        DataError: the version's contract does not fit the features query.
        GateRefused: the predictions of a date could not be published.
        Busy: another run is at work, or published a date in the meantime.
    """
    pipeline = loaded.config.pipeline
    with Client(endpoint) as client:
        reversal = champions.reversal(client, pipeline)
        model = models.find(client, pipeline, reversal.restored.version)
        fitting_card(client, loaded, model)
        days = standing_days(client, reversal) if predictions else []
        for day in days:
            _require_snapshot(client, loaded, day.date)
    restored = [_restore_day(endpoint, loaded, model, day, progress, take_over) for day in days]
    with Client(endpoint) as client, lock.held(client, pipeline, take_over=take_over):
        _require_unchanged(client, reversal, predictions)
        version = champions.restore(client, reversal, reason, set_by, datetime.now(UTC))
    return RolledBack(version, reversal.outgoing.version, reason, tuple(restored))


def standing_days(client: Client, reversal: Reversal) -> list[Day]:
    """Return the dates to restore, oldest first."""
    parameters = {
        "pipeline": reversal.outgoing.pipeline,
        "outgoing": reversal.outgoing.version,
        "restored": reversal.restored.version,
    }
    return [Day(*row) for row in client.rows(statement("standing_runs").text, parameters)]


def _require_snapshot(client: Client, loaded: Loaded, day: date) -> None:
    """Refuse a date without its snapshot, before anything is scored."""
    try:
        prepare.population(client, loaded, day)
    except UsageError as error:
        pipeline = loaded.config.pipeline
        raise UsageError(
            f"The predictions of {day} cannot be restored: {error.problem}",
            found=error.found,
            allowed=error.allowed,
            next_step="write the snapshot again, or move the alias and keep the published predictions: `raypipe"
            f" rollback {pipeline} --alias-only`",
        ) from error


def _require_unchanged(client: Client, reversal: Reversal, predictions: bool) -> None:
    """Refuse to move the aliases after a promotion, rollback or run since this rollback began."""
    pipeline, restored = reversal.outgoing.pipeline, reversal.restored.version
    champion = aliases.current(client, pipeline, CHAMPION)
    if champion != reversal.outgoing:
        raise Busy(
            f"Another version of {pipeline} became champion while it was rolled back",
            found=f"{champion.version} since {champion.set_at:%Y-%m-%d %H:%M:%S}" if champion else "no champion",
            next_step=f"see `raypipe models history {pipeline}` and `raypipe runs {pipeline}`; `raypipe score` restores"
            f" the champion's predictions on dates that {restored} has published",
        )
    days = standing_days(client, reversal) if predictions else []
    if days:
        raise Busy(
            f"{reversal.outgoing.version} published again while {pipeline} was rolled back",
            found=", ".join(str(day.date) for day in days),
            next_step=f"repeat `raypipe rollback {pipeline}`",
        )


def _restore_day(
    endpoint: Endpoint, loaded: Loaded, model: Registered, day: Day, progress: Progress, take_over: bool
) -> Restored:
    progress = prefixed(str(day.date), progress)
    if day.unfinished:
        scored = score.resume(endpoint, loaded, day.unfinished, progress, take_over=take_over)
    else:
        scored = score.score(endpoint, loaded, day.date, model.version, progress, take_over=take_over)
    manifest, run = scored.manifest, scored.outcome.run
    same = None
    if day.restores:
        same = (manifest.source_rows, manifest.source_checksum) == (day.source_rows, day.source_checksum)
        if not same:
            log.warning(
                "%s: the population differs from that of run %s: %d rows instead of %d",
                day.date,
                day.restores,
                manifest.source_rows,
                day.source_rows,
            )
    return Restored(day.date, run.run_id, run.rows_published, day.restores, same)
