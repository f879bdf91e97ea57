"""Select the tables that the configured pipelines read or write, and those that raypipe always needs."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from raypipe.clickhouse.schema import current_views
from raypipe.clickhouse.schema.declarations import Declaration
from raypipe.clickhouse.schema.migrate import schema
from raypipe.clickhouse.statements import load_all, without_comments

# Registry, ledger, predictions: every pipeline writes them.
ALWAYS = ("ml_", "raypipe_")
# One of a list of tables, with its alias. A name with a database in front is left to its owner.
_ITEM = r"`?[A-Za-z_]\w*`?(?:\s*\.\s*`?\w+`?)?(?:\s+(?:AS\s+)?\w+)?(?:\s+FINAL)?"
# Looks ahead, because an alias may be the JOIN of the next list; an ARRAY JOIN names a column.
_TABLES = re.compile(rf"(?<!ARRAY )\b(?:FROM|JOIN)\s+(?=({_ITEM}(?:\s*,\s*{_ITEM})*))", re.IGNORECASE)
_TABLE = re.compile(r"(?:^|,)\s*`?([A-Za-z_]\w*)\b(?!`?\s*\.)")


@dataclass(frozen=True)
class Needed:
    """The tables of the configured pipelines.

    Attributes:
        declarations: raypipe creates these, in this order.
        foreign: sources and targets that raypipe has no DDL for; the user creates them.
        targets: the tables that the pipelines publish into.
    """

    declarations: tuple[Declaration, ...]
    foreign: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


def needed(named: Iterable[str], files: Iterable[Path]) -> Needed:
    """Select the declared tables that are named, that a SQL file reads, or that raypipe always needs.

    Args:
        named: the sources and targets of the pipelines.
        files: the pipelines' SQL; an included file counts as part of the file that includes it.
    """
    named = set(named)
    wanted = named.union(*(tables_of(statement.text) for path in files for statement in load_all(path)))
    wanted |= {declaration.name for declaration in schema() if declaration.name.startswith(ALWAYS)}
    # The view of a target needs the target.
    unneeded = {current_views.name(declaration.name) for declaration in schema()} - {
        current_views.name(target) for target in wanted
    }
    declarations = tuple(
        declaration for declaration in schema() if declaration.name in wanted and declaration.name not in unneeded
    )
    return Needed(declarations, tuple(sorted(named - {declaration.name for declaration in schema()})))


def tables_of(sql: str) -> list[str]:
    """Return the names behind FROM and JOIN in order, each once; subqueries named by WITH are among them."""
    lists = _TABLES.findall(without_comments(sql))
    return list(dict.fromkeys(name for tables in lists for name in _TABLE.findall(tables)))
