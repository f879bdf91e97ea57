"""Test the model of a config that names none."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import xgboost

from raypipe.errors import ConfigError, DataError, ModelError
from raypipe.models import linear, settings
from raypipe.models.blend import Blend
from raypipe.models.blend_model import PARTS, BlendModel
from raypipe.models.classes import ClassModel, predictions
from raypipe.models.links import losses
from raypipe.models.model import COMPILED, Matrix, Rows, answer
from raypipe.models.protocol import FitSpec
from raypipe.models.stacking import folds, weigh
from raypipe.models.trees.merged import merged
from raypipe.testing.model_suite import ModelSuite, rows

COLUMNS = ("signal", "noise", "mostly_missing")
SPEC = FitSpec(COLUMNS, kind="binary", rounds=60, early_stopping_rounds=10, seed=3, threads=1, refits=True)
TRAIN, VALIDATION = rows(binary=True), rows(binary=True, seed=2)
CLASSES = ("low", "middle", "high")


def of_classes(seed: int) -> Matrix:
    data = rows(binary=False, seed=seed)
    return replace(data, y=np.digitize(np.nan_to_num(data.y), [-1, 1]).astype(np.float32))


class TestBinaryBlend(ModelSuite):
    family_path = "raypipe.models.blend:Blend"

    def spec(self) -> FitSpec:
        return replace(super().spec(), early_stopping_rounds=5)


class TestNumberBlend(ModelSuite):
    family_path = "raypipe.models.blend:Blend"
    binary = False

    def spec(self) -> FitSpec:
        return replace(super().spec(), early_stopping_rounds=5)


class TestCrossValidatedBlend(ModelSuite):
    family_path = "raypipe.models.blend:Blend"
    params: ClassVar = {"max_depth": 2, "folds": 3}

    def spec(self) -> FitSpec:
        return replace(super().spec(), early_stopping_rounds=5, refits=True)

    def test_the_history_counts_the_rows(self) -> None:
        # The model learned from the validation rows, too.
        assert self._fit()[1].rows == 2 * len(TRAIN)


def fitted(spec: FitSpec = SPEC, train: Matrix = TRAIN, validation: Matrix = VALIDATION) -> tuple[BlendModel, Any]:
    return Blend().fit(train, validation, spec)


def test_few_rows_are_cross_validated_and_scored_by_models_that_did_not_learn_from_them() -> None:
    model, history = fitted(replace(SPEC, params={"max_depth": 8, "min_child_weight": 0, "line": False}))
    joined = TRAIN.joined(VALIDATION)
    assert history.rows == len(joined)
    assert history.held_out.shape == (len(joined),)

    def loss(chances: Any) -> float:
        return float(losses(np.log(chances / (1 - chances)).astype(np.float64)[:, None], joined.y, "binary").mean())

    # A model knows the labels that it has seen.
    assert loss(history.held_out) > loss(model.predict(joined.x)) + 0.01


def test_many_rows_are_judged_by_the_validation_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "FOLDED_ROWS", 1000)
    _, history = fitted()
    assert (history.rows, history.held_out) == (len(TRAIN), None)


@pytest.mark.parametrize(("bent", "depth"), [(False, 4), (True, 8)])
def test_of_most_rows_the_forest_learns_that_is_better_on_a_part(
    monkeypatch: pytest.MonkeyPatch, bent: bool, depth: int
) -> None:
    monkeypatch.setattr(settings, "FOLDED_ROWS", 1000)
    monkeypatch.setattr(settings, "MOST_ROWS", 2000)
    monkeypatch.setattr(settings, "TRIED_ROWS", 2000)
    rng = np.random.default_rng(5)
    x = rng.normal(size=(6000, 6)).astype(np.float32)
    # Each pattern of six signs has a truth of its own; a noisy sum needs one column at a time.
    pattern = (x > 0) @ 2 ** np.arange(6)
    truth = 4 * np.sign(rng.normal(size=64))[pattern] if bent else x.sum(axis=1) / 3
    y = (rng.random(6000) < 1 / (1 + np.exp(-truth))).astype(np.float32)
    params = {"line": False, "subsample": 1.0, "colsample_bytree": 1.0, "eta": 0.3, "min_child_weight": 1}
    spec = replace(SPEC, columns=tuple("abcdef"), params=params)
    model, _ = fitted(spec, Matrix(x[:4500], y[:4500]), Matrix(x[4500:], y[4500:]))
    trees = json.loads(model._booster.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
    assert (max(len(tree["left_children"]) for tree in trees) > 2 ** (4 + 1) - 1) == (depth == 8)


def test_a_family_that_may_not_refit_learns_from_the_training_rows_alone() -> None:
    assert fitted(replace(SPEC, refits=False))[1].rows == len(TRAIN)


def test_a_straight_truth_gets_a_line_and_a_bent_truth_does_without() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(1500, 4)).astype(np.float32)
    spec = replace(SPEC, columns=("a", "b", "c", "d"), kind="number")
    straight = (x @ [3, -2, 1, 0.5] + rng.normal(size=1500)).astype(np.float32)
    bent = (np.where((x[:, 0] > 0) == (x[:, 1] > 0), 3, -3) + rng.normal(size=1500)).astype(np.float32)
    shares = [
        fitted(spec, Matrix(x[:1000], y[:1000]), Matrix(x[1000:], y[1000:]))[0]._parts.share for y in (straight, bent)
    ]
    assert shares[0] > 0.6
    assert shares[1] < 0.1


def test_numbers_stay_inside_the_range_of_the_label() -> None:
    train = rows(binary=False)
    train = replace(train, y=np.maximum(train.y, 0))
    spec = replace(SPEC, kind="number", rounds=5)
    free, _ = fitted(spec, train, train)
    bound, _ = fitted(replace(spec, score_range=(0.0, 1.5)), train, train)
    assert free.predict(train.x).min() < 0 < 1.5 < free.predict(train.x).max()
    assert np.array_equal(bound.predict(train.x), np.clip(free.predict(train.x), 0, 1.5))
    again = Blend().from_files(bound.files())
    assert np.array_equal(again.predict(train.x), bound.predict(train.x))


def test_probabilities_are_calibrated_on_the_rows_held_out() -> None:
    model, history = fitted()
    # A logistic regression of the labels on the log odds finds nothing to correct.
    log_odds = np.log(history.held_out / (1 - history.held_out)).astype(np.float64)[:, None]
    (slope,), shift = weigh([log_odds], TRAIN.joined(VALIDATION).y, "binary")
    assert slope == pytest.approx(1, abs=0.15)
    assert shift == pytest.approx(0, abs=0.15)
    assert 0 <= model.predict(VALIDATION.x).min() <= model.predict(VALIDATION.x).max() <= 1


def test_explanations_add_up_to_the_raw_score() -> None:
    model, _ = fitted()
    p = model.predict(TRAIN.x).astype(np.float64)
    rest = np.log(p / (1 - p)) - model.explain(TRAIN.x).sum(axis=1)
    assert np.ptp(rest) < 1e-4


def test_compiled_trees_score_as_the_library_does() -> None:
    model, _ = fitted()
    expected = model.predict(TRAIN.x)
    model.compile()
    assert model.predictor == COMPILED
    assert np.allclose(model.predict(TRAIN.x), expected, atol=1e-6)


def test_a_score_rises_with_a_feature_that_it_may_only_rise_with() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(1200, 2)).astype(np.float32)
    y = (rng.random(1200) < 1 / (1 + np.exp(2 * np.abs(x[:, 0]) - x[:, 0] - 1))).astype(np.float32)
    spec = replace(SPEC, columns=("a", "b"), monotone=(1, 0))
    model, _ = fitted(spec, Matrix(x[:800], y[:800]), Matrix(x[800:], y[800:]))
    grid = np.column_stack([np.linspace(-3, 3, 100), np.zeros(100)]).astype(np.float32)
    assert np.diff(model.predict(grid)).min() >= -1e-7
    free, _ = fitted(replace(spec, monotone=()), Matrix(x[:800], y[:800]), Matrix(x[800:], y[800:]))
    assert np.diff(free.predict(grid)).min() < -0.01


def test_a_balance_raises_the_scores_of_the_rarer_class() -> None:
    rare = replace(TRAIN, y=(np.nan_to_num(TRAIN.x[:, 0]) > 1).astype(np.float32))
    plain, _ = fitted(train=rare, validation=rare)
    balanced, _ = fitted(replace(SPEC, balance="scale_pos_weight"), rare, rare)
    assert balanced.predict(rare.x).mean() > plain.predict(rare.x).mean()


class TestClasses:
    spec = replace(SPEC, kind="classes", classes=CLASSES)

    def model(self) -> tuple[ClassModel, Any]:
        return fitted(self.spec, of_classes(1), of_classes(2))  # type: ignore[return-value]

    def test_each_row_has_a_probability_of_each_class(self) -> None:
        model, history = self.model()
        chances = model.probabilities(TRAIN.x)
        assert chances.shape == (len(TRAIN), 3)
        assert np.allclose(chances.sum(axis=1), 1, atol=1e-5)
        assert history.held_out.shape == (len(TRAIN) + len(VALIDATION), 3)
        assert (predictions(model, TRAIN.x).argmax(axis=1) == of_classes(1).y).mean() > 0.85

    def test_the_answer_names_the_most_probable_class(self) -> None:
        model, _ = self.model()
        given = answer(model, Rows(TRAIN.x[:9], {}, None))  # type: ignore[arg-type]
        chances = np.array(given.columns["probabilities"].to_pylist())
        assert given.columns["predicted"].to_pylist() == [CLASSES[at] for at in chances.argmax(axis=1)]
        assert np.allclose(given.scores, chances.max(axis=1))
        assert model.values == {"classes": list(CLASSES)}

    def test_it_survives_its_files(self) -> None:
        model, _ = self.model()
        again = Blend().from_files(model.files())
        assert np.array_equal(predictions(again, TRAIN.x), model.probabilities(TRAIN.x))
        assert again.explain(TRAIN.x).shape == TRAIN.x.shape

    def test_a_label_that_is_no_class_is_refused(self) -> None:
        wrong = replace(TRAIN, y=np.full(len(TRAIN), 3, np.float32))
        with pytest.raises(DataError, match="classes, but the labels are not"):
            fitted(self.spec, wrong, wrong)


@pytest.mark.parametrize("kind", ["binary", "number", "classes"])
def test_merged_forests_score_the_weighted_sum(kind: str) -> None:
    data = of_classes(1) if kind == "classes" else rows(binary=kind == "binary")
    objective = {"binary": "binary:logistic", "number": "reg:squarederror", "classes": "multi:softprob"}[kind]
    params = {"objective": objective, "max_depth": 3, **({"num_class": 3} if kind == "classes" else {})}
    matrix = xgboost.DMatrix(data.x, label=data.y)
    boosters = [xgboost.train({**params, "eta": eta}, matrix, 5) for eta in (0.1, 0.3)]
    joined = xgboost.Booster()
    documents = [json.loads(booster.save_raw("json")) for booster in boosters]
    joined.load_model(bytearray(json.dumps(merged(documents, [0.7, 0.5], 0.25)).encode()))
    first, second = (booster.predict(matrix, output_margin=True) for booster in boosters)
    assert np.allclose(joined.predict(matrix, output_margin=True), 0.7 * first + 0.5 * second + 0.25, atol=1e-5)


def test_the_rows_of_an_entity_share_a_fold() -> None:
    entities = np.repeat(np.arange(50), 4)
    data = Matrix(np.zeros((200, 1), np.float32), np.zeros(200, np.float32), entities)
    for fit, held in folds(data, "binary", 5, 1):
        assert not set(entities[fit]) & set(entities[held])
        assert len(held) == 40


def test_each_fold_holds_a_rare_class() -> None:
    y = np.zeros(100, np.float32)
    y[:5] = 1
    assert [y[held].sum() for _, held in folds(Matrix(np.zeros((100, 1), np.float32), y), "binary", 5, 1)] == [1] * 5


def test_weights_prefer_the_part_that_is_right() -> None:
    rng = np.random.default_rng(7)
    truth = rng.normal(size=(2000, 1))
    y = (rng.random(2000) < 1 / (1 + np.exp(-truth[:, 0]))).astype(np.float32)
    weights, bias = weigh([2 * truth + 1, rng.normal(size=(2000, 1))], y, "binary")
    assert weights == pytest.approx([0.5, 0], abs=0.1)
    assert bias == pytest.approx(-0.5, abs=0.15)


def test_a_line_is_the_ridge_regression() -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(size=(300, 3)).astype(np.float32)
    y = x @ [1.0, 2.0, 0.0] + 5 + rng.normal(size=300)
    blank = linear.unfitted(x, 1)
    z = blank.standardised(x)
    line = linear.fitted(blank, z, y, "number", 10.0)
    centred = z - z.mean(axis=0)
    expected = np.linalg.solve(centred.T @ centred + 10 * np.eye(3), centred.T @ (y - y.mean()))
    assert line.weights[:, 0] == pytest.approx(expected, abs=1e-3)
    assert losses(line.margins(x), y, "number").mean() < 1


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"objective": "reg:squarederror"}, "follow from the label"),
        ({"line": 1}, "line is not a choice"),
        ({"folds": 1}, "not a number of folds"),
        ({"max_dept": 3}, "does not use a parameter"),
    ],
)
def test_a_parameter_that_it_cannot_use_is_refused_before_any_row_is_read(
    params: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Blend().check(params, "binary")


def test_a_damaged_description_is_refused() -> None:
    model, _ = fitted(replace(SPEC, rounds=3))
    with pytest.raises(ModelError, match="cannot be read"):
        Blend().from_files({**model.files(), PARTS: b'{"kind": "binary"}'})


def test_the_raw_scores_of_many_rows_need_a_fraction_of_their_standardised_columns() -> None:
    x = np.random.default_rng(5).normal(size=(200_000, 20)).astype(np.float32)
    model = linear.unfitted(x[:1000], 1)
    weighed = replace(model, weights=np.arange(20.0)[:, None], bias=np.array([3.0]))
    tracemalloc.start()
    margins = weighed.margins(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert margins == pytest.approx(weighed.standardised(x) @ weighed.weights + weighed.bias, rel=1e-9)
    # Float64 columns would take two times the matrix, and four times with their copies.
    assert peak < x.nbytes
    assert weighed.margins(x[:0]).shape == (0, 1)


def test_rows_of_a_range_are_taken_without_a_copy() -> None:
    rows = Matrix(np.arange(20, dtype=np.float32).reshape(10, 2), np.arange(10, dtype=np.float32), np.arange(10))
    for positions in (np.arange(3, 7), np.array([4]), np.array([2, 4, 3]), np.array([3, 5]), np.array([], int)):
        taken = rows.take(positions)
        assert np.array_equal(taken.x, rows.x[positions])
        assert np.array_equal(taken.y, rows.y[positions])
        assert taken.entities is not None
        assert np.array_equal(taken.entities, positions)
    assert np.shares_memory(rows.take(np.arange(3, 7)).x, rows.x)


def test_rows_that_lie_one_behind_the_other_are_joined_without_a_copy() -> None:
    x, y = np.arange(40, dtype=np.float32).reshape(20, 2).copy(), np.arange(20, dtype=np.float32)
    whole = Matrix(x, y)

    def part(start: int, end: int) -> Matrix:
        return whole.take(np.arange(start, end))

    cases = [
        (part(3, 9), part(9, 12), True),
        (part(0, 5), part(5, 20), True),
        (part(9, 12), part(3, 9), False),
        (part(3, 8), part(9, 12), False),
        (part(3, 9), Matrix(x[9:12].copy(), y[9:12].copy()), False),
        (Matrix(x[::2], y[::2]), Matrix(x[1::2], y[1::2]), False),
    ]
    for first, second, is_view in cases:
        joined = first.joined(second)
        assert np.array_equal(joined.x, np.concatenate([first.x, second.x]))
        assert np.array_equal(joined.y, np.concatenate([first.y, second.y]))
        assert np.shares_memory(joined.x, x) == is_view


def test_standardising_takes_little_more_memory_than_its_result() -> None:
    x = np.random.default_rng(3).normal(size=(4_000, 50)).astype(np.float32)
    x[::7, 3], x[:, 4] = np.nan, np.nan
    blank = linear.unfitted(x, 1)
    tracemalloc.start()
    z = blank.standardised(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    linear.unfitted(x, 1)
    columns = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 1.3 * z.nbytes
    assert columns < x.nbytes
    assert blank.fill[4] == blank.mean[4] == 0.0
    assert np.abs(z[:, :3].mean(axis=0)).max() < 0.01
    assert z[:, :3].std(axis=0) == pytest.approx(1.0, abs=0.01)
