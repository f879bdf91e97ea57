"""Describe the tables of a database: columns, keys, settings and partitions, as the server reports them."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier

# The kinds of tables that a run creates for itself, named raypipe_<kind>_<…run id>.
OWN_KINDS = ("staging", "portion", "twin", "explain", "snapshot", "training", "previous", "lock")

_TABLES = """
SELECT name, engine, engine_full, partition_key, sorting_key, total_rows
FROM system.tables
WHERE database = {database:String} AND (empty({names:Array(String)}) OR has({names:Array(String)}, name))
"""
_COLUMNS = """
SELECT table, name, type, toString(default_kind), default_expression
FROM system.columns
WHERE database = {database:String} AND (empty({names:Array(String)}) OR has({names:Array(String)}, table))
ORDER BY table, position
"""
_PARTS = "SELECT count() FROM system.parts WHERE database = {database:String} AND table = {table:String} AND active"
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`|\"(?:\\.|[^\"\\])*\"")
_SETTINGS = " SETTINGS "
_TTL = " TTL "
# A rule that goes on like this moves or compresses rows, or deletes some of them only.
_LASTING = re.compile(r"(RECOMPRESS|TO DISK|TO VOLUME|WHERE) ")


@dataclass(frozen=True)
class Column:
    """One column as ClickHouse describes it; default_kind is '', DEFAULT, MATERIALIZED, ALIAS or EPHEMERAL."""

    name: str
    type: str
    default_kind: str = ""
    default_expression: str = ""


@dataclass(frozen=True)
class Table:
    """One table or view.

    Attributes:
        engine_full: the engine with its arguments, keys, TTL and settings.
        partition_key: the expression, '' without partitions.
        sorting_key: its expressions, () without one.
        settings: the settings in `engine_full`, string values without their quotes.
        total_rows: None where the server cannot tell without reading, as for a view.
    """

    name: str
    engine: str
    engine_full: str
    columns: tuple[Column, ...]
    partition_key: str
    sorting_key: tuple[str, ...]
    settings: dict[str, str]
    total_rows: int | None

    def column(self, name: str) -> Column | None:
        """Return a column, or None."""
        return next((column for column in self.columns if column.name == name), None)


def describe(client: Client, table: str) -> Table | None:
    """Return a table named `table` or `database.table`; None where it does not exist."""
    database, name = locate(client, table)
    return describe_all(client, database, [name]).get(name)


def describe_all(client: Client, database: str | None = None, names: Sequence[str] = ()) -> dict[str, Table]:
    """Return every table of a database (default: the client's), or the existing ones of `names`, by name."""
    chosen = {"database": database or client.endpoint.database, "names": list(names)}
    columns: dict[str, list[Column]] = {}
    for table, *column in client.rows(_COLUMNS, chosen):
        columns.setdefault(table, []).append(Column(*column))
    return {
        name: Table(
            name=name,
            engine=engine,
            engine_full=engine_full,
            columns=tuple(columns.get(name, ())),
            partition_key=partition_key,
            sorting_key=split_expressions(sorting_key),
            settings=settings_of(engine_full),
            total_rows=total_rows,
        )
        for name, engine, engine_full, partition_key, sorting_key, total_rows in client.rows(_TABLES, chosen)
    }


def active_parts(client: Client, table: str) -> int:
    """Return the number of a table's active parts."""
    database, name = locate(client, table)
    return int(client.value(_PARTS, {"database": database, "table": name}))


def locate(client: Client, table: str) -> tuple[str, str]:
    """Return the database and the name of `table` or `database.table`; other spellings are refused."""
    identifier(table)
    database, _, name = table.rpartition(".")
    return database or client.endpoint.database, name


def among(column: str) -> str:
    """Return a condition on the tables that `named` binds; `column` has the names of tables, without the database.

    The last part alone would be looked for in every table of every database.
    """
    return (
        f"database IN {{databases:Array(String)}} AND {column} IN {{names:Array(String)}}"
        f" AND has({{tables:Array(String)}}, database || '.' || {column})"
    )


def named(tables: Collection[str]) -> dict[str, list[str]]:
    """Return the parameters of `among` for full names, `database.table`."""
    # Either name may have a dot in it.
    cuts = [(text[:at], text[at + 1 :]) for text in tables for at, letter in enumerate(text) if letter == "."]
    databases, names = (sorted({cut[side] for cut in cuts}) for side in (0, 1))
    return {"tables": list(tables), "databases": databases, "names": names}


def short_name(client: Client, table: str) -> str:
    """Return a table's name, with its database in front only where it is not the client's."""
    database, name = locate(client, table)
    return name if database == client.endpoint.database else f"{database}.{name}"


def split_expressions(text: str) -> tuple[str, ...]:
    """Split a comma-separated list of expressions; commas inside parentheses and quotes do not count.

    A list in parentheses is read without them: the server reports `ORDER BY (a)` as `(a)`, but `ORDER BY (a, b)` as
    `a, b`.
    """
    mask = _outline(text)
    if re.fullmatch(r"\(_*\)", mask):
        return split_expressions(text[1:-1])
    cuts = [-1, *(position for position, letter in enumerate(mask) if letter == ","), len(text)]
    parts = (text[start + 1 : end].strip() for start, end in pairwise(cuts))
    return tuple(part for part in parts if part)


def settings_of(engine_full: str) -> dict[str, str]:
    """Return the settings at the end of a table's `engine_full`, string values without their quotes."""
    start = _outline(engine_full).rfind(_SETTINGS)
    if start < 0:
        return {}
    pairs = (part.partition("=") for part in split_expressions(engine_full[start + len(_SETTINGS) :]))
    return {name.strip(): _unquoted(value.strip()) for name, _, value in pairs}


def expirations(engine_full: str) -> tuple[str, ...]:
    """Return the times of the TTL rules in a table's `engine_full` that delete or aggregate every row."""
    outline = _outline(engine_full)
    start = outline.rfind(_TTL)
    if start < 0:
        return ()
    end = outline.rfind(_SETTINGS)
    rules = split_expressions(engine_full[start + len(_TTL) : end if end > start else None])
    return tuple(rule.partition(" GROUP BY ")[0] for rule in rules if not _LASTING.search(_outline(rule)))


def _outline(text: str) -> str:
    """Return a text of the same length with everything in quotes or parentheses blanked."""
    flat = _QUOTED.sub(lambda match: "_" * len(match[0]), text)
    depth = 0
    letters = []
    for letter in flat:
        depth -= letter in ")]"
        letters.append("_" if depth else letter)
        depth += letter in "(["
    return "".join(letters)


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == "'":
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value
