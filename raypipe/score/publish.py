"""Publishing: staging becomes a twin of each target inside ClickHouse, and the twin's partition is swapped in.

Where a target is partitioned by the run's constants, REPLACE PARTITION puts the new rows in and takes an
earlier run's out in one step. Where it is not (a monthly partition holds many days), or where others have rows in
that very partition, MOVE PARTITION adds the new rows in one step, and those of an earlier run are deleted by their
mark once the new ones are committed. All twins are made before the first target changes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from raypipe.artifact.contract import describe_query
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, identifier
from raypipe.clickhouse.tables import Table, describe, shards
from raypipe.config.publishing import PREDICTIONS
from raypipe.errors import ConfigError, DataError, GateRefused
from raypipe.score import mapping, runs
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest, Target

log = logging.getLogger(__name__)

RUN_CONSTANTS = {"prediction_type", "prediction_date", "model_id", "model_version"}
# Several threads write a twin, and its parts are written as they come: half the time for the same rows.
FILLING = {"max_insert_threads": 4, "optimize_on_insert": 0}
IN_PARTITION = "_partition_id = {partition:String}"
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
    """How a run's rows get into a target that nobody else writes to: `replace`, or `move`."""
    return "replace" if swaps_whole_runs(target) else "move"


def mark(
    table: Table, run_id: str, model_version: str, manifest: Manifest, run_at: Any, name: str = "mark"
) -> tuple[str, dict[str, Any]]:
    """The condition that holds for one run's rows in a target, and its bound values, whose names begin with `name`."""
    names = {column.name for column in table.columns}
    values = {
        "batch_id": ("String", run_id),
        "created_at": ("DateTime", run_at),
        "predicted_at": ("DateTime", run_at),
        "model_version": ("String", model_version),
        "prediction_date": ("Date", manifest.date),
        "assignment_date": ("Date", manifest.date),
    }
    used = [column for column in MARKS if column in names]
    # Two runs of a pipeline never begin in the same second (`planning.run_at`), those of two pipelines may.
    tells = "created_at" in names and names & {"model_version", "prediction_date", "assignment_date"}
    if "batch_id" not in names and not tells:
        raise ConfigError(
            f"{table.name} has no column that tells one run's rows from another's",
            found=", ".join(sorted(names)),
            allowed="batch_id, or created_at with model_version or prediction_date",
            next_step="publish into another table, or add a batch_id column",
        )
    condition = " AND ".join(f"{identifier(column)} = {{{name}_{column}:{values[column][0]}}}" for column in used)
    return condition, {f"{name}_{column}": values[column][1] for column in used}


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
        of_all_models: whether that partition holds the rows of the date whatever model scored it.
        may_join: whether the rows may still be moved in where others come before they replace anything: not where some
            of them stand already, nor where the view was told that they replace.
    """

    target: Target
    how: str
    partition: str
    of_all_models: bool
    may_join: bool = False

    def takes_place(self, before: int) -> bool:
        """Whether the rows take the place of every other run's of the date; present ones did, or not, before."""
        return bool(before) if self.how == "present" else self.how == "replace" and self.of_all_models


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
    how, of_all_models = method(table), not _parts(table) & {"model_id", "model_version"}
    standing = count(client, target.table, condition, values)
    if how == "move" and standing == rows:
        return Prepared(target, "present", "", of_all_models)
    partition = _fill(client, manifest, target, table, manifest.twin(target), written, rows)
    if how == "replace":
        # Beside other rows they were moved in. As a replacement both runs would be in view until the swap.
        if standing == rows < count(client, target.table, IN_PARTITION, {"partition": partition}):
            return Prepared(target, "present", "", of_all_models)
        shared = others(client, manifest, target, partition)
        if shared:
            log.info("%s: not replaced but moved in, beside %s", target.table, shared)
            how = "move"
    return Prepared(target, how, partition, of_all_models, not standing and target.table != PREDICTIONS)


def others(client: Client, manifest: Manifest, target: Target, partition: str) -> str:
    """Whose rows a replaced partition would lose, in words; '' where it holds the rows of this pipeline's runs alone.

    Rows that no run of this pipeline and date marked are another's: another pipeline's, or predictions saved ad hoc.
    Where the partition key does not tell kinds of predictions apart, another pipeline at work on the date counts too:
    its rows may come in between this look and the swap.
    """
    table = require_target(client, target)
    if "prediction_type" not in _parts(table):
        working = runs.at_work(client, manifest, table.name)
        if working:
            return f"those of {', '.join(working)}, at work on the date"
    known = [(manifest.run_id, manifest.model_version, manifest.run_at)]
    known += [(run.run_id, run.model_version, run.started_at) for run in runs.siblings(client, manifest)]
    marks = [
        mark(table, run_id, version, manifest, at, f"run{number}") for number, (run_id, version, at) in enumerate(known)
    ]
    own = " OR ".join(f"({condition})" for condition, _ in marks)
    values = {name: value for _, bound in marks for name, value in bound.items()}
    # A NULL in a mark is no run's.
    condition = f"{IN_PARTITION} AND NOT ifNull({own}, 0)"
    rows = count(client, target.table, condition, {**values, "partition": partition})
    return f"{rows} rows without the mark of a run of {manifest.pipeline}" if rows else ""


def swap(client: Client, manifest: Manifest, prepared: Prepared) -> None:
    """Puts the prepared rows into their target, whole; repeating it changes nothing.

    Raises:
        GateRefused: others have come into the partition that would be replaced, and a resume must look at it again.
    """
    if prepared.how == "present":
        return
    # A twin takes minutes to fill, and the other targets' are filled and swapped in first.
    shared = others(client, manifest, prepared.target, prepared.partition) if prepared.how == "replace" else ""
    if shared and not prepared.may_join:
        raise GateRefused(
            f"Run {manifest.run_id} is not committed: others came into its partition of {prepared.target.table}",
            found=shared,
            allowed=f"rows of runs of {manifest.pipeline}",
            next_step=f"`raypipe resume {manifest.run_id}` adds its rows beside them",
        )
    swapping = client.topology.replace if prepared.how == "replace" and not shared else client.topology.move
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
