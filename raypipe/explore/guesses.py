"""Guess from names, types and keys which columns refer to another table; `relations` asks the data."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from raypipe.clickhouse.column_types import bare
from raypipe.explore.facts import Relation, TableProfile
from raypipe.explore.kinds import NUMBER, TEXT, kind_of
from raypipe.explore.names import identifies, singular, words

# Names that identify a row of their own table, or of the table in front of them.
GENERIC = {("id",), ("uuid",), ("guid",), ("key",), ("code",)}


@dataclass(frozen=True)
class _Parent:
    """A column that others can refer to, and whether the table is named after it."""

    table: TableProfile
    column: str
    type: str
    words: tuple[str, ...]
    named: bool


def guess(tables: Sequence[TableProfile]) -> list[Relation]:
    """Return the references that names suggest, in the order of the tables.

    A parent is a table in which a single column identifies a row, because it is the sorting key or proved unique. A
    column refers to it if its name equals the key's (`brand_id`), ends with it (`preferred_brand_id`), or is the
    table's name before a generic key (`user_id` for `users.id`). Among several parents the table that is named after
    the key wins; if two tables could refer to each other, the smaller table refers.
    """
    parents = [parent for table in tables for parent in _parents(table)]
    relations = [
        Relation(table.table, column.column, parent.table.table, parent.column)
        for table in tables
        for column in table.columns
        if identifies(column.column) and column.default_kind != "ALIAS"
        for parent in _best(table, column.column, column.type, parents)
    ]
    known = set(relations)
    rows = {table.table: table.rows or 0 for table in tables}
    return [relation for relation in relations if not _reversed(relation, known, rows)]


def _parents(table: TableProfile) -> Iterator[_Parent]:
    single = [key.columns[0].strip("`") for key in table.keys if len(key.columns) == 1 and (key.unique or key.sorting)]
    if len(table.sorting_key) == 1:
        single.append(table.sorting_key[0].strip("`"))
    name = tuple(singular(word) for word in words(table.table))
    for column in table.columns:
        if column.column not in single or not identifies(column.column):
            continue
        own = words(column.column)
        if own in GENERIC:
            yield _Parent(table, column.column, column.type, (*name[-1:], *own), True)
        else:
            stem = tuple(singular(word) for word in own[:-1])
            named = name[-len(stem) :] == stem
            # A column that is merely unique, such as an external id, is not a key unless the table is named after it.
            if named or table.sorting_key == (column.column,):
                yield _Parent(table, column.column, column.type, own, named)


def _best(child: TableProfile, column: str, type_: str, parents: Sequence[_Parent]) -> list[_Parent]:
    own = words(column)
    fitting = [
        parent
        for parent in parents
        if (parent.table.table, parent.column) != (child.table, column)
        and own[-len(parent.words) :] == parent.words
        and _comparable(type_, parent.type)
    ]
    # A table may refer to itself only by a name other than its key's: parent_category_id.
    longest = max((len(parent.words) for parent in fitting), default=0)
    fitting = [parent for parent in fitting if len(parent.words) == longest]
    named = [parent for parent in fitting if parent.named]
    if any(parent.table.table == child.table for parent in named) and own == named[0].words:
        return []
    return named or fitting


def _comparable(type_: str, parent_type: str) -> bool:
    """Return whether values of both types can be equal: two numbers, or two texts (a UUID, too)."""
    types = (type_, parent_type)
    fractions = any(bare(each).startswith(("Float", "Decimal")) for each in types)
    return {kind_of(each) for each in types} in ({NUMBER}, {TEXT}) and not fractions


def _reversed(relation: Relation, known: Set[Relation], rows: Mapping[str, int]) -> bool:
    """Return whether the opposite reference is known, too, and more likely."""
    opposite = Relation(relation.parent, relation.parent_column, relation.table, relation.column)
    if opposite not in known:
        return False
    mine, others = (rows[relation.table], relation.table), (rows[relation.parent], relation.parent)
    return mine > others
