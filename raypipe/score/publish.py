"""Publishing: staging becomes a twin of each target inside ClickHouse, and the twin's partition is swapped in.

Where a target is partitioned by the run's constants, REPLACE PARTITION puts the new rows in and takes an
earlier run's out in one step. Where it is not (a monthly partition holds many days), MOVE PARTITION adds
the new rows in one step, and those of an earlier run are deleted by their mark once the new ones are committed.
All twins are made before the first target changes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, identifier
from raypipe.clickhouse.tables import Table, describe, shards
from raypipe.data.contract import describe_query
from raypipe.errors import ConfigError, DataError, GateRefused
from raypipe.score import mapping
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest, Target

log = logging.getLogger(__name__)

RUN_CONSTANTS = {"prediction_type", "prediction_date", "model_id", "model_version"}
# Several threads write a twin, and its parts are written as they come: half the time for the same rows.
FILLING = {"max_insert_threads": 4, "optimize_on_insert": 0}
# Together they tell a run's rows from another's, as far as a table has them; see `mark`.
MARKS = ("batch_id", "created_at", "predicted_at", "model_version", "prediction_date", "assignment_date")


def swaps_whole_runs(target: Table) -> bool:
    """Whether a partition of the target holds the rows of one run key and nothing else."""
    parts = _parts(target)
    # Where several pipelines share a table, a partition of the date alone holds the rows of them all.
    shared = target.column("prediction_type") is not None and "prediction_type" not in parts
    return "prediction_date" in parts and parts <= RUN_CONSTANTS and not shared


def _parts(target: Table) -> set[str]:
    """The expressions of a table's partition key."""
    return {part.strip() for part in target.partition_key.strip("()").split(",")} - {""}


def method(target: Table) -> str:
    """How a run's rows get into a target: `replace`, or `move`."""
    return "replace" if swaps_whole_runs(target) else "move"


def mark(table: Table, run_id: str, model_version: str, manifest: Manifest, run_at: Any) -> tuple[str, dict[str, Any]]:
    """The condition that holds for one run's rows in a target, and its bound values."""
    names = {column.name for column in table.columns}
    values = {
        "batch_id": ("String", run_id),
        "created_at": ("DateTime", run_at),
        "predicted_at": ("DateTime", run_at),
        "model_version": ("String", model_version),
        "prediction_date": ("Date", manifest.date),
        "assignment_date": ("Date", manifest.date),
    }
    used = [name for name in MARKS if name in names]
    # Two runs of a pipeline never begin in the same second (`planning.run_at`), those of two pipelines may.
    tells = "created_at" in names and names & {"model_version", "prediction_date", "assignment_date"}
    if "batch_id" not in names and not tells:
        raise ConfigError(
            f"{table.name} has no column that tells one run's rows from another's",
            found=", ".join(sorted(names)),
            allowed="batch_id, or created_at with model_version or prediction_date",
            next_step="publish into another table, or add a batch_id column",
        )
    condition = " AND ".join(f"{identifier(name)} = {{mark_{name}:{values[name][0]}}}" for name in used)
    return condition, {f"mark_{name}": values[name][1] for name in used}


def require_target(client: Client, target: Target) -> Table:
    """The target's description.

    Raises:
        ConfigError: it does not exist, or it cannot be swapped.
    """
    table = describe(client, target.table)
    if table is None:
        raise ConfigError(
            f"The target {target.table} does not exist in {client.endpoint.database}",
            next_step="run `raypipe migrate`, or correct `publish` in the pipeline's config",
        )
    if not table.engine.endswith("MergeTree"):
        raise ConfigError(
            f"The target {target.table} has no partitions that could be swapped in",
            found=table.engine,
            allowed="an engine of the MergeTree family",
        )
    return table


@dataclass(frozen=True)
class Prepared:
    """A target whose new rows stand beside it, ready to be swapped in.

    Attributes:
        how: `replace`, `move`, or `present` when an interrupted publication had done it.
        partition: the id of the twin's only partition; '' when present.
        takes_place: whether the rows take the place of every other run's of the date, whatever model scored it.
    """

    target: Target
    how: str
    partition: str
    takes_place: bool


def prepare(client: Client, manifest: Manifest, target: Target, written: Sequence[Receipt], rows: int) -> Prepared:
    """Makes a target's rows in a twin of it; the target itself is only looked at.

    Args:
        client: the ClickHouse of the run.
        manifest: the run.
        target: where the rows go.
        written: the receipts of the slices that count.
        rows: how many rows there must be.

    Raises:
        ConfigError: the target or its publish statement cannot be used.
        GateRefused: the statement does not make the rows that were staged.
        DataError: they do not fit into one partition.
    """
    table = require_target(client, target)
    condition, values = mark(table, manifest.run_id, manifest.model_version, manifest, manifest.run_at)
    how = method(table)
    if how == "move" and count(client, target.table, condition, values) == rows:
        return Prepared(target, "present", "", False)
    partition = _fill(client, manifest, target, table, manifest.twin(target), written, rows)
    return Prepared(target, how, partition, how == "replace" and not _parts(table) & {"model_id", "model_version"})


def swap(client: Client, manifest: Manifest, prepared: Prepared) -> None:
    """Puts the prepared rows into their target, whole; repeating it changes nothing."""
    if prepared.how == "present":
        return
    swapping = client.topology.replace if prepared.how == "replace" else client.topology.move
    for sql, settings in swapping(prepared.target.table, manifest.twin(prepared.target), prepared.partition):
        client.run(sql, settings=settings)


def _fill(
    client: Client,
    manifest: Manifest,
    target: Target,
    table: Table,
    twin: str,
    written: Sequence[Receipt],
    rows: int,
) -> str:
    """Fills a twin of the target and returns its only partition's id."""
    sql = Statement(target.sql, source=f"the publish statement of {target.table}").render(**mapping.fragments(manifest))
    parameters = mapping.bound(manifest, written)
    columns = _columns(client, sql, parameters, table)
    client.run(client.topology.drop(twin))
    client.run(client.topology.twin(twin, target.table, table.engine_full))
    for statement in client.topology.fill(twin, columns, sql, shards(client)):
        client.run(statement, parameters, FILLING)
    condition, values = mark(table, manifest.run_id, manifest.model_version, manifest, manifest.run_at)
    filled = count(client, twin, condition, values)
    # Rows without the mark would be swapped in with the others.
    if not filled == rows == count(client, twin, "1", {}):
        raise GateRefused(
            f"Run {manifest.run_id} was not published: the rows made for {target.table} are not those staged",
            found=f"{filled} rows with the run's mark",
            allowed=f"{rows} rows",
            next_step=f"check that the publish statement of {target.table} yields a row an entity and the run's"
            " batch_id, created_at = {run_at:DateTime} and prediction_date = {date:Date}",
        )
    partitions = client.rows(
        f"SELECT DISTINCT partition_id FROM {client.topology.system('parts')}"
        " WHERE active AND database = {database:String} AND table = {table:String}",
        {"database": client.endpoint.database, "table": twin},
    )
    if len(partitions) != 1:
        raise DataError(
            f"The rows for {target.table} fall into several of its partitions, which cannot be swapped in at once",
            found=f"{len(partitions)} partitions of {table.partition_key or 'no key'}",
            allowed="one",
        )
    return str(partitions[0][0])


def _columns(client: Client, sql: str, parameters: dict[str, Any], table: Table) -> str:
    """The names the publish statement yields, all of which the target must have."""
    names = list(describe_query(client, sql, parameters))
    unknown = sorted(set(names) - {column.name for column in table.columns})
    if unknown:
        raise ConfigError(
            f"The publish statement of {table.name} yields columns that the table does not have",
            found=", ".join(unknown),
            allowed=", ".join(column.name for column in table.columns),
        )
    return ", ".join(identifier(name) for name in names)


def remove_earlier(client: Client, manifest: Manifest, target: Target, run_id: str, version: str, run_at: Any) -> None:
    """Deletes what an earlier run of the same pipeline and date left in a target outside the swapped partition."""
    table = require_target(client, target)
    condition, values = mark(table, run_id, version, manifest, run_at)
    is_own = values == mark(table, manifest.run_id, manifest.model_version, manifest, manifest.run_at)[1]
    if not is_own and count(client, target.table, condition, values):
        log.info("removing the rows of %s from %s", run_id, target.table)
        sql, settings = client.topology.delete(target.table, condition)
        client.run(sql, values, settings)


def verify(client: Client, manifest: Manifest, target: Target, rows: int) -> None:
    """Counts the run's rows in the target itself.

    Raises:
        GateRefused: they are not as many as were staged; the run is not committed.
    """
    table = require_target(client, target)
    condition, values = mark(table, manifest.run_id, manifest.model_version, manifest, manifest.run_at)
    found = count(client, target.table, condition, values)
    if found != rows:
        raise GateRefused(
            f"Run {manifest.run_id} is not committed: {target.table} does not hold its rows",
            found=f"{found} rows",
            allowed=f"{rows} rows",
            next_step=f"`raypipe resume {manifest.run_id}` publishes again",
        )


def count(client: Client, table: str, condition: str, values: dict[str, Any]) -> int:
    """The rows of a table, on all shards, for which a condition holds."""
    return int(client.value(f"SELECT count() FROM {client.topology.everywhere(table)} WHERE {condition}", values))
