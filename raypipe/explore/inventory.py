"""What stands in a database, from its system tables alone; nothing is read of the tables themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import load
from raypipe.clickhouse.tables import describe_all
from raypipe.errors import ServerError, UsageError
from raypipe.explore.facts import Column, Failure
from raypipe.explore.kinds import kind_of, sentinel
from raypipe.explore.questions import brief
from raypipe.project import shipped

MOST_NAMED = 20


@dataclass(frozen=True)
class Stands:
    """A table as the server describes it; the figures as in `facts.Table`."""

    table: str
    engine: str
    engine_full: str
    comment: str
    rows: int | None
    bytes: int | None
    bytes_uncompressed: int | None
    parts: int | None
    written_at: datetime | None
    partition_key: str
    sorting_key: tuple[str, ...]
    columns: tuple[Column, ...]


def take(client: Client, names: Sequence[str] = ()) -> tuple[list[Stands], list[Failure]]:
    """Every table of the client's database, or those named, by name; and what the server would not tell.

    Raises:
        UsageError: a table that was named does not exist.
    """
    described = describe_all(client)
    unknown = sorted(set(names) - described.keys())
    if unknown:
        more = f" and {len(described) - MOST_NAMED} more" if len(described) > MOST_NAMED else ""
        raise UsageError(
            f"The database {client.endpoint.database} has no such table",
            found=", ".join(unknown),
            allowed=", ".join(sorted(described)[:MOST_NAMED]) + more or "nothing: the database is empty",
            next_step="correct --table, or leave it out for every table",
        )
    failed: list[Failure] = []
    sizes = {row[0]: row[1:] for row in _asked(client, "sizes.sql", failed)}
    told = {row[0]: row[1:] for row in _asked(client, "tables.sql", failed)}
    column_bytes = {(table, name): int(size or 0) for table, name, size in _asked(client, "column_sizes.sql", failed)}
    found = []
    for name, table in sorted(described.items()):
        if names and name not in names:
            continue
        comment, rows, size = told.get(name, ("", table.total_rows, None))
        in_parts, uncompressed, parts, written_at = sizes.get(name, (None, None, None, None))
        columns = tuple(
            Column(
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
        found.append(
            Stands(
                name,
                table.engine,
                table.engine_full,
                comment,
                rows,
                size if in_parts is None else in_parts,
                uncompressed,
                parts,
                written_at,
                table.partition_key,
                table.sorting_key,
                columns,
            )
        )
    return found, failed


def _asked(client: Client, file: str, failed: list[Failure]) -> list[tuple[Any, ...]]:
    """The rows of a question about the whole database; without the grant the report does without its answer."""
    statement = load(shipped() / "sql" / "explore" / file)
    try:
        return client.rows(statement.text, {"database": client.endpoint.database})
    except ServerError as error:
        failed.append(Failure(file.removesuffix(".sql").replace("_", " "), brief(error)))
        return []
