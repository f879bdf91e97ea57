"""Test that a batch of any width stays below the size from which memory is returned to the system."""

from __future__ import annotations

import pytest

from raypipe.score import allocation
from raypipe.score.worker import BATCH_ROWS, batch_rows


@pytest.mark.parametrize("width", [0, 1, 50, 100, 1_000, 5_000_000])
def test_a_batch_keeps_its_pages_whatever_the_width_of_the_matrix(width: int) -> None:
    rows = batch_rows(width)
    assert 1 <= rows <= BATCH_ROWS
    # Keys and carried columns come on top.
    assert rows == 1 or rows * width * 4 < 0.75 * allocation._RETURNED_FROM


def test_a_narrow_matrix_has_large_batches() -> None:
    assert batch_rows(50) == BATCH_ROWS
    assert batch_rows(200) < BATCH_ROWS
