"""Aliases such as `champion`, which move from version to version and keep their history."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from raypipe.clickhouse.client import Client
from raypipe.errors import UsageError
from raypipe.registry.record import Registered
from raypipe.registry.rows import NEVER, statement, write

CHAMPION = "champion"  # the version that `raypipe score` uses
CHALLENGER = "challenger"  # the newest version that was not better than the champion
PREVIOUS = "previous"  # the version that `raypipe rollback` restores
TABLE = "raypipe_aliases"
LATEST = "latest"  # not an alias: it always means the newest version

MICROSECOND = timedelta(microseconds=1)
_FAR = datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Alias:
    """One assignment of an alias; it counts until the next. A cleared alias has the version ''."""

    pipeline: str
    alias: str
    model_id: str
    version: str
    set_by: str
    reason: str
    set_at: datetime


@dataclass(frozen=True)
class Period:
    """An assignment and the UTC moment at which the next assignment replaced it; None while it counts."""

    assignment: Alias
    until: datetime | None


def move(
    client: Client,
    pipeline: str,
    moves: Mapping[str, Registered | Alias | None],
    reason: str,
    set_by: str,
    at: datetime,
) -> None:
    """Point several aliases to other versions at one moment: all of them or, where the insert fails, none.

    Args:
        moves: the new version by alias; None clears the alias.
        set_by: the user or program that decided.
        at: the moment, UTC; later where the clock lags behind the pipeline's latest assignment.

    Raises:
        UsageError: an alias is empty or `latest`, or a version is another pipeline's.
    """
    for alias, named in moves.items():
        if not alias or alias == LATEST:
            raise UsageError(
                "An alias cannot have this name",
                found=repr(alias),
                allowed=f"any name but {LATEST!r}",
                next_step="choose another name",
            )
        if named is not None and named.pipeline != pipeline:
            raise UsageError(
                f"An alias of {pipeline} cannot name a model of {named.pipeline}",
                found=named.version,
                next_step=f"`raypipe models {pipeline}` lists the versions that it can name",
            )
    before = max((period.assignment.set_at for period in history(client, pipeline)), default=NEVER)
    moment = max(at.astimezone(UTC), before + MICROSECOND)
    assignments = [
        Alias(pipeline, alias, named.model_id if named else "", named.version if named else "", set_by, reason, moment)
        for alias, named in moves.items()
    ]
    # One insert into one partition is one block, so no reader sees a champion without its `previous`.
    rows = [{**vars(assignment), "model_version": assignment.version} for assignment in assignments]
    write(client, TABLE, [{name: row[name] for name in row if name != "version"} for row in rows])


def current(client: Client, pipeline: str, alias: str, at: datetime = _FAR) -> Alias | None:
    """Return the alias's assignment now or at a moment in UTC; None where it names no version."""
    periods = history(client, pipeline, alias, at)
    return periods[0].assignment if periods and periods[0].assignment.version else None


def named(client: Client, pipeline: str) -> dict[str, Alias]:
    """Return the current assignment of each of a pipeline's aliases, whichever clock set it."""
    assignments = (period.assignment for period in history(client, pipeline, at=_FAR))
    return {assignment.alias: assignment for assignment in assignments if assignment.version}


def history(client: Client, pipeline: str, alias: str = "", at: datetime | None = None) -> list[Period]:
    """Return the assignments of a pipeline's aliases, newest first.

    Args:
        alias: only this alias; '' for all.
        at: only the assignments that counted at this moment, UTC; None for all.
    """
    moment = -1 if at is None else max((at - NEVER) // MICROSECOND, 0)
    rows = client.rows(statement("alias_history").text, {"pipeline": pipeline, "alias": alias, "at": moment})
    return [
        Period(
            Alias(pipeline, name, model_id, version, set_by, reason, NEVER + since * MICROSECOND),
            NEVER + until * MICROSECOND if until else None,
        )
        for name, model_id, version, set_by, reason, since, until in rows
    ]
