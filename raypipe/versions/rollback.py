"""How the version before becomes champion again.

dates that the champion published → scored and published with the version before → aliases
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.load import Loaded
from raypipe.errors import Busy, UsageError
from raypipe.progress import Progress
from raypipe.registry import aliases, champion, models
from raypipe.registry.aliases import CHAMPION
from raypipe.registry.champion import Reversal
from raypipe.registry.record import Registered
from raypipe.registry.rows import statement
from raypipe.score import prepare, score
from raypipe.versions.promotion import fitting_card

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Day:
    """A date whose published predictions a rollback puts back.

    Attributes:
        restores: the run of the restored version that had published the date before; '' where none had.
        source_rows: the population of that run.
        source_checksum: of that run's keys.
        unfinished: a run of the restored version that died on the way; '' where there is none.
    """

    date: date
    restores: str
    source_rows: int
    source_checksum: int
    unfinished: str


@dataclass(frozen=True)
class Restored:
    """A date with its predictions put back.

    Attributes:
        run_id: the run that published them.
        restores: the run that had published them before; '' where the restored version had not.
        same_population: whether it read the very entities that the earlier run read; None without one.
    """

    date: date
    run_id: str
    rows: int
    restores: str
    same_population: bool | None


@dataclass(frozen=True)
class RolledBack:
    """A rollback: the champion now, the one before it, and the dates that were put back."""

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
    """Makes the version before champion again, once the predictions that it had published are back.

    The dates are scored, checked and published as by any run. The aliases move last: an interrupted rollback leaves the
    champion as it was, and is finished by repeating it.

    Args:
        endpoint: the ClickHouse.
        loaded: the pipeline's config.
        progress: told the date and its stage, what is done and what there is to do.
        reason: why, for the history.
        set_by: who decided.
        predictions: whether published predictions are put back; False moves the aliases alone.
        take_over: whether another run's lock may be taken.

    Raises:
        UsageError: there is no version to roll back to.
        ModelError: it has no artifact any more.
        DataError: its contract does not fit the features query.
        GateRefused: the predictions of a date could not be published.
        Busy: another run is at work, or published a date meanwhile.
    """
    pipeline = loaded.config.pipeline
    with Client(endpoint) as client:
        found = champion.reversal(client, pipeline)
        model = models.find(client, pipeline, found.restored.version)
        fitting_card(client, loaded, model)
        days = standing_days(client, found) if predictions else []
        for day in days:
            _require_snapshot(client, loaded, day.date)
    restored = [_put_back(endpoint, loaded, model, day, progress, take_over) for day in days]
    with Client(endpoint) as client, lock.held(client, pipeline, take_over=take_over):
        _require_unchanged(client, found, predictions)
        version = champion.restore(client, found, reason, set_by, datetime.now(UTC))
    return RolledBack(version, found.outgoing.version, reason, tuple(restored))


def standing_days(client: Client, found: Reversal) -> list[Day]:
    """The dates on which a rollback has predictions to put back, oldest first."""
    parameters = {
        "pipeline": found.outgoing.pipeline,
        "outgoing": found.outgoing.version,
        "restored": found.restored.version,
    }
    return [Day(*row) for row in client.rows(statement("standing_runs").text, parameters)]


def _require_snapshot(client: Client, loaded: Loaded, day: date) -> None:
    """Refuses, before anything is scored, a date that cannot be scored any more."""
    try:
        prepare.population(client, loaded, day)
    except UsageError as error:
        pipeline = loaded.config.pipeline
        raise UsageError(
            f"The predictions of {day} cannot be put back: {error.problem}",
            found=error.found,
            allowed=error.allowed,
            next_step=f"write the snapshot again, or leave the published predictions: `raypipe rollback {pipeline}"
            " --alias-only`",
        ) from error


def _require_unchanged(client: Client, found: Reversal, predictions: bool) -> None:
    """Refuses to move the aliases where somebody promoted, rolled back or published since the rollback began."""
    pipeline, restored = found.outgoing.pipeline, found.restored.version
    champion = aliases.current(client, pipeline, CHAMPION)
    if champion != found.outgoing:
        raise Busy(
            f"Another version of {pipeline} became champion while it was rolled back",
            found=f"{champion.version} since {champion.set_at:%Y-%m-%d %H:%M:%S}" if champion else "no champion",
            next_step=f"look at `raypipe models history {pipeline}` and `raypipe runs {pipeline}`: dates that"
            f" {restored} has published by now get the champion's predictions with `raypipe score`",
        )
    days = standing_days(client, found) if predictions else []
    if days:
        raise Busy(
            f"{found.outgoing.version} published anew while {pipeline} was rolled back",
            found=", ".join(str(day.date) for day in days),
            next_step=f"repeat `raypipe rollback {pipeline}`",
        )


def _put_back(
    endpoint: Endpoint, loaded: Loaded, model: Registered, day: Day, progress: Progress, take_over: bool
) -> Restored:
    def told(stage: str, done: int, total: int) -> None:
        progress(f"{day.date}: {stage}", done, total)

    if day.unfinished:
        scored = score.resume(endpoint, loaded, day.unfinished, told, take_over=take_over)
    else:
        scored = score.score(endpoint, loaded, day.date, model.version, told, take_over=take_over)
    manifest, run = scored.manifest, scored.outcome.run
    same = None
    if day.restores:
        same = (manifest.source_rows, manifest.source_checksum) == (day.source_rows, day.source_checksum)
        if not same:
            log.warning(
                "%s: the population is not the one that %s scored: %d rows instead of %d",
                day.date,
                day.restores,
                manifest.source_rows,
                day.source_rows,
            )
    return Restored(day.date, run.run_id, run.rows_published, day.restores, same)
