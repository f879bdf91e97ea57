from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import xgboost

from raypipe.errors import ConfigError, DataError, ModelError
from raypipe.models import xgboost as family
from raypipe.models.model import Matrix
from raypipe.models.protocol import FitSpec
from raypipe.models.xgboost import XGBoost
from raypipe.testing.model_suite import ModelSuite, rows

SPEC = FitSpec(
    ("signal", "noise", "mostly_missing"),
    params={"max_depth": 3},
    kind="binary",
    rounds=30,
    seed=3,
    threads=1,
)
TRAIN, VALIDATION = rows(binary=True), rows(binary=True, seed=2)


class TestBinaryTrees(ModelSuite):
    family_path = "raypipe.models.xgboost:XGBoost"
    params: ClassVar = {"max_depth": 3}


class TestNumberTrees(ModelSuite):
    family_path = "raypipe.models.xgboost:XGBoost"
    params: ClassVar = {"max_depth": 3}
    binary = False


def test_early_stopping_keeps_only_the_best_rounds() -> None:
    model, history = XGBoost().fit(TRAIN, VALIDATION, replace(SPEC, rounds=300, early_stopping_rounds=5))
    curve = history.curves["validation"]["logloss"]
    assert history.rounds == int(np.argmin(curve)) + 1
    assert len(curve) == history.rounds + 5
    loss = -np.log(np.where(VALIDATION.y > 0.5, model.predict(VALIDATION.x), 1 - model.predict(VALIDATION.x))).mean()
    assert loss == pytest.approx(min(curve), abs=1e-5)


def test_rounds_are_judged_on_samples_of_the_rows_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "CURVE_ROWS", {"train": 100, "validation": len(VALIDATION) // 2})
    judged: dict[str, Any] = {}

    def train(*arguments: Any, evals: Any, **options: Any) -> Any:
        judged.update({name: rows for rows, name in evals})
        return booster(*arguments, evals=evals, **options)

    booster = xgboost.train
    monkeypatch.setattr(xgboost, "train", train)
    XGBoost().fit(TRAIN, VALIDATION, SPEC)
    assert judged["train"].num_row() == 100
    assert judged["validation"].num_row() == len(VALIDATION) // 2
    # XGBoost would turn the bins of quantised rows back into values in every round.
    assert {type(rows) for rows in judged.values()} == {xgboost.DMatrix}


def test_each_round_is_told_with_the_scores_as_of_then() -> None:
    told: dict[int, Any] = {}

    def on_round(done: int, predict: Any) -> None:
        told[done] = predict()

    model, _ = XGBoost().fit(TRAIN, VALIDATION, replace(SPEC, on_round=on_round))
    assert list(told) == list(range(1, SPEC.rounds + 1))
    short, _ = XGBoost().fit(TRAIN, VALIDATION, replace(SPEC, rounds=10))
    assert np.array_equal(told[10], short.predict(VALIDATION.x))
    assert np.array_equal(told[SPEC.rounds], model.predict(VALIDATION.x))


def test_early_stopping_without_validation_rows_is_refused() -> None:
    with pytest.raises(DataError, match="no validation rows"):
        XGBoost().fit(TRAIN, VALIDATION.take(np.arange(0)), replace(SPEC, early_stopping_rounds=5))


def test_validation_rows_are_not_needed_without_early_stopping() -> None:
    _, history = XGBoost().fit(TRAIN, VALIDATION.take(np.arange(0)), SPEC)
    assert history.rounds == 30
    assert list(history.curves) == ["train"]


def test_a_monotone_feature_never_lowers_the_score() -> None:
    falling = Matrix(TRAIN.x, 1 - TRAIN.y)
    free, _ = XGBoost().fit(falling, VALIDATION, SPEC)
    bound, _ = XGBoost().fit(falling, VALIDATION, replace(SPEC, monotone=(1, 0, 0)))
    grid = np.zeros((50, 3), np.float32)
    grid[:, 0] = np.linspace(-3, 3, 50)
    assert np.diff(free.predict(grid)).min() < -0.01
    assert np.diff(bound.predict(grid)).min() >= -1e-6


def test_balance_weighs_positives_by_the_ratio_of_the_classes() -> None:
    kept = np.flatnonzero((TRAIN.y == 0) | (np.arange(len(TRAIN)) % 10 == 0))
    skewed = TRAIN.take(kept)
    plain, _ = XGBoost().fit(skewed, VALIDATION, SPEC)
    balanced, _ = XGBoost().fit(skewed, VALIDATION, replace(SPEC, balance="scale_pos_weight"))
    assert plain.predict(skewed.x).mean() == pytest.approx(skewed.y.mean(), abs=0.05)
    assert balanced.predict(skewed.x).mean() > 1.5 * plain.predict(skewed.x).mean()


def test_the_users_parameter_wins_over_the_derived_one() -> None:
    own = replace(SPEC, balance="scale_pos_weight", params={**SPEC.params, "scale_pos_weight": 1.0})
    x = VALIDATION.x
    same = np.array_equal(XGBoost().fit(TRAIN, VALIDATION, own)[0].predict(x), _scores(SPEC))
    assert same


def test_explanations_add_up_to_the_log_odds() -> None:
    model, _ = XGBoost().fit(TRAIN, VALIDATION, SPEC)
    x, scores = VALIDATION.x, model.predict(VALIDATION.x).astype(np.float64)
    rest = np.log(scores / (1 - scores)) - model.explain(x).sum(axis=1)
    assert model.explain(x).shape == x.shape
    assert rest.std() < 1e-4  # what remains is the bias, the same for every row


def test_the_signal_is_the_most_important_feature() -> None:
    model, _ = XGBoost().fit(TRAIN, VALIDATION, SPEC)
    assert model.importance()[0] > 0.6


@pytest.mark.parametrize("extra", [{"booster": "dart"}, {"booster": "gblinear"}, {"tree_method": "exact"}])
def test_other_boosters_fit_stop_early_and_come_back(extra: dict[str, Any]) -> None:
    params: ClassVar = {**extra}
    model, _ = XGBoost().fit(TRAIN, VALIDATION, replace(SPEC, params=params, early_stopping_rounds=3))
    again = XGBoost().from_files(model.files())
    assert np.array_equal(again.predict(VALIDATION.x), model.predict(VALIDATION.x))
    assert model.importance().sum() == pytest.approx(1.0, abs=1e-4)


def test_an_unknown_parameter_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="max_dpeth"):
        XGBoost().fit(TRAIN, VALIDATION, replace(SPEC, params={**SPEC.params, "max_dpeth": 3}))


def test_an_unknown_parameter_is_refused_in_any_thread() -> None:
    with ThreadPoolExecutor(1) as pool:
        attempt = pool.submit(XGBoost().fit, TRAIN, VALIDATION, replace(SPEC, params={**SPEC.params, "max_dpeth": 3}))
        with pytest.raises(ConfigError, match="max_dpeth"):
            attempt.result()


def test_a_value_out_of_range_is_refused_with_the_librarys_words() -> None:
    with pytest.raises(ModelError, match="max_depth") as caught:
        XGBoost().fit(TRAIN, VALIDATION, replace(SPEC, params={**SPEC.params, "max_depth": -3}))
    assert "Stack trace" not in str(caught.value)


def test_an_unknown_balance_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.balance"):
        XGBoost().fit(TRAIN, VALIDATION, replace(SPEC, balance="smote"))


def test_a_number_has_no_classes_to_balance() -> None:
    with pytest.raises(ConfigError, match="needs a binary label"):
        XGBoost().fit(TRAIN, VALIDATION, replace(SPEC, balance="scale_pos_weight", kind="number"))


def test_a_single_class_is_refused() -> None:
    with pytest.raises(DataError, match="single class"):
        XGBoost().fit(Matrix(TRAIN.x, np.zeros_like(TRAIN.y)), VALIDATION, SPEC)


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no training rows"):
        XGBoost().fit(TRAIN.take(np.arange(0)), VALIDATION, SPEC)


def test_a_matrix_of_other_width_is_refused() -> None:
    model, _ = XGBoost().fit(TRAIN, VALIDATION, SPEC)
    with pytest.raises(ModelError, match="features"):
        model.predict(TRAIN.x[:, :2])


@pytest.mark.parametrize("files", [{}, {"model.ubj": b"garbage"}, {"model.ubj": b""}])
def test_files_that_are_no_model_are_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(ModelError, match=r"model\.ubj"):
        XGBoost().from_files(files)


def _scores(spec: FitSpec) -> Any:
    return XGBoost().fit(TRAIN, VALIDATION, spec)[0].predict(VALIDATION.x)


def _worker(arguments: dict[str, Any], start: int, stop: int, results: Any) -> None:
    from xgboost.collective import CommunicatorContext

    with CommunicatorContext(**arguments):
        spec = replace(SPEC, balance="scale_pos_weight", early_stopping_rounds=5)
        model, history = XGBoost().fit(TRAIN.take(np.arange(start, stop)), VALIDATION, spec)
        results.put((history.rows, history.rounds, model.files()["model.ubj"]))


@pytest.mark.parametrize("cut", [len(TRAIN) // 2, len(TRAIN)], ids=["even", "one_without_rows"])
def test_two_workers_agree_on_one_model_of_all_rows(cut: int) -> None:
    from xgboost.tracker import RabitTracker

    tracker = RabitTracker(n_workers=2, host_ip="127.0.0.1")
    tracker.start()
    arguments, context = tracker.worker_args(), multiprocessing.get_context("spawn")
    results = context.Queue()
    shares = ((0, cut), (cut, len(TRAIN)))
    workers = [context.Process(target=_worker, args=(arguments, *share, results)) for share in shares]
    for worker in workers:
        worker.start()
    first, second = results.get(timeout=120), results.get(timeout=120)
    for worker in workers:
        worker.join(timeout=60)
    assert first == second
    assert first[0] == len(TRAIN)
    joint = XGBoost().from_files({"model.ubj": first[2]}).predict(VALIDATION.x)
    alone = _scores(replace(SPEC, balance="scale_pos_weight", early_stopping_rounds=5))
    assert np.corrcoef(joint, alone)[0, 1] > 0.95
