"""Find the tables that belong to one run, and drop those that no run needs any more."""

from dataclasses import dataclass
from datetime import timedelta

from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.lock import Owner
from raypipe.clickhouse.tables import OWN_KINDS, describe

LOCK = "lock"
# The ledgers of runs, with the column that the names of their tables contain.
LEDGERS = {"raypipe_runs": "run_id", "raypipe_writes": "write_id"}
# The rows of a committed run, which readers may need as long as it is the committed run of its date.
PREVIOUS = "previous"
SUPERSEDED = "SUPERSEDED"
OVER = frozenset({"PUBLISHED", SUPERSEDED})
# `raypipe resume` can finish a run of these states, so its tables are kept a while.
RESUMABLE = frozenset({"REFUSED", "FAILED", "INTERRUPTED"})
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
    """A table that a run created for itself.

    Attributes:
        status: the status of its run, '' when the ledger has no such run.
        age: the time since the table was created or altered; None where the server does not know.
        owner: of a lock, the process that holds it.
    """

    table: str
    kind: str
    status: str
    age: timedelta | None
    owner: Owner | None = None

    def is_over(self) -> bool:
        """Return whether no run needs the table.

        Its run is over, or the run is resumable or unknown and the table is older than PATIENCE. A run may work behind
        its commit, so that a lock goes only with its process, or when it is old and nobody knows of the process.
        """
        is_old = self.age is not None and self.age >= PATIENCE
        is_unneeded = is_old and (not self.status or self.status in RESUMABLE)
        if self.owner is not None:
            is_given_up = is_unneeded or (is_old and self.status in OVER)
            return self.owner.is_dead or (is_given_up and not self.owner.is_alive)
        if self.kind == PREVIOUS:
            return self.status == SUPERSEDED or (is_old and not self.status)
        return self.status in OVER or is_unneeded


def leftovers(client: Client) -> tuple[Leftover, ...]:
    """Return every table of the client's database that belongs to a run, also those of runs at work."""
    statuses = _statuses(client)
    pattern = f"^raypipe_({'|'.join(OWN_KINDS)})_"
    # On a cluster a lock, or the table of a fit, exists on one node only.
    topology = client.topology
    sql = _TABLES % topology.all_nodes("system.tables")
    rows = {
        row[0]: row
        for node in sharding.nodes(client)
        for row in node.rows(sql, {"database": node.endpoint.database, "pattern": pattern}, topology.live_settings)
    }
    return tuple(
        Leftover(
            table=name,
            kind=name.split("_")[1],
            status=statuses.get(_owner(f"{name} {comment}", statuses), ""),
            # The time is 1970 where a database keeps no metadata on disk, which does not make a table old.
            age=timedelta(seconds=seconds) if changed else None,
            owner=Owner.from_json(comment) if name.startswith(f"raypipe_{LOCK}_") else None,
        )
        for name, comment, seconds, changed in rows.values()
    )


def clean(client: Client) -> tuple[str, ...]:
    """Drop the tables that no run needs any more, and return their names."""
    over = [leftover for leftover in leftovers(client) if leftover.is_over()]
    # Locks last, so that no second run starts while tables of the first exist.
    for leftover in sorted(over, key=lambda leftover: leftover.kind == LOCK):
        sharding.drop(client, leftover.table)
    return tuple(leftover.table for leftover in over)


def _statuses(client: Client) -> dict[str, str]:
    statuses: dict[str, str] = {}
    for ledger, name in LEDGERS.items():
        if describe(client, ledger) is not None:
            statuses |= dict(client.rows(f"SELECT {name}, status FROM {ledger} FINAL"))
    return statuses


def _owner(text: str, statuses: dict[str, str]) -> str:
    """Return the run that a table's name or comment names, the longest known id; '' without a match."""
    return max((run_id for run_id in statuses if run_id and run_id in text), key=len, default="")
