"""Which columns identify a row, tried on the data: the sorting key, and columns that look unique in the sample."""

from __future__ import annotations

from collections.abc import Sequence

from raypipe.clickhouse.statements import load, quoted
from raypipe.explore.facts import Column, Failure, Key
from raypipe.explore.kinds import NUMBER, TEXT
from raypipe.explore.names import identifies
from raypipe.explore.questions import Questions, Unanswered
from raypipe.explore.sample import Plan
from raypipe.project import shipped

# `distinct` is an estimate; what comes as close as this is counted exactly.
NEARLY_ALL = 0.95
MOST_CANDIDATES = 4
FRACTIONS = ("Float", "BFloat", "Decimal")


def examine(
    questions: Questions,
    plan: Plan,
    sorting_key: Sequence[str],
    columns: Sequence[Column],
    rows: int | None,
    sampled: int,
    errors: list[Failure],
) -> list[Key]:
    """The keys that were tried; those without an answer are noted among the errors.

    A sample of rows would miss the second row of a key. Of a large table every n-th key is taken instead, by its
    hash, with all its rows wherever they are.
    """
    found: list[Key] = []
    sampling = plan.whole != plan.source
    one_in = max(1, -(-(rows or 0) // questions.limits.sample_rows)) if sampling else 1
    tried = [tuple(sorting_key)] if sorting_key else []
    # Of a large table a whole column is read for each, so only what is meant to identify a row is worth it.
    tried += [
        (name,)
        for name in candidates(columns, sampled)
        if [name] != [_plain(part) for part in sorting_key] and (not sampling or identifies(name))
    ]
    for columns_of_key in tried:
        sorting = columns_of_key == tuple(sorting_key) and columns_of_key is tried[0]
        expressions = columns_of_key if sorting else [f"t.{quoted(name)}" for name in columns_of_key]
        try:
            found.append(_key(questions, plan, columns_of_key, expressions, sorting, one_in))
        except Unanswered as error:
            errors.append(Failure(f"whether {', '.join(columns_of_key)} is unique", error.problem))
    return found


def candidates(columns: Sequence[Column], rows: int) -> list[str]:
    """Columns with about as many values as the sample has rows, those named like an identifier first."""
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
    questions: Questions, plan: Plan, names: Sequence[str], expressions: Sequence[str], sorting: bool, one_in: int
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
    """A sorting key's expression as a column's name, as far as it is one."""
    return expression.strip("`")
