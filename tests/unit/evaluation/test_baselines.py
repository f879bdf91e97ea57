from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from raypipe.evaluation.baselines import baselines
from raypipe.models.model import Matrix

COLUMNS = ["noise", "bump", "trend"]


def _rows(seed: int, binary: bool = True) -> Matrix:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3_000, 3)).astype(np.float32)
    logit = 3 * np.exp(-4 * x[:, 1] ** 2) - 1.5 + 0.6 * x[:, 2]
    y = rng.random(len(x)) < 1 / (1 + np.exp(-logit)) if binary else logit
    x[rng.random(len(x)) < 0.1, 0] = np.nan
    return Matrix(x, np.asarray(y, np.float32))


def _fitted(binary: bool = True) -> Any:
    parts = [_rows(seed, binary) for seed in range(3)]
    return baselines("binary" if binary else "number", *parts, COLUMNS, resamples=20)


def test_the_prior_ranks_nobody() -> None:
    prior = _fitted()["prior"]
    assert prior.evaluation["auc"]["value"] == 0.5
    assert len(np.unique(prior.prediction)) == 1


def test_a_linear_model_is_not_compared_with_itself() -> None:
    parts = [_rows(seed) for seed in range(3)]
    assert set(_fitted()) == {"prior", "one_feature", "linear"}
    assert set(baselines("binary", *parts, COLUMNS, resamples=0, is_linear=True)) == {"prior", "one_feature"}


def test_the_best_single_feature_need_not_be_monotone() -> None:
    one = _fitted()["one_feature"]
    assert "bump" in one.description
    assert one.evaluation["auc"]["value"] > 0.65


def test_the_linear_model_uses_what_is_linear() -> None:
    linear = _fitted()["linear"]
    assert 0.55 < linear.evaluation["auc"]["value"] < _fitted()["one_feature"].evaluation["auc"]["value"]


def test_each_baseline_has_the_metrics_and_intervals_of_the_model() -> None:
    for baseline in _fitted().values():
        assert baseline.evaluation["log_loss"]["low"] < baseline.evaluation["log_loss"]["high"]
        assert baseline.to_json()["description"]


def test_numbers_have_baselines_too() -> None:
    found = _fitted(binary=False)
    assert found["prior"].evaluation["r2"]["value"] == pytest.approx(0, abs=0.01)
    assert found["one_feature"].evaluation["rmse"]["value"] < found["prior"].evaluation["rmse"]["value"]
    assert found["linear"].evaluation["rmse"]["value"] < found["prior"].evaluation["rmse"]["value"]


def test_persistence_leaves_the_latest_value_as_it_is() -> None:
    parts = [_rows(seed, binary=False) for seed in range(3)]
    persistence = baselines("number", *parts, COLUMNS, resamples=5, persistence="noise")["persistence"]
    latest, mean = parts[2].x[:, 0], parts[0].y.mean(dtype=np.float64)
    assert np.isnan(latest).any()
    np.testing.assert_array_equal(persistence.prediction, np.where(np.isnan(latest), mean, latest))
    assert "noise, unchanged" in persistence.description


def test_persistence_in_a_feature_that_was_dropped_is_not_tried() -> None:
    parts = [_rows(seed, binary=False) for seed in range(3)]
    persistence = baselines("number", *parts, COLUMNS, resamples=5, persistence="gone")["persistence"]
    assert persistence.prediction is None
    assert "gone: not fitted" in persistence.to_json()["description"]


def test_without_scikit_learn_the_linear_model_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    linear = _fitted()["linear"]
    assert linear.prediction is None
    assert "not installed" in linear.to_json()["description"]


def test_a_column_that_is_all_missing_does_no_harm() -> None:
    parts = [_rows(seed) for seed in range(3)]
    for part in parts:
        part.x[:, 0] = np.nan
    found = baselines("binary", *parts, COLUMNS, resamples=5)
    assert np.isfinite(found["linear"].prediction).all()
