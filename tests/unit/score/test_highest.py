"""Test which rows of a slice are held back for their explanation."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from raypipe.score.highest import Highest

Rows = list[tuple[float, str]]


def table(rows: Rows) -> pa.Table:
    return pa.table(
        {"user_id": [key for _, key in rows], "score": pa.array([score for score, _ in rows], pa.float32())}
    )


def listed(rows: pa.Table | None) -> Rows:
    if rows is None:
        return []
    return [(round(row["score"], 2), row["user_id"]) for row in rows.to_pylist()]


def exchanged(rows: Rows, count: int, batch: int) -> tuple[Rows, Rows]:
    """Return the held rows and the others, best first."""
    highest, others = Highest(count, ("user_id",)), []
    for first in range(0, len(rows), batch):
        others += listed(highest.exchange(table(rows[first : first + batch])))
    return best(listed(highest.rows)), best(others)


def best(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: (-row[0], row[1]))


# A few scores only, so that many rows have equal ones.
ROWS = [(round(random.Random(seed).choice([0.1, 0.5, 0.9]), 2), f"u{seed:04}") for seed in range(500)]


@pytest.mark.parametrize("count", [1, 7, 100, 499, 500, 900])
@pytest.mark.parametrize("batch", [3, 64, 500])
def test_the_highest_scores_are_held_with_the_lower_keys_of_equal_scores(count: int, batch: int) -> None:
    rows = random.Random(1).sample(ROWS, len(ROWS))
    held, others = exchanged(rows, count, batch)
    assert held == best(ROWS)[:count]
    assert others == best(ROWS)[count:]


def test_nothing_is_held_where_nothing_is_explained() -> None:
    assert exchanged(ROWS, 0, 64) == ([], best(ROWS))
