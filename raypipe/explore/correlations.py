"""How strongly a table's numeric columns move together."""

from __future__ import annotations

import math
from collections.abc import Sequence

from raypipe.explore.facts import Column, Correlations
from raypipe.explore.kinds import FLAG, NUMBER
from raypipe.explore.names import identifies
from raypipe.explore.questions import Questions
from raypipe.explore.sample import Source

MOST_COLUMNS = 24
FEWEST_ROWS = 10


def correlate(questions: Questions, source: Source, columns: Sequence[Column], rows: int) -> Correlations | None:
    """Pearson's correlations of the first columns that vary, identifiers left out; None with fewer than two.

    A missing or infinite number counts as its column's mean, which draws the coefficient towards zero.
    """
    chosen = [column for column in columns if _varies(column)][:MOST_COLUMNS]
    if len(chosen) < 2 or rows < FEWEST_ROWS:
        return None
    # Centred first: sums of squares of large numbers would lose the digits that matter.
    centred = ", ".join(
        f"ifNull(if(isFinite(toFloat64(v{number})), toFloat64(v{number}) - ({column.mean!r}), 0), 0)"
        for number, column in enumerate(chosen)
    )
    relation = source.relation([column.column for column in chosen])
    ((matrix,),) = questions.rows(f"SELECT corrMatrix({centred}) FROM {relation}")
    return Correlations(
        tuple(column.column for column in chosen),
        tuple(tuple(round(float(r), 4) if math.isfinite(r) else None for r in row) for row in matrix),
    )


def _varies(column: Column) -> bool:
    if column.kind not in (NUMBER, FLAG) or column.mean is None or not column.deviation:
        return False
    return not identifies(column.column)
