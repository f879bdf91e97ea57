"""Try on the data which columns identify a row: the sorting key, and columns that look unique in the sample."""

from __future__ import annotations

from collections.abc import Sequence

from raypipe.clickhouse.statements import load, quoted
from raypipe.explore.facts import ColumnProfile, Failure, Key
from raypipe.explore.kinds import NUMBER, TEXT
from raypipe.explore.names import identifies
from raypipe.explore.questions import Questions, Unanswered
from raypipe.explore.sample import ReadPlan
from raypipe.project import shipped

# `distinct` is an estimate; a column this close to unique is counted exactly.
NEARLY_ALL = 0.95
MOST_CANDIDATES = 4
FRACTIONS = ("Float", "BFloat", "Decimal")


def examine(
    questions: Questions,
    plan: ReadPlan,
    sorting_key: Sequence[str],
    columns: Sequence[ColumnProfile],
    rows: int | None,
    sampled: int,
    errors: list[Failure],
) -> list[Key]:
    """Return the keys that were tried; a key without an answer is noted among the errors.

    A sample of rows would miss the second row of a key. For a large table, every n-th key by hash is examined
    instead, with all its rows.
    """
    examined: list[Key] = []
    sampling = plan.whole != plan.source
    one_in = max(1, -(-(rows or 0) // questions.limits.sample_rows)) if sampling else 1
    tried = [tuple(sorting_key)] if sorting_key else []
    # In a large table each candidate costs a whole column, so only names of identifiers are worth it.
    tried += [
        (name,)
        for name in candidates(columns, sampled)
        if [name] != [_plain(part) for part in sorting_key] and (not sampling or identifies(name))
    ]
    for columns_of_key in tried:
        sorting = columns_of_key == tuple(sorting_key) and columns_of_key is tried[0]
        expressions = columns_of_key if sorting else [f"t.{quoted(name)}" for name in columns_of_key]
        try:
            examined.append(_key(questions, plan, columns_of_key, expressions, sorting, one_in))
        except Unanswered as error:
            errors.append(Failure(f"whether {', '.join(columns_of_key)} is unique", error.problem))
    return examined


def candidates(columns: Sequence[ColumnProfile], rows: int) -> list[str]:
    """Return columns with about as many values as the sample has rows, names of identifiers first."""
    unique = [
        column.column
        for column in columns
        if column.kind in (NUMBER, TEXT)
        and not column.type.startswith(FRACTIONS)
        and column.distinct is not None
        and column.nulls == 0
        and column.distinct >= max(2, NEARLY_ALL * rows)
    ]
    return sorted(unique, key=lambda name: not identifies(name))[:MOST_CANDIDATES]


def _key(
    questions: Questions, plan: ReadPlan, names: Sequence[str], expressions: Sequence[str], sorting: bool, one_in: int
) -> Key:
    statement = load(shipped() / "sql" / "explore" / "repeated.sql")
    ((keys, repeated, rows),) = questions.rows(
        statement.render(
            source=plan.whole.of(expressions),
            keys=", ".join(f"v{number}" for number in range(len(expressions))),
            one_in=str(one_in),
        )
    )
    whole = plan.method != "first rows"
    return Key(tuple(names), sorting, int(keys), int(repeated), int(rows), keys > 0 and repeated == 0, one_in, whole)


def _plain(expression: str) -> str:
    """Return the name of a column in a sorting key without its quotes."""
    return expression.strip("`")
