"""Tables that belong to one run and outlived it: found by name, dropped when their run is surely over."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.tables import describe

# The kinds of tables that a run makes for itself, named raypipe_<kind>_<…run id>.
KINDS = ("staging", "twin", "explain", "snapshot", "training", "lock")
LOCK = "lock"
OVER = frozenset({"PUBLISHED", "SUPERSEDED"})
# A run in one of these states can be finished by `raypipe resume`, for which its tables are kept a while.
RESUMABLE = frozenset({"REFUSED", "FAILED"})
PATIENCE = timedelta(hours=24)

_TABLES = """
SELECT name, comment, dateDiff('second', metadata_modification_time, now()), toUnixTimestamp(metadata_modification_time)
FROM %s
WHERE database = {database:String} AND match(name, {pattern:String})
ORDER BY name
LIMIT 1 BY name
"""


@dataclass(frozen=True)
class Leftover:
    """A table that a run made for itself.

    Attributes:
        table: its name.
        kind: one of KINDS.
        run_id: the run it belongs to, '' when the ledger knows none that fits.
        status: of that run, '' when unknown.
        age: since the table was made or altered; None where the server does not know.
    """

    table: str
    kind: str
    run_id: str
    status: str
    age: timedelta | None

    def is_over(self, patience: timedelta = PATIENCE) -> bool:
        """Whether nobody needs the table any more: its run is over, or failed or unknown and older than `patience`."""
        is_old = self.age is not None and self.age >= patience
        return self.status in OVER or (is_old and (not self.status or self.status in RESUMABLE))


def leftovers(client: Client) -> tuple[Leftover, ...]:
    """Every table of the client's database that belongs to a run, those of living runs included."""
    statuses = _statuses(client)
    pattern = f"^raypipe_({'|'.join(KINDS)})_"
    # On a cluster a lock stands on one node, whichever was asked.
    rows = client.rows(
        _TABLES % client.topology.system("tables"), {"database": client.endpoint.database, "pattern": pattern}
    )
    owners = {name: _owner(f"{name} {comment}", statuses) for name, comment, *_ in rows}
    return tuple(
        Leftover(
            table=name,
            kind=_kind(name),
            run_id=owners[name],
            status=statuses.get(owners[name], ""),
            # Where a database keeps no metadata on disk the time is 1970: no reason to call a table old.
            age=timedelta(seconds=seconds) if changed else None,
        )
        for name, _, seconds, changed in rows
    )


def clean(client: Client, run_ids: Collection[str] | None = None, patience: timedelta = PATIENCE) -> tuple[str, ...]:
    """Drops the tables of runs that are over, and of failed or unknown ones older than `patience`.

    Args:
        client: its database is cleaned.
        run_ids: only the tables of these runs; None for every run's. A run that is not over is spared either way.
        patience: how old a table of a failed or an unknown run must be.

    Returns:
        The names of the dropped tables.
    """
    over = [
        leftover
        for leftover in leftovers(client)
        if leftover.is_over(patience) and (run_ids is None or leftover.run_id in run_ids)
    ]
    # Locks last: as long as the tables of a run stand, no second one starts in between.
    for leftover in sorted(over, key=lambda one: one.kind == LOCK):
        client.run(client.topology.drop(leftover.table))
    return tuple(leftover.table for leftover in over)


def _statuses(client: Client) -> dict[str, str]:
    if describe(client, "raypipe_runs") is None:
        return {}
    return dict(client.rows("SELECT run_id, status FROM raypipe_runs FINAL"))


def _kind(table: str) -> str:
    return table.split("_")[1]


def _owner(text: str, statuses: dict[str, str]) -> str:
    """The run that a table's name or comment speaks of; the longest known id that fits, '' without one."""
    return max((run_id for run_id in statuses if run_id and run_id in text), key=len, default="")
