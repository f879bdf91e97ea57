"""Twins: tables like a target, filled beside it until their partition is swapped in."""

from collections.abc import Iterable, Mapping

from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client, QuerySettings
from raypipe.clickhouse.parameters import Parameters
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import Table, describe
from raypipe.errors import ConfigError, DataError

# The parts of a table that is soon gone are not worth a merge; the target merges them in its own time.
UNMERGED = {"max_bytes_to_merge_at_max_space_in_pool": 1, "max_bytes_to_merge_at_min_space_in_pool": 1}
# A file per column costs an insert a fifth of its time, and each link of a part as many links. The target's merges
# write its parts as its own settings say.
ONE_FILE = {"min_bytes_for_wide_part": 1 << 40, "min_rows_for_wide_part": 1 << 40}
TWIN = "^raypipe_twin_.*_e[0-9]+$"


def require_swappable(client: Client, target: str) -> Table:
    """Return a target's description.

    Raises:
        ConfigError: the table does not exist, or its partitions cannot be swapped.
    """
    table = describe(client, target)
    if table is None or not table.engine.endswith("MergeTree"):
        raise ConfigError(
            f"The partitions of {target} cannot be swapped" if table else f"The target {target} does not exist",
            found=table.engine if table else f"no such table in the database {client.endpoint.database}",
            allowed="a table with an engine of the MergeTree family",
            next_step="run `raypipe migrate`, or correct `publish` in the pipeline's config",
        )
    return table


def named(of: str, epoch: int) -> str:
    """Return the name of a twin that an epoch of its pipeline fills; `drop_former` reads the epoch from it."""
    return f"raypipe_twin_{of}_e{epoch}"


def create(
    client: Client, twin: str, target: str, table: Table, pipeline: str, settings: Mapping[str, int] | None = None
) -> None:
    """Create an empty twin of a target, in place of an earlier attempt's; its comment is the pipeline.

    Args:
        settings: replace those of the target.
    """
    client.run(client.topology.drop(twin))
    client.run(client.topology.twin(twin, target, table.engine_full, pipeline, settings))


def drop_former(client: Client, pipeline: str, epoch: int) -> None:
    """Drop the pipeline's twins of an epoch, before its owner fills a twin, and of all earlier epochs."""
    for node in sharding.nodes(client):
        for name in of_pipeline(node, pipeline, TWIN):
            if int(name.rpartition("_e")[2]) <= epoch:
                node.run(node.topology.drop(name))


def drop_of_run(client: Client, pipeline: str, run_id: str) -> None:
    """Drop the twins of a run, of every attempt."""
    for node in sharding.nodes(client):
        for name in of_pipeline(node, pipeline, TWIN):
            if name.rpartition("_e")[0].endswith(f"_{run_id}"):
                node.run(node.topology.drop(name))


def of_pipeline(client: Client, pipeline: str, pattern: str) -> list[str]:
    """Return the tables of a pipeline whose names match a regular expression."""
    # The comment tells `churn` from `my_churn`; a name might not.
    rows = client.rows(
        "SELECT DISTINCT name FROM system.tables WHERE database = {database:String}"
        " AND comment = {pipeline:String} AND match(name, {pattern:String}) ORDER BY name",
        {"database": client.endpoint.database, "pipeline": pipeline, "pattern": pattern},
    )
    return [name for (name,) in rows]


def fill(
    client: Client, twin: str, columns: Iterable[str], sql: str, parameters: Parameters, settings: QuerySettings
) -> None:
    """Write the columns that a query yields into a twin."""
    client.run(filling(twin, columns, sql), parameters, settings)


def filling(table: str, columns: Iterable[str], sql: str) -> str:
    """Return the statement that writes the columns that a query yields into a table."""
    names = ", ".join(identifier(name) for name in columns)
    return f"INSERT INTO {identifier(table)} ({names}) SELECT {names} FROM (\n{sql}\n)"


def only_partition(client: Client, twin: str, table: Table) -> str:
    """Return the id of a twin's only partition.

    Raises:
        DataError: the twin's rows fall into several partitions, which cannot be swapped in at once.
    """
    rows = client.rows(
        "SELECT DISTINCT partition_id FROM system.parts"
        " WHERE active AND database = {database:String} AND table = {table:String}",
        {"database": client.endpoint.database, "table": twin},
    )
    if len(rows) != 1:
        raise DataError(
            f"The new rows of {table.name} fall into several of its partitions, which cannot be swapped in at once",
            found=f"{len(rows)} partitions of {table.partition_key or 'no key'}",
            allowed="a partition key with one value per run or day, such as the date or its month",
        )
    return str(rows[0][0])
