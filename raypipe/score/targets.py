"""Decide whether a target can hold a run's rows, and by which method they are published there."""

import re
from collections.abc import Iterator
from typing import Any

from raypipe.clickhouse import twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.row_policies import require_visible
from raypipe.clickhouse.schema.current_views import marks
from raypipe.clickhouse.server_errors import STATEMENT
from raypipe.clickhouse.statements import identifier, literal
from raypipe.clickhouse.tables import Table, expirations, locate, split_expressions
from raypipe.errors import ConfigError, GateRefused, RaypipeError, ServerError, together
from raypipe.score.manifest import Manifest, PublishTarget
from raypipe.score.runs import Run

# Engines that keep every row. ReplacingMergeTree does, too, where its sorting key tells the rows apart.
KEEPING = "MergeTree"
REPLACING = "ReplacingMergeTree"
RUN_CONSTANTS = {"prediction_type", "prediction_date", "model_id", "model_version"}
RUN_TIMES = ("created_at", "predicted_at")
DAYS = ("prediction_date", "assignment_date")


def method(target: Table) -> str:
    """Return `replace` where a partition of the target holds only the rows of one run key, else `move`."""
    parts = partition_columns(target)
    # Where several pipelines share a table, a partition of the date alone holds rows of all of them.
    shared = target.column("prediction_type") is not None and "prediction_type" not in parts
    return "replace" if "prediction_date" in parts and parts <= RUN_CONSTANTS and not shared else "move"


def partition_columns(target: Table) -> set[str]:
    """Return the expressions of a table's partition key."""
    return {part.strip() for part in target.partition_key.strip("()").split(",")} - {""}


def mark(table: Table, run: Manifest | Run, name: str = "mark") -> tuple[str, dict[str, Any]]:
    """Return the condition for one run's rows in a target, and its bound values, named `name` and a column."""
    values = _marks(run)
    used = marks(table)
    condition = " AND ".join(f"{identifier(column)} = {{{name}_{column}:{values[column][0]}}}" for column in used)
    return condition, {f"{name}_{column}": values[column][1] for column in used}


def _marks(run: Manifest | Run) -> dict[str, tuple[str, Any]]:
    """Return the type and a run's value of each mark."""
    return {
        "batch_id": ("String", run.run_id),
        "created_at": ("DateTime", run.run_at),
        "predicted_at": ("DateTime", run.run_at),
        "model_version": ("String", run.model_version),
        "prediction_date": ("Date", run.date),
        "assignment_date": ("Date", run.date),
    }


def require_target(client: Client, manifest: Manifest, target: PublishTarget) -> Table:
    """Return a target's description.

    Raises:
        ConfigError: the table does not exist, or would lose rows of the run.
        GateRefused: the run would replace rows that the user may not see.
    """
    table = twins.require_swappable(client, target.table)
    reasons = list(refusals(client, manifest, target, table))
    if reasons:
        raise together(reasons)
    return table


def refusals(client: Client, manifest: Manifest, target: PublishTarget, table: Table) -> Iterator[RaypipeError]:
    """Yield every reason why a target cannot hold the run's rows."""
    checks = (
        lambda: mark(table, manifest),
        lambda: _require_rows_kept(manifest, target, table),
        lambda: _require_lasting(client, manifest, target, table),
        lambda: _require_visible_day(client, manifest, target, table),
    )
    for check in checks:
        try:
            check()
        except (ConfigError, GateRefused) as error:
            yield error


def _require_rows_kept(manifest: Manifest, target: PublishTarget, table: Table) -> None:
    """Refuse an engine that merges rows of a run, or of two runs, into one row."""
    kind = re.sub("^(Replicated|Shared)", "", table.engine)
    if kind not in (KEEPING, REPLACING):
        raise ConfigError(
            f"{target.table} would merge rows of the run away",
            found=f"the engine {table.engine}",
            allowed=f"{KEEPING}, or {REPLACING} with a sorting key that tells entities and runs apart",
            next_step=f"create {target.table} with the engine {KEEPING}, or publish into another table",
        )
    # Where an entity has not exactly one row, the keys of the target are not the entity's.
    missing = _missing_from_key(manifest, table) if kind == REPLACING and target.rows == "count()" else []
    if missing:
        raise ConfigError(
            f"{target.table} would merge rows of the run away: its sorting key lacks {' and '.join(missing)}",
            found=f"{table.engine} ORDER BY ({', '.join(table.sorting_key)})",
            allowed="a sorting key with the entity's keys, the date, and batch_id or created_at",
            next_step=f"create {target.table} with {' and '.join(missing)} in its sorting key, or with {KEEPING}",
        )


def _missing_from_key(manifest: Manifest, table: Table) -> list[str]:
    """Return the columns without which a ReplacingMergeTree takes rows of two entities, dates or runs for one."""
    names = [column.name for column in table.columns]
    # Rows of two partitions are never merged.
    key = {*table.sorting_key, *split_expressions(table.partition_key)}
    entity = [name if name in names or "entity_id" not in names else "entity_id" for name in manifest.keys]
    missing = [name for name in dict.fromkeys(entity) if name not in key]
    if key & {"batch_id", *RUN_TIMES}:
        return missing
    if not key & set(DAYS):
        missing.append(next((name for name in DAYS if name in names), DAYS[0]))
    # With a run's time as its version, the table keeps the rows of the later run, as publishing does.
    return missing if _version(table) in RUN_TIMES else [*missing, "batch_id" if "batch_id" in names else "created_at"]


def loses_to_other_dates(table: Table) -> bool:
    """Return whether merges remove rows of a date for the rows of another date."""
    key = {*table.sorting_key, *split_expressions(table.partition_key)}
    return table.engine.endswith(REPLACING) and not key & {"batch_id", *DAYS, *RUN_TIMES}


def _version(table: Table) -> str:
    """Return the version column of a ReplacingMergeTree; '' where it has none."""
    arguments = re.match(r"\w+\(([^)]*)\)", table.engine_full)
    # A replicated table names its path and replica first, in quotes.
    columns = [name for name in split_expressions(arguments[1] if arguments else "") if not name.startswith("'")]
    return columns[0].strip("`") if columns else ""


def _require_lasting(client: Client, manifest: Manifest, target: PublishTarget, table: Table) -> None:
    """Refuse a table whose TTL would delete the run's rows with the next merge."""
    for rule in expirations(table.engine_full):
        if _on_run(client, manifest, table, f"({rule}) <= now()"):
            raise ConfigError(
                f"{target.table} would delete the rows of {manifest.date} at once",
                found=f"TTL {rule}",
                allowed="a date whose rows last",
                next_step=f"choose a later --date, or alter the TTL of {target.table}",
            )


def _require_visible_day(client: Client, manifest: Manifest, target: PublishTarget, table: Table) -> None:
    """Look at the partition that the run would replace, as far as its constants tell; publishing looks again."""
    if method(table) == "replace":
        partition = _on_run(
            client, manifest, table, f"partitionId({', '.join(split_expressions(table.partition_key))})"
        )
        require_visible(client, target.table, str(partition))


def _on_run(client: Client, manifest: Manifest, table: Table, expression: str) -> Any:
    """Evaluate an expression on a run's constants; '' where it needs other columns."""
    known = {
        **_marks(manifest),
        "prediction_type": ("String", manifest.pipeline),
        "model_id": ("String", manifest.model_id),
    }
    used = [column for column in table.columns if column.name in known]
    columns = ", ".join(
        f"CAST({{{column.name}:{known[column.name][0]}}}, {literal(column.type)}) AS {identifier(column.name)}"
        for column in used
    )
    try:
        return client.value(
            f"SELECT {expression} FROM (SELECT {columns})", {column.name: known[column.name][1] for column in used}
        )
    except ServerError as error:
        if error.code not in STATEMENT:
            raise
        return ""


def unfed_views(client: Client, target: str) -> list[str]:
    """Return the materialized views that read from a target: partition swaps write no rows into them."""
    database, name = locate(client, target)
    rows = client.rows(
        "SELECT arrayJoin(arrayZip(dependencies_database, dependencies_table)) AS view FROM system.tables"
        " WHERE database = {database:String} AND name = {table:String} ORDER BY view",
        {"database": database, "table": name},
    )
    return [view if place == client.endpoint.database else f"{place}.{view}" for ((place, view),) in rows]
