"""The tables that raypipe expects, read from its own DDL files.

The files keep to one layout, so that they can be read without a server: one column per line, written as ClickHouse
prints it, and ENGINE, PARTITION BY, ORDER BY and TTL on lines of their own. The integration tests compare this reading
with the server's description of the same tables.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from raypipe.clickhouse.statements import Statement, load_all
from raypipe.clickhouse.tables import Column, Table, split_expressions
from raypipe.errors import ConfigError

_CREATE = re.compile(r"CREATE (TABLE|VIEW) IF NOT EXISTS (\w+)\s")
_CLAUSE = re.compile(r"^(ENGINE =|PARTITION BY|ORDER BY) (.+)$", re.MULTILINE)
_COLUMN = re.compile(
    r"^    (?P<name>\w+) (?P<type>\w+(?:\([^\n]*?\))?)"
    r"(?: (?P<kind>DEFAULT|MATERIALIZED) (?P<expression>.+?))?"
    r"(?: COMMENT '[^']*')?(?: CODEC\(.+?\))?,?$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Declaration:
    """One table or view of the DDL.

    Attributes:
        table: the server's description of it.
        ddl: the statement that creates it where it is missing.
        is_published: whether a run replaces one of its partitions.
        sharded: the column that decides the shard of a row; '' for a table that is on the first shard alone.
    """

    table: Table
    ddl: str
    is_published: bool
    sharded: str = ""

    @property
    def name(self) -> str:
        """Return the name of the table or view."""
        return self.table.name

    @property
    def is_view(self) -> bool:
        """Return whether it is a view over other tables."""
        return self.table.engine == "View"


def declared(folder: Path) -> tuple[Declaration, ...]:
    """Return the tables and views of a folder's `.sql` files, in an order in which they can be created."""
    return tuple(declaration(statement) for path in sorted(folder.glob("*.sql")) for statement in load_all(path))


def declaration(statement: Statement) -> Declaration:
    """Read the declaration of one CREATE statement."""
    opening = _CREATE.match(statement.text)
    if opening is None:
        raise ConfigError(
            f"{statement.source} holds a statement that is not a CREATE TABLE or VIEW",
            found=statement.text[:60],
            allowed="CREATE TABLE IF NOT EXISTS name, CREATE VIEW IF NOT EXISTS name",
        )
    name = opening[2]
    if opening[1] == "VIEW":
        return Declaration(Table(name, "View", "View", (), "", (), {}, None), statement.text, is_published=False)
    clauses = dict(_CLAUSE.findall(statement.text))
    table = Table(
        name=name,
        engine=clauses["ENGINE ="].partition("(")[0],
        engine_full=clauses["ENGINE ="],
        columns=_columns(statement.text),
        partition_key=clauses.get("PARTITION BY", ""),
        sorting_key=split_expressions(clauses["ORDER BY"]),
        settings={},
        total_rows=None,
    )
    return Declaration(table, statement.text, "published" in statement.header, statement.header.get("sharded", ""))


def _columns(text: str) -> tuple[Column, ...]:
    body = text[text.index("\n(\n") + 3 : text.index("\n)\n")]
    lines = [line for line in body.splitlines() if line.strip()]
    columns = tuple(
        Column(m["name"], m["type"], m["kind"] or "", m["expression"] or "") for m in _COLUMN.finditer(body)
    )
    if len(columns) != len(lines):
        raise ConfigError("A column of the DDL is not written as expected", found=text.partition("\n")[0])
    return columns
