"""Compiled trees give XGBoost's answer, or leave the model to XGBoost."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypipe.errors import ModelError, PredictorDiffers
from raypipe.models.model import COMPILED, LIBRARY, FloatArray, Matrix, predictor
from raypipe.models.protocol import FitSpec
from raypipe.models.trees import compared, compiled
from raypipe.models.trees.code import VECTORS, Shape
from raypipe.models.trees.compared import COMPARED_ROWS
from raypipe.models.trees.compiled import CompiledTrees
from raypipe.models.trees.forest import DEEPEST, read_forest
from raypipe.models.xgboost import FILE, XGBoost, XGBoostModel
from raypipe.models.xgboost_version import require_reader, written_by

xgb = pytest.importorskip("xgboost")
pytest.importorskip("llvmlite")

LANES = (4, 8, 16)


def rows(count: int = 700, columns: int = 9, seed: int = 0, missing: float = 0.3) -> FloatArray:
    """Return numbers, whole numbers, a constant column and missing values."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, columns)).astype(np.float32)
    x[:, columns // 2 :] = np.round(2 * x[:, columns // 2 :])
    x[random.random(x.shape) < missing] = np.nan
    x[:, -1] = 1
    return x


def booster(x: FloatArray, rounds: int = 20, seed: int = 0, **params: Any) -> Any:
    random = np.random.default_rng(seed)
    z = np.nansum(x[:, :5], axis=1) + np.nan_to_num(x[:, 0]) * np.nan_to_num(x[:, 1])
    objective = params.setdefault("objective", "binary:logistic")
    y = np.exp(z / 4) if objective in POSITIVE else 40 * z + random.normal(size=len(z))
    if "logistic" in objective:
        y = random.random(len(z)) < 1 / (1 + np.exp(-z))
    return xgb.train({"seed": seed, "nthread": 1, **params}, xgb.DMatrix(x, y), num_boost_round=rounds)


POSITIVE = ("count:poisson", "reg:gamma", "reg:tweedie")


def trees(fitted: Any) -> CompiledTrees:
    return CompiledTrees(read_forest(json.loads(fitted.save_raw("json"))))


def assert_same(fitted: Any, x: FloatArray) -> None:
    """Compare scores to 1e-6, and the sums of the trees bit for bit."""
    forest = read_forest(json.loads(fitted.save_raw("json")))
    expected = fitted.inplace_predict(x)
    scores = CompiledTrees(forest).predict(x, 1)
    assert np.abs(scores - expected).max() <= 1e-6 * max(1.0, np.abs(expected).max())
    sums = CompiledTrees(replace(forest, link="identity")).predict(x, 1)
    # The trees are equal. The base score is stored with 24 bits, and its logarithm or log odds may differ in the last.
    margins = fitted.inplace_predict(x, predict_type="margin")
    assert np.abs(sums - margins).max() <= 2e-7 * max(1.0, np.abs(margins).max()) * (forest.link != "identity")


@pytest.fixture(params=LANES)
def lanes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Compile for vectors of this length, whatever the processor's own."""
    count: int = request.param
    machine = compiled._machine
    monkeypatch.setattr(compiled, "_machine", lambda llvm: (machine(llvm)[0], count))
    return count


KINDS: Mapping[str, dict[str, Any]] = {
    "plain": {},
    **{f"depth {depth}": {"max_depth": depth} for depth in (1, 2, 3, 5, DEEPEST)},
    "leaf-wise": {"grow_policy": "lossguide", "max_leaves": 9, "max_depth": 7},
    "pruned": {"gamma": 3.0, "min_child_weight": 5},
    "monotone": {"monotone_constraints": (1, -1, 0, 0, 0, 0, 0, 0, 0)},
    "parallel trees": {"num_parallel_tree": 3, "subsample": 0.7, "colsample_bynode": 0.7},
    "exact": {"tree_method": "exact"},
    "base score": {"base_score": 0.03},
    "weights": {"scale_pos_weight": 7.5, "eta": 0.9},
    "reg:logistic": {"objective": "reg:logistic"},
    "reg:squarederror": {"objective": "reg:squarederror"},
    "reg:absoluteerror": {"objective": "reg:absoluteerror"},
    "reg:pseudohubererror": {"objective": "reg:pseudohubererror", "base_score": 3.0},
    "count:poisson": {"objective": "count:poisson"},
    "reg:gamma": {"objective": "reg:gamma"},
    "reg:tweedie": {"objective": "reg:tweedie"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_tree_scores_as_xgboost_does(kind: str) -> None:
    x = rows()
    assert_same(booster(x, **KINDS[kind]), rows(seed=1, count=1000))


def test_every_length_of_vectors_scores_as_xgboost_does(lanes: int) -> None:
    assert trees(booster(rows()))._shape == Shape(lanes, max(9, lanes))
    for columns in (5, 16, 21):
        x = rows(columns=columns)
        assert_same(booster(x, max_depth=5), x)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    columns=st.integers(5, 40),
    depth=st.integers(1, DEEPEST),
    count=st.integers(1, 300),
    missing=st.sampled_from([0.0, 0.3, 0.95]),
)
def test_random_models_score_as_xgboost_does(seed: int, columns: int, depth: int, count: int, missing: float) -> None:
    fitted = booster(rows(300, columns, seed, missing), 6, seed, max_depth=depth, eta=0.7)
    assert_same(fitted, rows(count, columns, seed + 1, missing))


def test_a_value_at_a_threshold_beside_it_or_missing_goes_xgboosts_way(lanes: int) -> None:
    fitted = booster(rows(), max_depth=4)
    forest = read_forest(json.loads(fitted.save_raw("json")))
    thresholds = forest.thresholds[np.isfinite(forest.thresholds)]
    edges = [thresholds, np.nextafter(thresholds, np.float32(-np.inf)), np.nextafter(thresholds, np.float32(np.inf))]
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3.4e38, -3.4e38], np.float32)
    values = np.concatenate([*edges, special])
    x = np.random.default_rng(0).choice(values, (5000, 9)).astype(np.float32)
    assert_same(fitted, x)


def test_a_tree_of_a_single_leaf_and_all_missing_rows_are_scored() -> None:
    x = np.full((10, 9), np.nan, np.float32)
    assert_same(booster(rows(), gamma=1e9), x)
    assert_same(booster(rows(), rounds=3), x)


def test_a_model_cut_at_its_best_round_is_scored_up_to_it() -> None:
    x = rows()
    train = Matrix(x, (np.nan_to_num(x[:, 0]) > 0).astype(np.float32))
    names = tuple("abcdefghi")
    spec = FitSpec(names, kind="binary", rounds=80, early_stopping_rounds=2, threads=1, params={"eta": 0.9})
    model, history = XGBoost().fit(train, Matrix(x[:50], 1 - train.y[:50]), spec)
    expected = model.predict(x)
    model.compile()
    assert history.rounds < 80
    assert predictor(model) == COMPILED
    assert np.abs(model.predict(x) - expected).max() <= 1e-6


@pytest.mark.parametrize("count", [1, 3, 63, 64, 65, 8192, 8193])
def test_blocks_and_threads_do_not_change_a_score(count: int, lanes: int) -> None:
    x = rows(count)
    fitted = booster(rows())
    code = trees(fitted)
    alone = code.predict(x, 1)
    assert np.array_equal(alone, code.predict(x, 3))
    assert np.array_equal(alone, code.predict(np.asfortranarray(x), 1))
    assert np.abs(alone - fitted.inplace_predict(x)).max() <= 1e-6


def test_threads_may_share_the_code() -> None:
    parts = [rows(3000, seed=seed) for seed in range(6)]
    code = trees(booster(rows()))
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda x: code.predict(x, 1), parts))
    assert all(np.array_equal(scores, code.predict(x, 1)) for scores, x in zip(together, parts, strict=True))


def test_chunks_end_with_a_block() -> None:
    from raypipe.models.chunks import CHUNK_ROWS

    # The last block of a chunk writes whole vectors, which must not reach into another thread's chunk.
    assert all(CHUNK_ROWS % (count * VECTORS) == 0 for count in LANES)


def _categorical(x: FloatArray) -> Any:
    codes = np.where(np.isnan(x[:, 5]), 0, np.abs(x[:, 5]))
    data = xgb.DMatrix(codes.reshape(-1, 1), (codes == 1).astype(int), feature_types=["c"], enable_categorical=True)
    return xgb.train({"objective": "binary:logistic", "max_cat_to_onehot": 1}, data, 3)


def _classes(x: FloatArray) -> Any:
    labels = np.arange(len(x)) % 3
    return xgb.train({"objective": "multi:softprob", "num_class": 3}, xgb.DMatrix(x, labels), 2)


def _targets(x: FloatArray) -> Any:
    return xgb.train({"multi_strategy": "one_output_per_tree"}, xgb.DMatrix(x, np.nan_to_num(x[:, :2])), 2)


LEFT_TO_XGBOOST = {
    "categorical splits": _categorical,
    "multi:softprob": _classes,
    "several outputs": _targets,
    "dart": lambda x: booster(x, booster="dart", rate_drop=0.5),
    "gblinear": lambda x: booster(x, booster="gblinear"),
    "rank:pairwise": lambda x: xgb.train({"objective": "rank:pairwise"}, xgb.DMatrix(x, np.arange(700) % 2), 2),
    "9 levels": lambda x: booster(x, max_depth=9, min_child_weight=0),
    "no trees": lambda x: booster(x, rounds=0),
}


@pytest.mark.parametrize("reason", LEFT_TO_XGBOOST)
def test_what_is_not_covered_is_left_to_xgboost(reason: str, caplog: pytest.LogCaptureFixture) -> None:
    model = XGBoostModel(LEFT_TO_XGBOOST[reason](rows()))
    with caplog.at_level(logging.INFO):
        model.compile()
    assert predictor(model) == LIBRARY
    assert reason in caplog.text


def test_without_llvm_xgboost_scores(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    model = XGBoostModel(booster(rows()))
    with caplog.at_level(logging.INFO):
        model.compile()
    assert predictor(model) == LIBRARY
    assert "LLVM cannot be used" in caplog.text
    assert len(model.predict(rows(10))) == 10


def test_a_difference_in_the_first_rows_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    model = XGBoostModel(booster(rows()))
    model.compile()
    model.predict(rows(COMPARED_ROWS - 1000))
    real = CompiledTrees.predict
    monkeypatch.setattr(CompiledTrees, "predict", lambda self, x, threads: real(self, x, threads) + 2e-6)
    with pytest.raises(PredictorDiffers, match=r"1000 of 1000 rows differ, by up to 2\.\d*e-06"):
        model.predict(rows(2000))
    # Later rows are not compared: XGBoost would score everything twice.
    model.predict(rows(10))


def test_without_the_comparison_a_difference_goes_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compared, "COMPARED_ROWS", 0)
    real = CompiledTrees.predict
    monkeypatch.setattr(CompiledTrees, "predict", lambda self, x, threads: real(self, x, threads) + 2e-6)
    fitted = booster(rows())
    model = XGBoostModel(fitted)
    model.compile()
    assert np.abs(model.predict(rows()) - fitted.inplace_predict(rows())).max() > 1e-6


def test_a_model_of_a_newer_xgboost_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    files = XGBoostModel(booster(rows())).files()
    major, minor = (int(part) for part in xgb.__version__.split(".")[:2])
    older = f"{major}.{minor - 1}.5" if minor else f"{major - 1}.9.0"
    monkeypatch.setattr(xgb, "__version__", older)
    with pytest.raises(ModelError, match="newer XGBoost") as caught:
        XGBoost().from_files(files)
    assert f"XGBoost {older} here, and a model of {major}.{minor}." in str(caught.value)
    assert f"upgrade xgboost-cpu to {major}.{minor} or newer" in str(caught.value)


@pytest.mark.parametrize("installed", [xgb.__version__, "99.0.1"])
def test_a_model_of_this_or_an_older_xgboost_is_read(installed: str) -> None:
    content = XGBoostModel(booster(rows())).files()[FILE]
    require_reader(content, installed)
    assert ".".join(map(str, written_by(content))) == xgb.__version__


def test_llvm_is_loaded_only_to_compile() -> None:
    code = "import sys, raypipe.models.xgboost; sys.exit('llvmlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
