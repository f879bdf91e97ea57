"""Test that the top n equals a full sort's, at every width."""

from __future__ import annotations

import numpy as np
import pytest

from raypipe.recommend.top_n import GROUP, padded, top_n


@pytest.mark.parametrize("width", [16, 32, 160, 176, 1600, 20_000])
@pytest.mark.parametrize("n", [1, 3, 10, 50])
def test_the_top_n_is_that_of_a_full_sort(width: int, n: int) -> None:
    scores = np.random.default_rng(width).normal(size=(7, width)).astype(np.float32)
    columns, values = top_n(scores, n)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    there = min(n, width)
    assert np.array_equal(columns[:, :there], expected)
    assert np.array_equal(values[:, :there], np.take_along_axis(scores, expected, axis=1))
    assert np.isneginf(values[:, there:]).all()


def test_what_is_not_to_be_taken_comes_last() -> None:
    scores = np.full((2, 16 * GROUP), -np.inf, np.float32)
    scores[0, [3, 200]] = [1.0, 2.0]
    columns, values = top_n(scores, 5)
    assert columns[0, :2].tolist() == [200, 3]
    assert np.isneginf(values[0, 2:]).all()
    assert np.isneginf(values[1]).all()


def test_equal_scores_are_ordered_by_column() -> None:
    for width in (16, 320):
        columns, _ = top_n(np.zeros((2, width), np.float32), 4)
        assert columns.tolist() == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize(("columns", "width"), [(0, 0), (1, 16), (16, 16), (17, 32)])
def test_widths_are_whole_groups(columns: int, width: int) -> None:
    assert padded(columns) == width
