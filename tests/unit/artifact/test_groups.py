"""Test which columns have values that groups of rows share."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from raypipe.artifact.groups import groups

DATES = [day for day in (date(2026, 1, 1), date(2026, 1, 29), date(2026, 2, 26)) for _ in range(1000)]


def found(column: np.ndarray, dates: list[date] = DATES) -> float | None:
    return groups(column.astype(np.float32)[:, None], ["a"], dates, ["a"]).get("a")


def test_the_quality_of_a_category_is_shared_by_its_readers() -> None:
    rng = np.random.default_rng(1)
    quality = rng.random((3, 40))
    of = rng.integers(0, 40, 3000)
    shared = quality[np.repeat([0, 1, 2], 1000), of]
    assert found(shared) == pytest.approx(40, rel=0.05)
    missing = np.where(rng.random(3000) < 0.5, np.nan, shared)
    assert found(missing) == pytest.approx(40, rel=0.15)


def test_values_of_single_rows_and_values_that_recur_are_not_shared() -> None:
    rng = np.random.default_rng(2)
    assert found(rng.random(3000)) is None
    assert found(rng.integers(0, 5, 3000)) is None
    assert found(np.where(rng.random(3000) < 0.6, 0.0, rng.random(3000))) is None


def test_one_date_or_no_value_tells_nothing() -> None:
    assert found(np.arange(3000) % 40 / 7, DATES[:1] * 3000) is None
    assert found(np.full(3000, np.nan)) is None
    assert groups(np.zeros((3000, 1), np.float32), ["a"], DATES, []) == {}
