"""Publish a run: fill a twin of each target inside ClickHouse, and swap the twin's partition in.

A direct run's rows are linked into the twin from their portions; what stands in staging gets its shape here.

Where a target is partitioned by the run's constants, REPLACE PARTITION replaces an earlier run's rows by the new rows
in one step. Elsewhere (a monthly partition holds many days, or the partition holds rows of others), MOVE PARTITION adds
the new rows in one step; an earlier run's rows are deleted by their mark once the new rows are committed. All twins are
filled before the first target changes. Each step may be repeated, after a crash in its middle as well.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from raypipe.clickhouse import mutations, sharding, swaps, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.row_policies import require_visible
from raypipe.clickhouse.schema import current_views
from raypipe.clickhouse.statements import Statement, identifier
from raypipe.clickhouse.tables import Table
from raypipe.errors import GateRefused
from raypipe.score import portions, publish_sql, runs
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest, PublishTarget
from raypipe.score.runs import Run
from raypipe.score.targets import REPLACING, mark, method, partition_columns, require_target

log = logging.getLogger(__name__)

# Several threads, and no sorting into one part: this halves the time to fill a twin.
FILLING = {"max_insert_threads": 4, "optimize_on_insert": 0}
IN_PARTITION = "_partition_id = {partition:String}"


@dataclass(frozen=True)
class PreparedTarget:
    """A target with its new rows in a twin, ready to be swapped in.

    Attributes:
        how: `replace` or `move`; `replace` becomes `move` when rows of others appear in the partition.
        partition: the id of the only partition that the rows fall into.
        twin: the table with the new rows.
    """

    target: PublishTarget
    table: Table
    how: str
    partition: str
    twin: str

    @property
    def takes_rows_away(self) -> bool:
        """Return whether the swap, or a merge after it, removes rows of the committed run before the commit."""
        return self.how == "replace" or self.table.engine.endswith(REPLACING)


def prepare(
    client: Client, manifest: Manifest, target: PublishTarget, written: Sequence[Receipt], rows: int, epoch: int
) -> PreparedTarget:
    """Fill a twin of a target with the run's rows; the target itself is only read.

    Args:
        written: the receipts of the slices that count.
        rows: the number of rows that the statement must yield.
        epoch: the owner's, in the twin's name: whoever takes over drops the twin.

    Raises:
        ConfigError: the target or its publish statement cannot be used.
        GateRefused: the statement does not yield the staged rows, or would replace rows that the user may not see.
        DataError: the rows fall into several partitions.
    """
    table = require_target(client, manifest, target)
    current_views.create_missing(client, target.table, table)
    twin = manifest.twin(target, epoch)
    partition = _fill(client, manifest, target, table, twin, written, rows)
    how = method(table)
    if how == "replace":
        shared = others(client, manifest, target, partition)
        if shared:
            log.info("%s: its partition is shared, so the rows are added beside %s", target.table, shared)
            how = "move"
        else:
            require_visible(client, target.table, partition)
    return PreparedTarget(target, table, how, partition, twin)


def others(client: Client, manifest: Manifest, target: PublishTarget, partition: str) -> str:
    """Describe the rows of others that a replaced partition would lose; '' where there are none.

    Rows without the mark of a run of this pipeline and date belong to others: another pipeline, or predictions saved ad
    hoc. Where the partition key does not separate kinds of predictions, another pipeline at work on the date counts,
    too, because its rows may come in before the swap.
    """
    table = twins.require_swappable(client, target.table)
    if "prediction_type" not in partition_columns(table):
        working = runs.at_work(client, manifest, table.name)
        if working:
            return f"rows of {', '.join(working)}, at work on the date"
    own_runs: list[Manifest | Run] = [manifest, *runs.siblings(client, manifest)]
    marks = [mark(table, run, f"run{number}") for number, run in enumerate(own_runs)]
    own = " OR ".join(f"({condition})" for condition, _ in marks)
    values = {name: value for _, bound in marks for name, value in bound.items()}
    # A row with NULL in a mark belongs to no run.
    condition = f"{IN_PARTITION} AND NOT ifNull({own}, 0)"
    rows = count(client, target.table, condition, {**values, "partition": partition})
    return f"{rows} rows without the mark of a run of {manifest.pipeline}" if rows else ""


def swap(client: Client, manifest: Manifest, prepared: PreparedTarget) -> None:
    """Swap the prepared rows into their target, whole; repeating it changes nothing.

    Raises:
        GateRefused: rows that the user may not see are in the partition that would be replaced.
    """
    target, partition = prepared.target.table, prepared.partition
    # Rows of others may have come in: twins take minutes to fill, and other targets may be swapped first.
    if prepared.how == "replace" and not others(client, manifest, prepared.target, partition):
        require_visible(client, target, partition)
        swaps.replace(client, target, prepared.twin, partition)
        return
    # An earlier attempt may have left all of the run's rows or some of them; moved in again, they would be there twice.
    condition, values = mark(prepared.table, manifest)
    if count(client, target, condition, values):
        mutations.delete(client, target, condition, values)
    swaps.move(client, target, prepared.twin, partition)


def _fill(
    client: Client,
    manifest: Manifest,
    target: PublishTarget,
    table: Table,
    twin: str,
    written: Sequence[Receipt],
    rows: int,
) -> str:
    sql = Statement(target.sql, source=f"the publish statement of {target.table}").render(
        **publish_sql.fragments(manifest)
    )
    parameters = publish_sql.bound(manifest, written)
    columns = publish_sql.columns(client, sql, parameters, table)
    twins.create(client, twin, target.table, table, manifest.pipeline, twins.UNMERGED if manifest.direct else None)
    portions.link(client, twin, manifest, target, [(item.slice, item.attempt) for item in written if item.rows_direct])
    if any(item.rows_staged for item in written):
        twins.fill(client, twin, columns, sql, parameters, FILLING)
    filled = count_own(client, manifest, twin, table)
    # Rows without the mark would be swapped in with the others.
    if not filled == rows == count(client, twin, "1", {}):
        raise GateRefused(
            f"Run {manifest.run_id} was not published: the rows for {target.table} are not the staged rows",
            found=f"{filled} rows with the run's mark",
            allowed=f"{rows} rows",
            next_step=f"check that the publish statement of {target.table} yields one row per entity with the run's"
            " batch_id, created_at = {run_at:DateTime} and prediction_date = {date:Date}",
        )
    return twins.only_partition(client, twin, table)


def remove_earlier(client: Client, run: Manifest | Run, target: str, earlier: Manifest | Run) -> None:
    """Delete an earlier run's rows that are left in a target; its date and pipeline are the run's."""
    for holder in sharding.holders(client, target):
        _remove_earlier(holder, run, target, earlier)


def _remove_earlier(client: Client, run: Manifest | Run, target: str, earlier: Manifest | Run) -> None:
    table = twins.require_swappable(client, target)
    condition, values = mark(table, earlier)
    is_own = values == mark(table, run)[1]
    if not is_own and count(client, target, condition, values):
        log.info("removing the rows of %s from %s", earlier.run_id, target)
        mutations.delete(client, target, condition, values)


def verify(client: Client, manifest: Manifest, target: PublishTarget, rows: int) -> None:
    """Count the run's rows in the target itself.

    Raises:
        GateRefused: the target does not hold all staged rows; the run is not committed.
    """
    table = twins.require_swappable(client, target.table)
    published = count_own(client, manifest, target.table, table)
    if published != rows:
        raise GateRefused(
            f"Run {manifest.run_id} is not committed: {target.table} does not hold its rows",
            found=f"{published} rows",
            allowed=f"{rows} rows",
            next_step=f"`raypipe resume {manifest.run_id}` publishes again",
        )


def count_own(client: Client, manifest: Manifest, name: str, like: Table) -> int:
    """Count the rows with the run's mark in a target, or in a twin of it."""
    condition, values = mark(like, manifest)
    return count(client, name, condition, values)


def count(client: Client, table: str, condition: str, values: dict[str, Any]) -> int:
    """Count the rows of a table, on all shards, for which a condition holds."""
    return int(client.value(f"SELECT count() FROM {identifier(table)} WHERE {condition}", values))
