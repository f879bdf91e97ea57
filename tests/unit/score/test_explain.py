"""Test which contributions of a row an explanation lists."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa

from raypipe.artifact.contract import MATRIX
from raypipe.score import explain


class Linear:
    """A model in which each feature contributes its own value."""

    def explain(self, x: np.ndarray) -> np.ndarray:
        return x


def test_the_largest_contributions_are_listed_whatever_their_sign() -> None:
    package = SimpleNamespace(contract=SimpleNamespace(columns=("a", "b", "c", "d")), model=Linear(), alike=())
    rows = pa.table({MATRIX: pa.array([[1.0, -3.0, 2.0, 0.5], [0.0, 0.0, -0.25, 0.0]], pa.list_(pa.float32()))})
    assert explain._contributions(cast(Any, package), rows, 2) == ['{"b": -3.0, "c": 2.0}', '{"c": -0.25}']


def test_near_duplicates_are_one_reason_with_the_sum_of_their_parts() -> None:
    columns = ("a", "b", "c", "d")
    model = SimpleNamespace(contract=SimpleNamespace(columns=columns), model=Linear(), alike=(("a", "c"),))
    rows = pa.table({MATRIX: pa.array([[1.0, -2.5, 2.0, 0.5], [1.0, 0.5, -1.0, 0.25]], pa.list_(pa.float32()))})
    assert explain._contributions(cast(Any, model), rows, 2) == ['{"c": 3.0, "b": -2.5}', '{"b": 0.5, "d": 0.25}']
