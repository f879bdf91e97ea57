"""The tables that a query reads, also behind views, as ClickHouse's own analysis of the query lists them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.tables import among, named
from raypipe.errors import Denied

# The first pass resolves names; later passes leave out what the result does not need.
_TREE = "EXPLAIN QUERY TREE run_passes = 1, passes = 1\n"
# Subqueries and functions that were evaluated already are listed as the origin of their constants.
_NODE = re.compile(
    r" *(?:TABLE id: .*?table_name: (?P<table>.+?)(?P<final>, final: 1)?(?:, (?:sample|offset).*)?"
    r"|TABLE_FUNCTION id: .*?table_function_name: (?P<table_function>\w+)"
    r"|FUNCTION id: \d+, function_name: (?P<function>\w+).*)"
)
_CONSTANT = {"numbers", "numbers_mt", "zeros", "zeros_mt", "generateSeries", "generate_series", "values", "one", "null"}
# Their results differ from query to query or from block to block, or with a dictionary.
_VARIABLE = re.compile(
    r"now(64|InBlock\w*)?|today|yesterday|UTCTimestamp|rand\w*|generate\w+|fuzz\w+|dict\w+|joinGet\w*"
    r"|rowNumber\w+|block(Number|Size)|neighbor|running\w+",
    re.IGNORECASE,
)
_ENGINES = f"""
SELECT database || '.' || name, engine, as_select
FROM system.tables
WHERE {among("name")}
"""


@dataclass(frozen=True)
class TableRead:
    """A table of the MergeTree family, or a view, that a query reads.

    Attributes:
        table: as `database.table`.
        times: how often the query names the table.
        final: whether it always reads the table with FINAL.
    """

    table: str
    times: int
    final: bool


@dataclass(frozen=True)
class QueryTables:
    """The tables that a query reads, and what else its result depends on, such as `now()` or a dictionary."""

    tables: tuple[TableRead, ...]
    others: tuple[str, ...]


def find(client: Client, sql: str, parameters: Mapping[str, Any]) -> QueryTables:
    """Find the tables of a query, and of the views that it reads."""
    finals: dict[str, list[bool]] = {}
    others: dict[str, None] = {}
    for item in _walk(client, sql, parameters):
        if isinstance(item, str):
            others[item] = None
        else:
            finals.setdefault(item.table, []).append(item.final)
    tables = (TableRead(table, len(reads), all(reads)) for table, reads in sorted(finals.items()))
    return QueryTables(tuple(tables), tuple(others))


def _walk(client: Client, sql: str, parameters: Mapping[str, Any]) -> Iterator[TableRead | str]:
    """Yield each table as often as the query names it, and a name for each other thing that it reads."""
    lines = "\n".join(str(row[0]) for row in client.rows(_TREE + sql, parameters)).splitlines()
    nodes = [node for node in map(_NODE.fullmatch, lines) if node]
    engines = _engines(client, [node["table"] for node in nodes if node["table"]])
    for node in nodes:
        if node["table"]:
            yield from _table(client, node["table"], bool(node["final"]), *engines.get(node["table"], ("unknown", "")))
        elif node["table_function"] and node["table_function"] not in _CONSTANT:
            yield f"the table function {node['table_function']}"
        elif node["function"] and _VARIABLE.fullmatch(node["function"]):
            yield f"{node['function']}()"


def _engines(client: Client, tables: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return each table's engine and, for a view, its query."""
    return {name: (engine, query) for name, engine, query in client.rows(_ENGINES, named(tables))}


def _table(client: Client, name: str, final: bool, engine: str, query: str) -> Iterator[TableRead | str]:
    if name.startswith(f"{client.endpoint.database}.raypipe_") and engine != "View":
        yield f"{name} (written by every run)"
    elif engine.endswith("MergeTree"):
        yield TableRead(name, 1, final)
    elif engine == "View":
        yield TableRead(name, 1, final)
        try:
            yield from _walk(client, query, {})
        except Denied:
            yield f"{name} (a view of tables that {client.endpoint.user} may not read)"
    elif engine != "SystemOne":
        yield f"{name} ({engine})"
