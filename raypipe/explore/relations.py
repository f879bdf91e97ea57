"""Verify a guessed reference in the data."""

from collections.abc import Mapping
from dataclasses import replace

from raypipe.clickhouse.column_types import bare
from raypipe.clickhouse.statements import literal, load, quoted
from raypipe.explore.facts import Relation, TableProfile
from raypipe.explore.measures import missing
from raypipe.explore.questions import Questions, Unanswered
from raypipe.explore.sample import ReadPlan
from raypipe.project import shipped

# The maximum number of different values to look up, chosen by hash.
MOST_VALUES = 20_000
NO_VALUES = "the column has no values to look up"
NIL = "00000000-0000-0000-0000-000000000000"


def verify(
    questions: Questions, relation: Relation, tables: Mapping[str, TableProfile], plans: Mapping[str, ReadPlan]
) -> Relation:
    """Return the relation with its coverage, or with the reason for its absence."""
    if relation.table not in plans or relation.parent not in plans:
        return replace(relation, error="one of the tables was not read")
    if not tables[relation.table].sample.rows:
        return replace(relation, error=NO_VALUES)
    child, parent = (
        next(column for column in tables[table].columns if column.column == name)
        for table, name in ((relation.table, relation.column), (relation.parent, relation.parent_column))
    )
    # Equal types are compared without a cast, so that the parent's primary index helps.
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
        reason = f"only the first rows of {relation.parent} were searched, and they lack some values"
        return replace(relation, error=reason)
    return replace(
        relation,
        values=int(values),
        known=int(known),
        rows=int(rows),
        known_rows=int(known_rows),
        coverage=int(known) / int(values),
    )


def _value(column: str, type_: str, same: bool) -> str:
    """Return SQL for the column without LowCardinality, with NULL as the value that means missing."""
    name = f"t.{quoted(column)}"
    if same:
        return f"ifNull({name}, defaultValueOfTypeName({literal(bare(type_))}))"
    return f"ifNull(CAST({name}, 'Nullable(String)'), '')"
