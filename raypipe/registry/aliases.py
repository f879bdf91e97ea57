"""Aliases such as `champion`: names that move from version to version, with their whole history kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from raypipe.clickhouse.client import Client
from raypipe.errors import UsageError
from raypipe.registry.record import Registered
from raypipe.registry.rows import statement, write

CHAMPION = "champion"
TABLE = "raypipe_aliases"
LATEST = "latest"  # not an alias: it always means the newest version

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
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
    if not alias or alias == LATEST:
        raise UsageError("Not a name for an alias", found=repr(alias), allowed=f"any name but {LATEST!r}")
    if model.pipeline != pipeline:
        raise UsageError(f"An alias of {pipeline} cannot name a model of {model.pipeline}", found=model.version)
    before = current(client, pipeline, alias)
    moment = at.astimezone(UTC) if before is None else max(at.astimezone(UTC), before.set_at + _MICROSECOND)
    made = Alias(pipeline, alias, model.model_id, model.version, set_by, reason, moment)
    write(client, TABLE, _SCHEMA, [{**vars(made), "model_version": made.version}])
    return made


def current(client: Client, pipeline: str, alias: str) -> Alias | None:
    """What an alias names now, or None if it was never assigned."""
    return at_time(client, pipeline, alias, _FAR)


def at_time(client: Client, pipeline: str, alias: str, at: datetime) -> Alias | None:
    """What an alias named at a moment in UTC, or None if it was not assigned yet."""
    parameters = {"pipeline": pipeline, "alias": alias, "at": (at - _EPOCH) // _MICROSECOND}
    rows = client.rows(statement("alias").text, parameters)
    if not rows:
        return None
    model_id, version, set_by, reason, micros = rows[0]
    return Alias(pipeline, alias, model_id, version, set_by, reason, _EPOCH + micros * _MICROSECOND)
