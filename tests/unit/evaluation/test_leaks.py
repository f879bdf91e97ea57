"""Test that planted leaks are found, and that strong but honest features are not taken for leaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_breast_cancer, load_wine

from raypipe.evaluation.leaks import suspicious_features

Column = npt.NDArray[np.float64]
ROWS = 4000


def population(seed: int) -> tuple[Column, Column, np.random.Generator]:
    """Return 20 honest features and a binary label with a share of 0.2 that they explain in part."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, 20))
    x[:, 5:10] = np.exp(x[:, 5:10])
    x[:, 10:15] = x[:, 10:15] > 1
    x[rng.random(x.shape) < 0.03] = np.nan
    logit = 1.4 * np.nan_to_num(x[:, 0]) + np.nan_to_num(x[:, 1]) - np.nan_to_num(x[:, 10]) - 1.9
    return x, (rng.random(ROWS) < 1 / (1 + np.exp(-logit))).astype(float), rng


def flipped(y: Column, rng: np.random.Generator, share: float) -> Column:
    return np.where(rng.random(len(y)) < share, 1 - y, y)


def only(rows: npt.NDArray[np.bool_], values: Column | float) -> Column:
    return np.where(rows, values, np.nan)


# What a table may hold that is known only after the outcome.
PLANTED: Mapping[str, Callable[[Column, np.random.Generator], Column]] = {
    "the label": lambda y, rng: y,
    "the label, negated": lambda y, rng: 1 - y,
    "the label in other numbers": lambda y, rng: np.where(y > 0, 17.0, 3.0),
    "the label with 1 % errors": lambda y, rng: flipped(y, rng, 0.01),
    "the label with 4 % errors": lambda y, rng: flipped(y, rng, 0.04),
    "the label with a little noise": lambda y, rng: y + rng.normal(size=len(y)) * 0.1,
    "the label with noise": lambda y, rng: y + rng.normal(size=len(y)) * 0.35,
    "missing where positive": lambda y, rng: only(y < 1, rng.normal(size=len(y))),
    "filled where positive": lambda y, rng: only(y > 0, rng.normal(size=len(y))),
    "filled in 40 % of the positive rows": lambda y, rng: only((y > 0) & (rng.random(len(y)) < 0.4), 1.0),
    "filled in 60 % of the negative rows": lambda y, rng: only((y < 1) & (rng.random(len(y)) < 0.6), 1.0),
    "a code of the reason": lambda y, rng: np.where((y > 0) & (rng.random(len(y)) < 0.3), 1.0, 0.0),
    "an amount paid back": lambda y, rng: np.where((y > 0) & (rng.random(len(y)) < 0.5), rng.exponential(9, len(y)), 0),
    "sessions after the date": lambda y, rng: np.where(y > 0, 0, 1 + rng.poisson(4, len(y))).astype(float),
    "days without a session after the date": lambda y, rng: np.where(y > 0, 30, rng.integers(0, 25, len(y))),
    "days of a subscription that ended": lambda y, rng: np.where(y > 0, rng.integers(1, 29, len(y)), 30),
    "the score of a model that saw the label": lambda y, rng: 1 / (1 + np.exp(-(6 * y - 3 + rng.normal(size=len(y))))),
    "the rank by such a score": lambda y, rng: np.argsort(np.argsort(4 * y + rng.normal(size=len(y)))).astype(float),
    "a time stamp of the outcome": lambda y, rng: np.where(y > 0, 1.77e9 + rng.integers(0, 9999, len(y)), 0.0),
    "a status with a gap": lambda y, rng: only(rng.random(len(y)) < 0.97, y),
}


def test_of_twenty_planted_leaks_at_least_nineteen_are_found() -> None:
    missed = []
    for seed, (name, plant) in enumerate(PLANTED.items()):
        x, y, rng = population(seed)
        leaks = suspicious_features(np.column_stack([x, plant(y, rng)]), y, [*map(str, range(20)), name])
        assert [leak.column for leak in leaks if leak.column != name] == []
        missed += [] if leaks else [name]
    assert len(PLANTED) == 20
    assert len(missed) <= 1, missed


def test_of_four_hundred_honest_columns_at_most_two_are_suspicious() -> None:
    flagged, columns = [], 0
    for seed in range(100, 117):
        x, y, _ = population(seed)
        flagged += suspicious_features(x, y, [f"{seed}:{at}" for at in range(20)])
        columns += 20
    # The best of these columns has an AUC of 0.98 alone, and tumours do differ by size.
    data = load_breast_cancer()
    flagged += suspicious_features(data.data, data.target, list(data.feature_names))
    # Repeated with noise, for as many columns as promised.
    noise = np.random.default_rng(1).normal(size=data.data.shape) * data.data.std(axis=0) * 0.3
    flagged += suspicious_features(data.data + noise, data.target, list(data.feature_names))
    columns += 2 * data.data.shape[1]
    assert columns == 400
    assert len(flagged) <= 2, flagged


@pytest.mark.parametrize("scale", [1.0, -3.0])
def test_the_number_itself_is_found_and_its_earlier_value_is_not(scale: float) -> None:
    rng = np.random.default_rng(2)
    earlier = rng.normal(size=ROWS)
    y = earlier + rng.normal(size=ROWS) * 0.5
    x = np.column_stack([earlier, scale * y + 7, rng.normal(size=ROWS)])
    leaks = suspicious_features(x, y, ["earlier", "copy", "noise"], kind="number")
    assert [leak.column for leak in leaks] == ["copy"]


def test_the_class_itself_is_found_and_a_good_measurement_is_not() -> None:
    data = load_wine()
    x = np.column_stack([data.data, 2 - data.target])
    leaks = suspicious_features(x, data.target.astype(float), [*data.feature_names, "copy"], kind="classes")
    assert [leak.column for leak in leaks] == ["copy"]
