"""Keep the committed run's rows for readers while a later run of its date is swapped in.

A swap takes the committed run's rows out of a target before the later run is committed. So they are first linked into a
table of their own, and the ledger says where they are: until that row is written, the target has them; from then on
the copy has them, and nobody changes it before the later run is committed.
"""

import json
from collections.abc import Sequence

from raypipe.clickhouse import replication, sharding, swaps, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema import current_views
from raypipe.clickhouse.tables import short_name
from raypipe.errors import GateRefused
from raypipe.score import publish, runs
from raypipe.score.parts import Part
from raypipe.score.publish import IN_PARTITION, PreparedTarget
from raypipe.score.runs import Run
from raypipe.score.targets import mark


def keep(client: Client, run: Run, prepared: Sequence[Part], epoch: int) -> str:
    """Copy the committed run's rows of the targets that would lose them; return `previous` for the run's row.

    Args:
        epoch: the owner's, in the names of the copies: a former owner cannot touch them.

    Raises:
        GateRefused: somebody changed a target meanwhile.
    """
    names: dict[str, str] = json.loads(run.previous)
    # From here on, the committed run stays the committed run until this run is committed.
    runs.end_former(client, run, epoch)
    committed = runs.committed(client, run)
    if committed is None:
        return run.previous
    kept = runs.kept(client, run, committed)
    # Where one shard loses rows, readers look for all shards' rows in the copies.
    losing = {item.table for item in prepared if item.prepared.takes_rows_away}
    copies = []
    for item in prepared:
        target = short_name(client, item.table)
        if item.table in losing and target not in kept:
            copy = current_views.previous(target, committed.run_id, epoch)
            if _copied(item.client, run.run_id, committed, item.prepared, copy):
                names[target] = copy
                copies.append((copy, item.prepared.partition))
    replication.settle(client, copies)
    return json.dumps(names)


def _copied(client: Client, run_id: str, committed: Run, item: PreparedTarget, copy: str) -> bool:
    """Link the partition to a copy, and return whether it has rows of the committed run."""
    table, target = item.table, item.target.table
    condition, values = mark(table, committed)
    values = {**values, "partition": item.partition}
    standing = publish.count(client, target, f"{IN_PARTITION} AND {condition}", values)
    if not standing:
        return False
    twins.create(client, copy, target, table, committed.pipeline)
    swaps.link(client, copy, target, item.partition)
    copied = publish.count(client, copy, condition, values)
    if copied != standing:
        raise GateRefused(
            f"{target} was written to while a run was published",
            found=f"{copied} rows of {committed.run_id}, then {standing}",
            allowed="no other writer of the runs' rows",
            next_step=f"`raypipe resume {run_id}` publishes again",
        )
    return True


def drop(client: Client, superseded: Run) -> None:
    """Drop the copies of a run's rows, now that a later run is committed."""
    prefix = f"{current_views.PREVIOUS}{superseded.run_id}_e"
    for node in sharding.nodes(client):
        rows = node.rows(
            "SELECT DISTINCT name FROM system.tables WHERE database = {database:String}"
            " AND startsWith(name, {prefix:String})",
            {"database": node.endpoint.database, "prefix": prefix},
        )
        for (name,) in rows:
            node.run(node.topology.drop(name))
