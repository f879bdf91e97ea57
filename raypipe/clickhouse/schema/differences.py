"""Compare a publisher's table with the table that raypipe would have created.

raypipe works on a publisher's tables as they are. A difference is a problem where a run would fail or publish wrong
rows, else a note. TTL, codecs, comments, settings and additional columns are the publisher's business and are not
compared.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from raypipe.clickhouse.column_types import bare
from raypipe.clickhouse.schema.declarations import Declaration
from raypipe.clickhouse.tables import Column, Table, split_expressions

Severity = Literal["note", "problem"]
# What differs, as found, as expected, the severity and the consequence.
Part = tuple[str, str, str, Severity, str]

_COMPUTED = {"MATERIALIZED", "ALIAS"}
_CLOCK = re.compile(r"now(64)?\(")
_NUMBER = re.compile(r"(UInt|Int|Float)(\d+)\Z")
_ENGINE = re.compile(r"(?:Replicated|Shared)?(\w+)(?:\((.*?)\))?(?: |\Z)")


@dataclass(frozen=True)
class Difference:
    """One way in which a table differs from its declaration.

    Attributes:
        what: the part that differs, such as `partition key` or `type of column score`.
        severity: `problem` where a run would fail or publish wrong rows, `note` where it works.
        consequence: the effect on raypipe, in one sentence.
    """

    table: str
    what: str
    found: str
    expected: str
    severity: Severity
    consequence: str

    def __str__(self) -> str:
        return f"{self.table}: {self.what} is {self.found}, not {self.expected}: {self.consequence}"


def compare(actual: Table, expected: Declaration) -> tuple[Difference, ...]:
    """Return every difference between an existing table and its declaration."""
    if expected.is_view:
        parts: tuple[Iterator[Part], ...] = (_view(actual),)
    elif expected.table.engine == "Distributed":
        parts = (_distributed(actual, expected),)
    else:
        parts = (_engine(actual, expected), _keys(actual, expected), _columns(actual, expected))
    return tuple(Difference(actual.name, *difference) for part in parts for difference in part)


def _view(actual: Table) -> Iterator[Part]:
    if actual.engine != "View":
        yield "engine", actual.engine, "View", "problem", "raypipe needs its own view here"


def _distributed(actual: Table, expected: Declaration) -> Iterator[Part]:
    if actual.engine_full != expected.table.engine_full:
        consequence = "raypipe reads and writes the rows of all shards through it"
        yield "engine", actual.engine_full, expected.table.engine_full, "problem", consequence


def _engine(actual: Table, expected: Declaration) -> Iterator[Part]:
    declared = expected.table.engine_full
    (family, arguments), (other, others) = _engine_parts(actual.engine_full), _engine_parts(declared)
    shown = actual.engine_full.partition(" ")[0] or actual.engine
    if family != other:
        yield "engine", shown, declared, "problem", f"raypipe reads and writes it as a {other}"
    elif arguments != others:
        consequence = "it may keep another row of a key as the newest"
        # The order of runs hangs on raypipe's own tables.
        if actual.name.startswith("raypipe_"):
            yield "engine", shown, declared, "problem", consequence
        else:
            yield "engine", shown, declared, "note", f"works; {consequence}"


def _engine_parts(engine_full: str) -> tuple[str, tuple[str, ...]]:
    """Return the engine's family and its arguments, without a replicated table's path and replica."""
    match = _ENGINE.match(engine_full)
    if match is None:
        return engine_full, ()
    return match[1], tuple(argument for argument in split_expressions(match[2] or "") if not argument.startswith("'"))


def _keys(actual: Table, expected: Declaration) -> Iterator[Part]:
    table = expected.table
    if split_expressions(actual.partition_key) != split_expressions(table.partition_key):
        moved = "works; a rerun adds its rows before it deletes the earlier ones, so a reader may briefly see both"
        consequence = moved if expected.is_published else "works"
        yield "partition key", _shown(actual.partition_key), _shown(table.partition_key), "note", consequence
    if actual.sorting_key != table.sorting_key:
        has, wants = _shown(", ".join(actual.sorting_key)), _shown(", ".join(table.sorting_key))
        if table.engine == "MergeTree":
            yield "sorting key", has, wants, "note", "works; slices are cut from the table's key"
        else:
            yield "sorting key", has, wants, "problem", f"a {table.engine} merges rows by this key"


def _columns(actual: Table, expected: Declaration) -> Iterator[Part]:
    for wanted in expected.table.columns:
        column = actual.column(wanted.name)
        if column is None:
            consequence = "queries that name it fail; add the column, since raypipe alters no existing table"
            yield f"column {wanted.name}", "missing", wanted.type, "problem", consequence
            continue
        type_of = f"type of column {wanted.name}"
        if not holds(column.type, wanted.type):
            yield type_of, column.type, wanted.type, "problem", "values of the expected type do not fit"
        elif column.type != wanted.type:
            yield type_of, column.type, wanted.type, "note", "works"
        yield from _default(column, wanted)


def _default(column: Column, wanted: Column) -> Iterator[Part]:
    has, wants = _default_of(column), _default_of(wanted)
    if has == wants:
        return
    severity: Severity = "problem"
    if column.default_kind in _COMPUTED and wanted.default_kind not in _COMPUTED:
        consequence = "raypipe cannot write it"
    elif _CLOCK.match(wanted.default_expression) and not column.default_kind:
        consequence = "rows written without it are dated 1970, and any TTL deletes them at once"
    else:
        severity, consequence = "note", "works; rows written without it get another value"
    yield f"default of column {column.name}", _shown(has), _shown(wants), severity, consequence


def _default_of(column: Column) -> str:
    return f"{column.default_kind} {column.default_expression}".strip()


def holds(actual: str, expected: str) -> bool:
    """Return whether a column of type `actual` holds every value of type `expected`."""
    actual, expected = bare(actual), bare(expected)
    if actual == expected:
        return True
    wide, narrow = _NUMBER.match(actual), _NUMBER.match(expected)
    if wide and narrow:
        more_bits = int(wide[2]) > int(narrow[2])
        return more_bits and wide[1] in ({"Float"} if narrow[1] == "Float" else {narrow[1], "Int"})
    family, wanted = actual.partition("(")[0], expected.partition("(")[0]
    return wanted in {"Date", "DateTime"} and family in {wanted, {"Date": "Date32", "DateTime": "DateTime64"}[wanted]}


def _shown(text: str) -> str:
    return text or "none"
