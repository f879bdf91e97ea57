from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from raypipe.models.chunks import CHUNK_ROWS
from raypipe.models.preparation import prepare

ROWS = 8 * CHUNK_ROWS + 5


@pytest.fixture(scope="module")
def matrix() -> Any:
    rng = np.random.default_rng(1)
    x = rng.lognormal(size=(ROWS, 20)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    x[:, 3], x[:, 4] = np.nan, 7
    return x


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_columns_are_filled_and_scaled_as_by_the_library_at_once(matrix: Any, precision: type) -> None:
    filled = SimpleImputer(strategy="median", keep_empty_features=True).fit_transform(matrix)
    expected = StandardScaler().fit_transform(filled.astype(np.float64))
    _, scaled = prepare(matrix, precision)
    assert scaled.dtype == precision
    np.testing.assert_allclose(scaled, expected, atol=2e-6)


def test_the_only_whole_copy_is_the_result(matrix: Any) -> None:
    prepare(matrix[:100], np.float64)  # imports
    tracemalloc.start()
    try:
        _, scaled = prepare(matrix, np.float64)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.6 * scaled.nbytes
