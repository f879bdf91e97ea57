"""List the tables of a database from its system tables alone; no table itself is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import load
from raypipe.clickhouse.tables import Table, describe_all
from raypipe.errors import ServerError, UsageError
from raypipe.explore.facts import ColumnProfile, Failure, Sample, TableProfile
from raypipe.explore.kinds import kind_of, sentinel
from raypipe.explore.questions import brief
from raypipe.project import shipped

MOST_NAMED = 20
UNREAD = Sample("none", 0, None, "")
Rows = dict[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Described:
    """A table as the server describes it, before any row is read."""

    profile: TableProfile
    engine_full: str


def take(client: Client, names: Sequence[str] = ()) -> tuple[list[Described], list[Failure]]:
    """List every table of the client's database, or the named tables, and the questions without an answer.

    Raises:
        UsageError: a named table does not exist.
    """
    tables = describe_all(client)
    unknown = sorted(set(names) - tables.keys())
    if unknown:
        more = f" and {len(tables) - MOST_NAMED} more" if len(tables) > MOST_NAMED else ""
        raise UsageError(
            f"The database {client.endpoint.database} has no such table",
            found=", ".join(unknown),
            allowed=", ".join(sorted(tables)[:MOST_NAMED]) + more or "nothing: the database is empty",
            next_step="correct --table, or leave it out for every table",
        )
    failed: list[Failure] = []
    sizes = {row[0]: row[1:] for row in _rows(client, "sizes.sql", failed)}
    comments = {row[0]: row[1:] for row in _rows(client, "tables.sql", failed)}
    column_bytes = {(table, name): int(size or 0) for table, name, size in _rows(client, "column_sizes.sql", failed)}
    chosen = sorted(name for name in tables if not names or name in names)
    return [_described(tables[name], sizes, comments, column_bytes) for name in chosen], failed


def _described(table: Table, sizes: Rows, comments: Rows, column_bytes: dict[tuple[str, str], int]) -> Described:
    name = table.name
    comment, rows, size = comments.get(name, ("", table.total_rows, None))
    in_parts, uncompressed, parts, written_at = sizes.get(name, (None, None, None, None))
    columns = tuple(
        ColumnProfile(
            column.name,
            column.type,
            kind_of(column.type),
            column.default_kind,
            column_bytes.get((name, column.name), 0),
            sentinel=sentinel(column.type),
        )
        for column in table.columns
        if column.default_kind != "EPHEMERAL"
    )
    profile = TableProfile(
        table=name,
        engine=table.engine,
        comment=comment,
        rows=rows,
        bytes=size if in_parts is None else in_parts,
        bytes_uncompressed=uncompressed,
        parts=parts,
        written_at=written_at,
        partition_key=table.partition_key,
        sorting_key=table.sorting_key,
        sample=UNREAD,
        columns=columns,
    )
    return Described(profile, table.engine_full)


def _rows(client: Client, file: str, failed: list[Failure]) -> list[tuple[Any, ...]]:
    """Return the rows of a query about the whole database; without the grant, note the failure."""
    statement = load(shipped() / "sql" / "explore" / file)
    try:
        return client.rows(statement.text, {"database": client.endpoint.database})
    except ServerError as error:
        failed.append(Failure(file.removesuffix(".sql").replace("_", " "), brief(error)))
        return []
