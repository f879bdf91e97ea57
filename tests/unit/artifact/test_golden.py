from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from raypipe.artifact.golden import ANY_DAY, check_golden, golden
from raypipe.errors import ModelError
from raypipe.models.model import Answer, Rows

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
X[4, 1] = np.nan


@dataclass
class Sum:
    """A model that adds a row's known values."""

    shift: float = 0.0
    rows: int = 0

    def predict(self, x: np.ndarray) -> np.ndarray:
        scores = np.nansum(x, axis=1).astype(np.float32)
        scores[: self.rows] += np.float32(self.shift)
        return scores


STORED = golden(Rows(X, {}, ANY_DAY), Sum().predict(X))


def test_the_same_model_passes() -> None:
    assert check_golden(Sum(), STORED) == 20


def test_differences_below_the_tolerance_pass() -> None:
    assert check_golden(Sum(1e-6, 20), STORED) == 20


def test_a_difference_is_refused_with_its_rows_and_size() -> None:
    with pytest.raises(ModelError, match=r"3 of 20 rows differ, by up to 0\.25"):
        check_golden(Sum(0.25, 3), STORED)


def test_a_score_that_became_nan_is_refused() -> None:
    with pytest.raises(ModelError, match="1 of 20"):
        check_golden(Sum(float("nan"), 1), STORED)


def test_what_is_no_arrow_file_is_refused() -> None:
    with pytest.raises(ModelError, match=r"golden\.arrow"):
        check_golden(Sum(), b"garbage")


class Longest:
    """A model whose score is the length of a list; it answers with the list, and reads no matrix."""

    outputs: Mapping[str, str] = {"words": "Array(String)"}
    values: Mapping[str, Any] = {}

    def __init__(self, more: int = 0) -> None:
        self.more = more
        self.asked_at: datetime | None = None

    def answer(self, rows: Rows) -> Answer:
        self.asked_at = rows.at
        words = rows.inputs["words"]
        lengths = np.array([len(value) + self.more for value in words.to_pylist()], np.float32)
        return Answer(lengths, {"words": words})

    def predict(self, x: np.ndarray) -> np.ndarray:
        raise AssertionError("a wide model is asked for its answer")

    explain = importance = files = set_threads = predict


def test_inputs_and_the_day_are_stored_beside_the_matrix() -> None:
    at = datetime(2026, 2, 1, tzinfo=UTC)
    rows = Rows(X[:2], {"words": pa.array([["a", "b"], []], pa.list_(pa.string()))}, at)
    stored = golden(rows, Longest().answer(rows).scores)
    again = Longest()
    assert check_golden(again, stored) == 2
    assert again.asked_at == at
    with pytest.raises(ModelError, match="2 of 2 rows differ"):
        check_golden(Longest(more=1), stored)
