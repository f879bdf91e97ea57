"""Correlate a table's numeric columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

from raypipe.explore.facts import ColumnProfile, Correlations
from raypipe.explore.kinds import FLAG, NUMBER
from raypipe.explore.names import identifies
from raypipe.explore.questions import Questions
from raypipe.explore.sample import RowSource

MOST_COLUMNS = 24
FEWEST_ROWS = 10


def correlate(
    questions: Questions, source: RowSource, columns: Sequence[ColumnProfile], rows: int
) -> Correlations | None:
    """Compute Pearson's correlations of the first columns that vary, without identifiers; None for fewer than two.

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


def _varies(column: ColumnProfile) -> bool:
    is_number = column.kind in (NUMBER, FLAG) and column.mean is not None
    return is_number and bool(column.deviation) and not identifies(column.column)
