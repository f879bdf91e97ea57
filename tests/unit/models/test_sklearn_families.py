from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression as ReferenceLogistic
from sklearn.linear_model import Ridge as ReferenceRidge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from raypipe.artifact import files
from raypipe.artifact.bins import Bins, ColumnBins
from raypipe.artifact.contract import Contract
from raypipe.artifact.package import Package, pack
from raypipe.errors import ConfigError, DataError, ModelError
from raypipe.models import sklearn as sklearn_families
from raypipe.models.chunks import CHUNK_ROWS
from raypipe.models.model import Matrix
from raypipe.models.protocol import FitSpec, History, load_family
from raypipe.models.sklearn import MLP, LogisticRegression, RandomForest, Ridge
from raypipe.testing.model_suite import COLUMNS, ModelSuite, rows

SPEC = FitSpec(COLUMNS, rounds=20, seed=3, threads=1, kind="binary")
NUMBER = replace(SPEC, kind="number")
TRAIN, VALIDATION = rows(binary=True), rows(binary=True, seed=2)
NUMBERS, MORE_NUMBERS = rows(binary=False), rows(binary=False, seed=2)
NO_ROWS = TRAIN.take(np.arange(0))
BINARY = pytest.mark.parametrize("family", [LogisticRegression, RandomForest, MLP])
EVERY = pytest.mark.parametrize(
    ("family", "kind"),
    [
        (LogisticRegression, "binary"),
        (Ridge, "number"),
        (RandomForest, "binary"),
        (RandomForest, "number"),
        (MLP, "binary"),
        (MLP, "number"),
    ],
)


class TestLogisticRegression(ModelSuite):
    family_path = "raypipe.models.sklearn:LogisticRegression"


class TestRidge(ModelSuite):
    family_path = "raypipe.models.sklearn:Ridge"
    binary = False


class TestForestOfClassifiers(ModelSuite):
    family_path = "raypipe.models.sklearn:RandomForest"


class TestForestOfRegressors(ModelSuite):
    family_path = "raypipe.models.sklearn:RandomForest"
    binary = False


class TestClassifyingNetwork(ModelSuite):
    family_path = "raypipe.models.sklearn:MLP"


class TestRegressingNetwork(ModelSuite):
    family_path = "raypipe.models.sklearn:MLP"
    binary = False


class TestNetworkThatStopsEarly(ModelSuite):
    family_path = "raypipe.models.sklearn:MLP"

    def spec(self) -> FitSpec:
        return replace(super().spec(), early_stopping_rounds=3)


class TestForestUnderAConstraint(ModelSuite):
    family_path = "raypipe.models.sklearn:RandomForest"

    def spec(self) -> FitSpec:
        return replace(super().spec(), monotone=(1, 0, 0))


# The library's own answer, put together by hand.


def _in_float64(x: Any) -> Any:
    return np.asarray(x, np.float64)


def _standardised(*last: Any) -> Any:
    return make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), *last)


@pytest.mark.parametrize(
    ("family", "kind", "params", "reference"),
    [
        (
            LogisticRegression,
            "binary",
            {"C": 0.5},
            _standardised(FunctionTransformer(_in_float64), ReferenceLogistic(C=0.5, max_iter=20)),
        ),
        (Ridge, "number", {"alpha": 3.0}, _standardised(FunctionTransformer(_in_float64), ReferenceRidge(alpha=3.0))),
        (RandomForest, "binary", {"max_depth": 4}, RandomForestClassifier(20, max_depth=4, random_state=3)),
        (RandomForest, "number", {"max_depth": 4}, RandomForestRegressor(20, max_depth=4, random_state=3)),
        (
            MLP,
            "binary",
            {"hidden_layer_sizes": [8, 4]},
            _standardised(MLPClassifier([8, 4], max_iter=20, random_state=3)),
        ),
        (MLP, "number", {"alpha": 0.1}, _standardised(MLPRegressor(alpha=0.1, max_iter=20, random_state=3))),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scores_equal_those_of_scikit_learn(family: Any, kind: str, params: dict[str, Any], reference: Any) -> None:
    data, other = (TRAIN, VALIDATION) if kind == "binary" else (NUMBERS, MORE_NUMBERS)
    model, _ = family().fit(data, other, replace(SPEC, kind=kind, params=params))
    reference.fit(data.x, data.y)
    expected = reference.predict_proba(other.x)[:, 1] if kind == "binary" else reference.predict(other.x)
    assert np.allclose(model.predict(other.x), expected, atol=1e-5)
    assert expected.std() > 0.05


@EVERY
def test_many_chunks_over_threads_give_the_scores_of_one(family: Any, kind: str) -> None:
    data = TRAIN if kind == "binary" else NUMBERS
    model, _ = family().fit(data, data, replace(SPEC, kind=kind))
    x = np.tile(data.x, (CHUNK_ROWS // len(data) + 4, 1))
    model.set_threads(1)
    alone = model.predict(x)
    model.set_threads(3)
    assert len(x) > CHUNK_ROWS
    assert np.array_equal(alone, model.predict(x))
    assert np.allclose(alone[-len(data) :], model.predict(data.x), atol=1e-6)


def test_linear_explanations_and_the_intercept_add_up_to_the_raw_score() -> None:
    for family, data in ((LogisticRegression(), TRAIN), (Ridge(), NUMBERS)):
        spec = SPEC if isinstance(family, LogisticRegression) else NUMBER
        model, _ = family.fit(data, data, spec)
        raw = model.predict(data.x).astype(np.float64)
        raw = np.log(raw / (1 - raw)) if isinstance(family, LogisticRegression) else raw
        contributions = model.explain(data.x)
        assert contributions.shape == data.x.shape
        assert (raw - contributions.sum(axis=1)).std() < 1e-4  # what remains is the intercept
        assert np.abs(contributions).max() > 1
        assert contributions.mean(axis=0) == pytest.approx(0, abs=1e-5)


def test_a_missing_value_is_explained_as_the_median() -> None:
    model, _ = Ridge().fit(NUMBERS, NUMBERS, NUMBER)
    medians = np.nanmedian(NUMBERS.x, axis=0).astype(np.float32)
    missing = np.full((1, 3), np.nan, np.float32)
    assert np.allclose(model.explain(missing), model.explain(medians[None]), atol=1e-6)
    assert np.abs(model.explain(missing)).sum() > 0


@pytest.mark.parametrize("family", [RandomForest, MLP])
def test_other_models_have_no_explanations(family: Any) -> None:
    model, _ = family().fit(TRAIN, VALIDATION, SPEC)
    with pytest.raises(ModelError, match="no explanations"):
        model.explain(TRAIN.x)


@EVERY
def test_the_signal_is_the_most_important_feature(family: Any, kind: str) -> None:
    data = TRAIN if kind == "binary" else NUMBERS
    # A network needs more epochs than it takes to score well until its weights tell signal from noise.
    model, _ = family().fit(data, data, replace(SPEC, rounds=100, kind=kind))
    assert model.importance().argmax() == 0


@BINARY
def test_balance_weighs_positives_by_the_ratio_of_the_classes(family: Any) -> None:
    skewed = TRAIN.take(np.flatnonzero((TRAIN.y == 0) | (np.arange(len(TRAIN)) % 10 == 0)))
    spec = replace(SPEC, rounds=60, params={"max_depth": 3} if family is RandomForest else {})
    plain, _ = family().fit(skewed, VALIDATION, spec)
    balanced, _ = family().fit(skewed, VALIDATION, replace(spec, balance="scale_pos_weight"))
    assert balanced.predict(skewed.x).mean() > 1.5 * plain.predict(skewed.x).mean()


def test_the_users_class_weight_wins_over_the_balance() -> None:
    own = replace(SPEC, params={"class_weight": {0: 1.0, 1: 1.0}})
    x = VALIDATION.x
    balanced, _ = LogisticRegression().fit(TRAIN, VALIDATION, replace(own, balance="scale_pos_weight"))
    assert np.array_equal(balanced.predict(x), LogisticRegression().fit(TRAIN, VALIDATION, own)[0].predict(x))


def test_rounds_are_trees_epochs_and_iterations_unless_the_user_says_otherwise() -> None:
    assert RandomForest().fit(TRAIN, VALIDATION, SPEC)[1].rounds == 20
    assert RandomForest().fit(TRAIN, VALIDATION, replace(SPEC, params={"n_estimators": 7}))[1].rounds == 7
    assert MLP().fit(TRAIN, VALIDATION, replace(SPEC, rounds=5))[1].rounds == 5
    assert 1 < LogisticRegression().fit(TRAIN, VALIDATION, SPEC)[1].rounds <= 20


@pytest.mark.parametrize("kind", ["binary", "number"])
def test_early_stopping_keeps_the_epoch_that_did_best_on_the_validation_rows(kind: str) -> None:
    data, other = (TRAIN, VALIDATION) if kind == "binary" else (NUMBERS, MORE_NUMBERS)
    params = {"learning_rate_init": 0.02, "hidden_layer_sizes": [64, 64]}
    model, history = MLP().fit(
        data, other, replace(SPEC, rounds=300, early_stopping_rounds=5, kind=kind, params=params)
    )
    ((metric, curve),) = history.curves["validation"].items()
    assert history.rounds == int(np.argmin(curve)) + 1
    assert len(curve) == history.rounds + 5 < 300
    scores = model.predict(other.x).astype(np.float64)
    reached = (
        -np.log(np.where(other.y > 0.5, scores, 1 - scores)).mean()
        if metric == "logloss"
        else np.sqrt(np.mean((scores - other.y) ** 2))
    )
    assert reached == pytest.approx(min(curve), abs=1e-5)
    assert max(curve) > min(curve) + 1e-4


def test_epochs_one_by_one_are_the_epochs_of_scikit_learn() -> None:
    # Without shuffling, as the library's `fit` shuffles what the epoch before has shuffled and an epoch apart cannot.
    spec = replace(SPEC, rounds=8, params={"learning_rate_init": 1e-4, "shuffle": False})
    together, _ = MLP().fit(TRAIN, VALIDATION, spec)
    apart, history = MLP().fit(TRAIN, VALIDATION, replace(spec, early_stopping_rounds=8))
    assert history.rounds == 8
    assert np.allclose(together.predict(VALIDATION.x), apart.predict(VALIDATION.x), atol=1e-6)


def test_every_epoch_shuffles_the_rows_anew() -> None:
    model, history = MLP().fit(TRAIN, VALIDATION, replace(SPEC, rounds=4, early_stopping_rounds=4))
    assert history.rounds == 4
    z = _standardised().fit(TRAIN.x)
    anew = MLPClassifier(random_state=np.random.RandomState(3))
    alike = MLPClassifier(random_state=3)
    for _ in range(4):
        anew.partial_fit(z.transform(TRAIN.x), TRAIN.y, classes=[0, 1])
        alike.partial_fit(z.transform(TRAIN.x), TRAIN.y, classes=[0, 1])
    scores, held_out = model.predict(VALIDATION.x), z.transform(VALIDATION.x)
    assert np.allclose(scores, anew.predict_proba(held_out)[:, 1], atol=1e-5)
    assert not np.allclose(scores, alike.predict_proba(held_out)[:, 1], atol=1e-3)


def test_early_stopping_without_validation_rows_is_refused() -> None:
    with pytest.raises(DataError, match="no validation rows"):
        MLP().fit(TRAIN, NO_ROWS, replace(SPEC, early_stopping_rounds=5))


@EVERY
def test_validation_rows_are_not_needed_without_early_stopping(family: Any, kind: str) -> None:
    data = TRAIN if kind == "binary" else NUMBERS
    _, history = family().fit(data, NO_ROWS, replace(SPEC, kind=kind))
    assert history.rows == len(data)


def test_a_forest_holds_a_monotone_constraint() -> None:
    falling = Matrix(TRAIN.x, 1 - TRAIN.y)
    free, _ = RandomForest().fit(falling, VALIDATION, SPEC)
    bound, _ = RandomForest().fit(falling, VALIDATION, replace(SPEC, monotone=(1, 0, 0)))
    grid = np.zeros((50, 3), np.float32)
    grid[:, 0] = np.linspace(-3, 3, 50)
    assert np.diff(free.predict(grid)).min() < -0.01
    assert np.diff(bound.predict(grid)).min() >= -1e-6


def test_a_tree_draws_a_bounded_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sklearn_families, "TREE_ROWS", 100)
    for params, drawn in (({}, 100), ({"max_samples": 300}, 300), ({"max_samples": None}, len(TRAIN))):
        model, _ = RandomForest().fit(TRAIN, VALIDATION, replace(SPEC, params=params))
        (rows,) = {tree.tree_.weighted_n_node_samples[0] for tree in model._estimator.estimators_}
        assert rows == drawn


@pytest.mark.parametrize("family", [LogisticRegression, MLP])
def test_a_fit_has_one_thread_of_blas(family: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def train(*_: Any) -> History:
        threads.extend(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")
        raise DataError("seen enough")

    monkeypatch.setattr(family, "_train", train)
    with threadpool_limits(2, user_api="blas"), pytest.raises(DataError, match="seen enough"):
        family().fit(TRAIN, VALIDATION, replace(SPEC, threads=2))
    assert set(threads) == {1}


@pytest.mark.parametrize("family", [LogisticRegression, MLP])
def test_a_family_that_cannot_hold_a_constraint_says_so_and_fits(family: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        bound, _ = family().fit(TRAIN, VALIDATION, replace(SPEC, monotone=(1, 0, 0)))
    assert "ignores the monotone constraints on signal" in caplog.text
    assert np.array_equal(bound.predict(TRAIN.x), family().fit(TRAIN, VALIDATION, SPEC)[0].predict(TRAIN.x))


@EVERY
def test_columns_that_are_constant_or_all_missing_do_no_harm(family: Any, kind: str) -> None:
    data = TRAIN if kind == "binary" else NUMBERS
    idle = np.column_stack([np.full(len(data), 7.0), np.full(len(data), np.nan)]).astype(np.float32)
    wide = Matrix(np.column_stack([idle, data.x]), data.y)
    spec = replace(SPEC, columns=("constant", "never", *COLUMNS), kind=kind)
    model, _ = family().fit(wide, wide, spec)
    again = family().from_files(model.files())
    assert np.corrcoef(again.predict(wide.x), data.y)[0, 1] > 0.5
    assert again.importance().shape == (5,)
    if family is not MLP:  # whose initial weights stay where no gradient moves them
        assert again.importance()[:2] == pytest.approx(0)
    known = np.where(np.isnan(wide.x), 0, wide.x)  # the column that never had a value has one now
    assert np.isfinite(again.predict(known)).all()


@BINARY
@pytest.mark.parametrize("label", [0, 1])
def test_a_single_class_is_refused(family: Any, label: int) -> None:
    with pytest.raises(DataError, match="single class"):
        family().fit(Matrix(TRAIN.x, np.full_like(TRAIN.y, label)), VALIDATION, SPEC)


@EVERY
def test_no_rows_are_refused(family: Any, kind: str) -> None:
    with pytest.raises(DataError, match="no training rows"):
        family().fit(NO_ROWS, VALIDATION, replace(SPEC, kind=kind))


@BINARY
def test_labels_that_are_numbers_are_refused_and_the_kind_is_named(family: Any) -> None:
    with pytest.raises(DataError, match=r"label\.kind"):
        family().fit(NUMBERS, NUMBERS, SPEC)


@pytest.mark.parametrize(("family", "kind"), [(LogisticRegression, "number"), (Ridge, "binary"), (MLP, "clusters")])
def test_a_kind_that_the_family_does_not_have_is_refused(family: Any, kind: str) -> None:
    with pytest.raises(ConfigError, match=kind):
        family().fit(TRAIN, VALIDATION, replace(SPEC, kind=kind))


@EVERY
def test_a_matrix_of_other_width_is_refused(family: Any, kind: str) -> None:
    data = TRAIN if kind == "binary" else NUMBERS
    model, _ = family().fit(data, data, replace(SPEC, kind=kind))
    for x in (data.x[:, :2], np.zeros((4, 4), np.float32), np.zeros(3, np.float32)):
        with pytest.raises(ModelError, match="features"):
            model.predict(x)


@EVERY
def test_an_unknown_parameter_is_refused_with_the_known_ones(family: Any, kind: str) -> None:
    data = TRAIN if kind == "binary" else NUMBERS
    with pytest.raises(ConfigError, match="max_dpeth") as caught:
        family().fit(data, data, replace(SPEC, kind=kind, params={"max_dpeth": 3}))
    assert "random_state" in str(caught.value.allowed)


def test_scikit_learns_own_early_stopping_is_refused_in_favour_of_the_validation_rows() -> None:
    with pytest.raises(ConfigError, match=r"model\.early_stopping_rounds"):
        MLP().fit(TRAIN, VALIDATION, replace(SPEC, params={"early_stopping": True}))


def test_a_value_out_of_range_is_refused_with_the_librarys_words() -> None:
    with pytest.raises(ModelError, match="'C' parameter"):
        LogisticRegression().fit(TRAIN, VALIDATION, replace(SPEC, params={"C": -1.0}))


def test_an_unknown_balance_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.balance"):
        LogisticRegression().fit(TRAIN, VALIDATION, replace(SPEC, balance="smote"))


def test_the_model_of_another_family_is_refused() -> None:
    model, _ = LogisticRegression().fit(TRAIN, VALIDATION, SPEC)
    with pytest.raises(ModelError, match="RandomForestClassifier"):
        RandomForest().from_files(model.files())
    with pytest.raises(ModelError, match=r"model\.skops"):
        RandomForest().from_files({"model.ubj": b"{"})


SCORE_ELSEWHERE = """
import json, sys
from raypipe.artifact.package import load_package
package = load_package(sys.argv[1], sys.argv[2], None, only_scores=True)
print(json.dumps(sorted({"pandas", "pytest", "sklearn"} & set(sys.modules))))
"""


@pytest.mark.parametrize("name", ["LogisticRegression", "RandomForest", "MLP"])
def test_a_model_scores_its_golden_rows_in_a_process_of_its_own(name: str, tmp_path: Path) -> None:
    path = f"raypipe.models.sklearn:{name}"
    model, _ = load_family(path).fit(TRAIN, VALIDATION, SPEC)
    package = Package(
        path,
        Contract(("user",), ("String",), (), (), ()),
        Bins((), ColumnBins((0.5,), (0.5, 0.5, 0.0), (0.25, 0.75), (0,)), 1, {}, {}),
        0.5,
        (),
        model,
    )
    stored = files.save(str(tmp_path), pack(package, TRAIN.x, {}))
    command = [sys.executable, "-W", "error", "-c", SCORE_ELSEWHERE, stored.uri, stored.sha256]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # pandas and pytest, which scikit-learn and skops import where they can, are left out.
    assert json.loads(done.stdout) == ["sklearn"]
