"""Aliases such as `champion`: names that move from version to version, with their whole history kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from raypipe.clickhouse.client import Client
from raypipe.errors import UsageError
from raypipe.registry.record import Registered
from raypipe.registry.rows import statement, write

CHAMPION = "champion"  # what `raypipe score` takes
CHALLENGER = "challenger"  # the newest version that was not better than the champion
PREVIOUS = "previous"  # what `raypipe rollback` goes back to
TABLE = "raypipe_aliases"
LATEST = "latest"  # not an alias: it always means the newest version

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_FAR = datetime(2200, 1, 1, tzinfo=UTC)
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("pipeline", "alias", "model_id", "model_version", "set_by", "reason")]
    + [("set_at", pa.timestamp("us", tz="UTC"))]
)


@dataclass(frozen=True)
class Alias:
    """One assignment of an alias; it counts until the next."""

    pipeline: str
    alias: str
    model_id: str
    version: str
    set_by: str
    reason: str
    set_at: datetime


@dataclass(frozen=True)
class Period:
    """An assignment and the moment, UTC, from which the next one counted; None where it counts still.

    An alias that was cleared has a period too, whose version is ''.
    """

    assignment: Alias
    until: datetime | None


def assign(
    client: Client, pipeline: str, alias: str, model: Registered, reason: str, set_by: str, at: datetime
) -> Alias:
    """Lets an alias name a model version from now on.

    Args:
        client: of the database with the registry.
        pipeline: the pipeline; each has its own aliases.
        alias: such as `champion`.
        model: the version.
        reason: why, for people.
        set_by: who or what decided.
        at: the moment, UTC; moved on where the clock lags behind the previous assignment.

    Raises:
        UsageError: the alias is empty or `latest`, or the version is another pipeline's.
    """
    return move(client, pipeline, {alias: model}, reason, set_by, at)[alias]


def move(
    client: Client,
    pipeline: str,
    moves: Mapping[str, Registered | Alias | None],
    reason: str,
    set_by: str,
    at: datetime,
) -> dict[str, Alias]:
    """Lets several aliases name other versions at one moment: all of them or, where the insert fails, none.

    Args:
        client: of the database with the registry.
        pipeline: the pipeline.
        moves: by alias, the version, or what an alias names; None to name nothing from now on.
        reason: why, for people.
        set_by: who or what decided.
        at: the moment, UTC; moved on where the clock lags behind the pipeline's latest assignment.

    Raises:
        UsageError: an alias is empty or `latest`, or a version is another pipeline's.
    """
    for alias, named in moves.items():
        if not alias or alias == LATEST:
            raise UsageError("Not a name for an alias", found=repr(alias), allowed=f"any name but {LATEST!r}")
        if named is not None and named.pipeline != pipeline:
            raise UsageError(f"An alias of {pipeline} cannot name a model of {named.pipeline}", found=named.version)
    before = max((period.assignment.set_at for period in history(client, pipeline)), default=_EPOCH)
    moment = max(at.astimezone(UTC), before + MICROSECOND)
    made = {
        alias: Alias(
            pipeline, alias, named.model_id if named else "", named.version if named else "", set_by, reason, moment
        )
        for alias, named in moves.items()
    }
    # One insert into one partition is one block, so that nobody meets a champion without its `previous`.
    write(client, TABLE, _SCHEMA, [{**vars(one), "model_version": one.version} for one in made.values()])
    return made


def current(client: Client, pipeline: str, alias: str) -> Alias | None:
    """What an alias names now, or None where it names nothing."""
    return at_time(client, pipeline, alias, _FAR)


def at_time(client: Client, pipeline: str, alias: str, at: datetime) -> Alias | None:
    """What an alias named at a moment in UTC, or None where it named nothing."""
    found = history(client, pipeline, alias, at)
    return found[0].assignment if found and found[0].assignment.version else None


def named(client: Client, pipeline: str) -> dict[str, Alias]:
    """What each of a pipeline's aliases names now, whichever clock set it; those that name nothing are left out."""
    found = (period.assignment for period in history(client, pipeline, at=_FAR))
    return {one.alias: one for one in found if one.version}


def history(client: Client, pipeline: str, alias: str = "", at: datetime | None = None) -> list[Period]:
    """What a pipeline's aliases named and when, the newest first.

    Args:
        client: of the database with the registry.
        pipeline: the pipeline.
        alias: only of this one; '' for all.
        at: only what counted at this moment, UTC; None for everything.
    """
    moment = -1 if at is None else max((at - _EPOCH) // MICROSECOND, 0)
    rows = client.rows(statement("alias_history").text, {"pipeline": pipeline, "alias": alias, "at": moment})
    return [
        Period(
            Alias(pipeline, name, model_id, version, set_by, reason, _EPOCH + since * MICROSECOND),
            _EPOCH + until * MICROSECOND if until else None,
        )
        for name, model_id, version, set_by, reason, since, until in rows
    ]
