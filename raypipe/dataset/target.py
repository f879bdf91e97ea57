"""Decide whether a table can be the target of a sink."""

import re
from collections.abc import Sequence

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.sharding import DISTRIBUTED
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import Table, describe
from raypipe.errors import ConfigError, UsageError

ENGINE = "MergeTree"
_RUN = re.compile(r"[\w.:/@+-]{1,200}")


def require_run(run: str) -> None:
    """Refuse a name of a run that would look different in logs and messages.

    Raises:
        UsageError: the name is empty, long, or has other letters.
    """
    if not _RUN.fullmatch(run):
        raise UsageError(
            "A run of the sink needs a name",
            found=repr(run),
            allowed="1 to 200 letters, digits and . : / @ + - _",
            next_step="name what the rows are, such as run='churn/2026-01-31'; the same name again writes nothing",
        )


def require_target(client: Client, name: str, keys: Sequence[str]) -> Table:
    """Return the description of a table that keeps every row and is on one server.

    Raises:
        UsageError: the name has a database, or the table does not exist.
        ConfigError: the table or the server has no partitions that can be moved in whole.
    """
    identifier(name)
    if "." in name:
        raise UsageError(
            "A sink writes into the database of its endpoint",
            found=name,
            allowed="the name of a table without its database",
            next_step=f"connect to the database {name.partition('.')[0]}",
        )
    table = describe(client, name)
    if table is None:
        raise UsageError(
            f"The table {name} does not exist",
            found=f"no such table in the database {client.endpoint.database}",
            allowed=f"a table with the engine {ENGINE}",
            next_step=f"create it: the sink fills tables and creates none, because their sorting key decides how {name}"
            " can be read",
        )
    _require_engine(client, table)
    _require_keys(table, keys)
    return table


def _require_engine(client: Client, table: Table) -> None:
    if table.engine == ENGINE and not client.topology.cluster:
        return
    if table.engine == DISTRIBUTED:
        problem = "is on several shards, which one statement cannot change at once"
    elif re.sub("^(Replicated|Shared)", "", table.engine) != ENGINE:
        problem = "merges rows or has no parts"
    else:
        problem = "is on a cluster, on which the sink was never run"
    raise ConfigError(
        f"The sink cannot promise exactly-once writing into {table.name}: the table {problem}",
        found=f"the engine {table.engine}"
        + (f" on the cluster {client.topology.cluster}" * bool(client.topology.cluster)),
        allowed=f"the engine {ENGINE} on one server",
        next_step=f"write into a table with the engine {ENGINE}; copy the rows from there by INSERT … SELECT",
    )


def _require_keys(table: Table, keys: Sequence[str]) -> None:
    missing = [name for name in keys if table.column(name) is None]
    if missing:
        raise UsageError(
            f"The table {table.name} has no column {', '.join(missing)}",
            found=f"keys={list(keys)}",
            allowed=", ".join(column.name for column in table.columns),
            next_step="correct keys",
        )
