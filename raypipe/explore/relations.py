"""Looks up in the data whether a guessed reference holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from raypipe.clickhouse.column_types import bare
from raypipe.clickhouse.statements import literal, load, quoted
from raypipe.explore.facts import Relation, Table
from raypipe.explore.measures import missing
from raypipe.explore.questions import Questions, Unanswered
from raypipe.explore.sample import Plan
from raypipe.project import shipped

# So many different values are looked up at most, chosen by their hash.
MOST_VALUES = 20_000
NO_VALUES = "the column has no values to look up"
NIL = "00000000-0000-0000-0000-000000000000"


def verify(
    questions: Questions, relation: Relation, tables: Mapping[str, Table], plans: Mapping[str, Plan]
) -> Relation:
    """The relation with its coverage, or why there is none."""
    if relation.table not in plans or relation.parent not in plans:
        return replace(relation, error="one of the tables was not read")
    if not tables[relation.table].sample.rows:
        return replace(relation, error=NO_VALUES)
    child, parent = (
        next(column for column in tables[table].columns if column.column == name)
        for table, name in ((relation.table, relation.column), (relation.parent, relation.parent_column))
    )
    # The same type is compared as it is, which lets the parent's primary index find the values.
    same = bare(child.type) == bare(parent.type)
    statement = load(shipped() / "sql" / "explore" / "coverage.sql")
    sql = statement.render(
        child=plans[relation.table].source.of([_value(relation.column, child.type, same)]),
        parent=plans[relation.parent].whole.of([_value(relation.parent_column, parent.type, same)]),
        filled=f"v0 != '' AND v0 != '{NIL}'" if not same else f"NOT ({missing('v0', bare(child.type))})",
        most=str(MOST_VALUES),
    )
    try:
        ((values, known, rows, known_rows),) = questions.rows(sql)
    except Unanswered as error:
        return replace(relation, error=error.problem)
    if not values:
        return replace(relation, error=NO_VALUES)
    if known < values and plans[relation.parent].method == "first rows":
        return replace(
            relation, error=f"only the first rows of {relation.parent} were searched, and not all stood there"
        )
    return replace(
        relation,
        values=int(values),
        known=int(known),
        rows=int(rows),
        known_rows=int(known_rows),
        coverage=int(known) / int(values),
    )


def _value(column: str, type_: str, same: bool) -> str:
    """The column without LowCardinality; NULL becomes the value that stands for missing."""
    name = f"t.{quoted(column)}"
    if same:
        return f"ifNull({name}, defaultValueOfTypeName({literal(bare(type_))}))"
    return f"ifNull(CAST({name}, 'Nullable(String)'), '')"
