"""Test the factorisation: fold-in is the fit's own least squares step, and odd inputs have a result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from raypipe.errors import ConfigError
from raypipe.recommend.als import FoldIn, item_factors
from raypipe.recommend.interactions import Interactions
from raypipe.recommend.parameters import AlsParameters, HybridParameters
from tests.unit.recommend.readers import read_interactions

PARAMS = AlsParameters(factors=8, iterations=8, regularization=0.1, alpha=5.0)


def solved(factors: np.ndarray, history: np.ndarray) -> np.ndarray:
    """A user's factors as Hu, Koren and Volinsky write them: (YᵀCY + λI)⁻¹ YᵀCp."""
    confidence = np.where(history > 0, 1 + PARAMS.alpha * history, 1.0)
    y = factors.astype(np.float64)
    left = y.T @ (confidence[:, None] * y) + PARAMS.regularization * np.eye(factors.shape[1])
    return np.linalg.solve(left, y.T @ (confidence * (history > 0)))


def test_a_folded_in_user_solves_the_weighted_least_squares() -> None:
    factors = item_factors(read_interactions(), PARAMS, threads=1)
    matrix = read_interactions().matrix()[:20]
    expected = np.array([solved(factors, row) for row in matrix.toarray()])
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(FoldIn(factors, PARAMS)(matrix), expected, atol=2e-4)


def test_an_empty_history_has_no_direction() -> None:
    factors = item_factors(read_interactions(), PARAMS, threads=1)
    assert not FoldIn(factors, PARAMS)(csr_matrix((3, len(factors)), dtype=np.float32)).any()


def test_folding_in_leaves_the_histories_as_they_were() -> None:
    matrix = read_interactions().matrix()
    before = matrix.data.copy()
    FoldIn(item_factors(read_interactions(), PARAMS, threads=1), PARAMS)(matrix)
    assert np.array_equal(matrix.data, before)


def test_the_same_seed_gives_the_same_factors() -> None:
    one, again = (item_factors(read_interactions(), PARAMS, threads=1) for _ in range(2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, item_factors(read_interactions(), replace(PARAMS, seed=1), threads=1))


def test_an_item_that_nobody_read_has_no_direction() -> None:
    pairs = read_interactions()
    kept = pairs.take(pairs.items != 17)
    factors = item_factors(kept, PARAMS, threads=1)
    assert not factors[17].any()
    assert factors[16].any()


def test_without_interactions_all_factors_are_zero() -> None:
    none = np.empty(0, np.int64)
    pairs = Interactions(none, none, none.astype(np.float32), none, 0, 5)
    assert not item_factors(pairs, PARAMS).any()


def test_three_users_and_two_items_can_be_factorised() -> None:
    users, items = np.array([0, 1, 2], np.int32), np.array([0, 0, 1], np.int32)
    pairs = Interactions(users, items, np.ones(3, np.float32), np.zeros(3, np.int64), 3, 2)
    factors = item_factors(pairs, PARAMS, threads=1)
    assert np.isfinite(FoldIn(factors, PARAMS)(pairs.matrix())).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [("factors", 0), ("factors", 2.5), ("iterations", 0), ("regularization", 0), ("alpha", float("nan"))],
)
def test_parameters_that_make_no_sense_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"model\.params\.factorisation\.{name} "):
        HybridParameters.from_mapping({"factorisation": {name: value}})
