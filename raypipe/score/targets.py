"""Decide whether a target can hold a run's rows, and by which method they are published there."""

from typing import Any

from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import Table
from raypipe.errors import ConfigError
from raypipe.score.manifest import Manifest
from raypipe.score.runs import Run

RUN_CONSTANTS = {"prediction_type", "prediction_date", "model_id", "model_version"}
# Together, the marks that a table has tell a run's rows from another run's; see `mark`.
MARKS = ("batch_id", "created_at", "predicted_at", "model_version", "prediction_date", "assignment_date")


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
    names = {column.name for column in table.columns}
    values = {
        "batch_id": ("String", run.run_id),
        "created_at": ("DateTime", run.run_at),
        "predicted_at": ("DateTime", run.run_at),
        "model_version": ("String", run.model_version),
        "prediction_date": ("Date", run.date),
        "assignment_date": ("Date", run.date),
    }
    used = [column for column in MARKS if column in names]
    # Two runs of one pipeline never begin in the same second (`prepare.run_at`); runs of two pipelines may.
    tells = "created_at" in names and names & {"model_version", "prediction_date", "assignment_date"}
    if "batch_id" not in names and not tells:
        raise ConfigError(
            f"{table.name} has no columns that tell the rows of two runs apart",
            found=", ".join(sorted(names)),
            allowed="batch_id, or created_at with model_version or prediction_date",
            next_step="publish into another table, or add a batch_id column",
        )
    condition = " AND ".join(f"{identifier(column)} = {{{name}_{column}:{values[column][0]}}}" for column in used)
    return condition, {f"{name}_{column}": values[column][1] for column in used}
