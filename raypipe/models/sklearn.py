"""Fit linear models, random forests and multi-layer perceptrons with scikit-learn, stored by skops.

`model.params` are the estimator's own parameters; `label.kind` chooses between classifier and regressor. The kind is
not guessed from the labels: a number that is only 0 or 1 for a month would change the model, and a binary label of one
class would pass as a number instead of being refused.
"""

import logging
import warnings
from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from raypipe.errors import DataError, ModelError
from raypipe.models.checks import (
    require_balance,
    require_both_classes,
    require_kind,
    require_parameters,
    require_training_rows,
    required_file,
)
from raypipe.models.early_stopping import fit_with_early_stopping
from raypipe.models.model import FloatArray, Matrix
from raypipe.models.preparation import Steps, library, one_blas_thread, prepare
from raypipe.models.protocol import FitSpec, History, MatrixFamily, load_class
from raypipe.models.sklearn_models import ForestModel, LinearModel, NetworkModel, SklearnModel
from raypipe.models.skops_file import FILE, load

log = logging.getLogger(__name__)

# Scoring does not need this state of a fit; the row weights of a forest alone would fill the file.
_ONLY_FOR_FITTING = (
    "_sample_weight",
    "_optimizer",
    "_random_state",
    "_best_coefs",
    "_best_intercepts",
    "oob_decision_function_",
    "oob_prediction_",
)

# Rows that a tree of a forest draws at most: all trees together still see every row (docs/decisions/0027).
TREE_ROWS = 50_000

Labels = npt.NDArray[Any]
# Returns the validation rows, prepared for the estimator.
PreparedValidation = Callable[[], Matrix]


class _SklearnFamily(MatrixFamily, ABC):
    """The shared part of the families: parameters, preparation, weights, errors and files."""

    framework = "scikit-learn"
    format = "skops"
    # scikit-learn imports pandas; skops walks through all of scikit-learn and so imports pytest.
    scores_without = ("pandas", "pytest")
    algorithm: str
    estimators: ClassVar[Mapping[str, str]]
    model: type[SklearnModel]
    explains = False
    # Parameters that raypipe does not pass on, and the advice to give.
    instead: ClassVar[Mapping[str, str]] = {}

    def check(self, params: Mapping[str, Any], kind: str) -> None:
        """Refuse parameters that the estimator does not take, and a label that the family has no estimator for.

        Raises:
            ConfigError: a name is unknown, the label is of another kind, or scikit-learn is not installed.
        """
        self._chosen(params, kind)

    def fit(self, train: Matrix, validation: Matrix, spec: FitSpec) -> tuple[SklearnModel, History]:
        """Fit on one machine; the model's steps are filling and scaling, where needed, and the estimator.

        Raises:
            ConfigError: a parameter is unknown, the label is of another kind, or scikit-learn is not installed.
            DataError: there are no rows, labels of a single class, or binary labels that are neither 0 nor 1.
            ModelError: scikit-learn refused the parameters' values or the rows.
        """
        pipelines = library("sklearn.pipeline")
        estimator_class = self._chosen(spec.params, spec.kind)
        labels, weights = _labels(train, spec.kind), _weights(train, spec)
        params = {**self._derived(spec), **spec.params}
        with _refusals(), one_blas_thread():
            steps, x = self._prepared(train.x)
            estimator = estimator_class(**params)
            preparation = pipelines.Pipeline([*steps, ("model", "passthrough")])

            def prepared() -> Matrix:
                return Matrix(preparation.transform(validation.x), validation.y) if len(validation) else validation

            history = self._train(estimator, x, labels, weights, prepared, spec)
        for name in _ONLY_FOR_FITTING:
            vars(estimator).pop(name, None)
        return self.model(pipelines.Pipeline([*steps, ("model", estimator)])), history

    def from_files(self, files: Mapping[str, bytes]) -> SklearnModel:
        """Load the model in `model.skops`; a file with an unlisted type is refused before anything is constructed."""
        pipeline = load(required_file(files, FILE))
        expected = [load_class(path, "the estimator") for path in self.estimators.values()]
        steps = getattr(pipeline, "steps", None)
        if not steps or type(steps[-1][1]) not in expected or not hasattr(pipeline, "n_features_in_"):
            raise ModelError(
                f"{FILE} is not a fitted model of this family",
                found=type(steps[-1][1] if steps else pipeline).__name__,
                allowed=", ".join(sorted(kind.__name__ for kind in expected)),
            )
        return self.model(pipeline)

    def _derived(self, spec: FitSpec) -> dict[str, Any]:
        _ignored_constraints(self.algorithm, spec)
        return {"random_state": spec.seed, "max_iter": spec.rounds}

    def _prepared(self, x: FloatArray) -> tuple[Steps, npt.NDArray[Any]]:
        # Linear solvers cannot separate correlated columns in float32.
        return prepare(x, np.float64)

    def _train(
        self, estimator: Any, x: FloatArray, y: Labels, weights: Any, validation: PreparedValidation, spec: FitSpec
    ) -> History:
        estimator.fit(x, y, sample_weight=weights)
        # Only iterative solvers count their steps.
        return History(len(x), int(np.max(getattr(estimator, "n_iter_", None) or 1)))

    def _chosen(self, params: Mapping[str, Any], kind: str) -> type:
        """Return the estimator's class for a label of this kind."""
        library("sklearn")
        require_kind(type(self).__name__, kind, self.estimators)
        estimator_class = load_class(self.estimators[kind], "the estimator")
        require_parameters(params, estimator_class, self.instead)
        return estimator_class


class LogisticRegression(_SklearnFamily):
    """Logistic regression; `rounds` bounds the solver's iterations, and monotone constraints are ignored."""

    algorithm = "logistic regression"
    estimators: ClassVar = {"binary": "sklearn.linear_model:LogisticRegression"}
    model = LinearModel
    explains = True
    is_linear = True


class Ridge(_SklearnFamily):
    """Least squares with an L2 penalty; monotone constraints are ignored."""

    algorithm = "ridge regression"
    estimators: ClassVar = {"number": "sklearn.linear_model:Ridge"}
    model = LinearModel
    explains = True
    is_linear = True


class RandomForest(_SklearnFamily):
    """A random forest of `rounds` trees without early stopping, since more trees never overfit.

    Each split sends missing values to the better side. Monotone constraints hold. A tree draws at most TREE_ROWS rows
    unless the parameters set `max_samples`.
    """

    algorithm = "random forest"
    estimators: ClassVar = {
        "binary": "sklearn.ensemble:RandomForestClassifier",
        "number": "sklearn.ensemble:RandomForestRegressor",
    }
    model = ForestModel

    def _derived(self, spec: FitSpec) -> dict[str, Any]:
        derived = {"random_state": spec.seed, "n_estimators": spec.rounds, "n_jobs": spec.threads or -1}
        return {**derived, "monotonic_cst": list(spec.monotone)} if any(spec.monotone) else derived

    def _prepared(self, x: FloatArray) -> tuple[Steps, npt.NDArray[Any]]:
        return [], x

    def _train(
        self, estimator: Any, x: FloatArray, y: Labels, weights: Any, validation: PreparedValidation, spec: FitSpec
    ) -> History:
        if len(x) > TREE_ROWS and estimator.bootstrap and "max_samples" not in spec.params:
            estimator.set_params(max_samples=TREE_ROWS)
        estimator.fit(x, y, sample_weight=weights)
        # Scoring spreads rows over threads; trees on several threads would add up in any order.
        estimator.set_params(n_jobs=1)
        return History(len(x), len(estimator.estimators_))


class MLP(_SklearnFamily):
    """A multi-layer perceptron of at most `rounds` epochs, stopped early on the given validation rows.

    The solver `lbfgs` has no epochs and no early stopping. Monotone constraints are ignored.
    """

    algorithm = "multi-layer perceptron"
    estimators: ClassVar = {
        "binary": "sklearn.neural_network:MLPClassifier",
        "number": "sklearn.neural_network:MLPRegressor",
    }
    model = NetworkModel
    instead: ClassVar = dict.fromkeys(
        ("early_stopping", "validation_fraction"),
        "set model.early_stopping_rounds, which looks at raypipe's validation rows instead of random training rows",
    )

    def _prepared(self, x: FloatArray) -> tuple[Steps, npt.NDArray[Any]]:
        return prepare(x, np.float32)

    def _train(
        self, estimator: Any, x: FloatArray, y: Labels, weights: Any, validation: PreparedValidation, spec: FitSpec
    ) -> History:
        if spec.early_stopping_rounds and estimator.solver != "lbfgs":
            return fit_with_early_stopping(estimator, x, y, weights, validation(), spec.early_stopping_rounds)
        with warnings.catch_warnings():
            # Without early stopping the fit is meant to use all epochs.
            warnings.simplefilter("ignore", library("sklearn.exceptions").ConvergenceWarning)
            estimator.fit(x, y, sample_weight=weights)
        curve = [float(loss) for loss in getattr(estimator, "loss_curve_", ())]
        return History(len(x), int(estimator.n_iter_), {"train": {"loss": curve}} if curve else {})


def _labels(train: Matrix, kind: str) -> Labels:
    require_training_rows(len(train))
    if kind != "binary":
        return train.y.astype(np.float64)
    other = train.y[(train.y != 0) & (train.y != 1)]
    if len(other):
        raise DataError(
            "label.kind is binary, but the labels are not",
            found=f"{len(other):,} of {len(train):,} labels are neither 0 nor 1, such as {other[0]:g}",
            allowed="0 and 1",
            next_step="correct labels.sql, or set label.kind to number",
        )
    require_both_classes(int(np.count_nonzero(train.y)), len(train))
    return train.y.astype(np.int8)


def _weights(train: Matrix, spec: FitSpec) -> FloatArray | None:
    require_balance(spec.balance, spec.kind)
    if spec.balance == "none" or "class_weight" in spec.params:
        return None
    positives = int(np.count_nonzero(train.y))
    return np.where(train.y > 0.5, (len(train) - positives) / positives, 1.0).astype(np.float32)


def _ignored_constraints(algorithm: str, spec: FitSpec) -> None:
    """Log the constraints that a family cannot hold.

    They are no reason to refuse: such a model is fitted for comparison with a model that holds them.
    """
    names = [name for name, direction in zip(spec.columns, spec.monotone, strict=False) if direction]
    if names:
        log.warning("%s ignores the monotone constraints on %s", algorithm, ", ".join(names))


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ModelError("scikit-learn refused to fit", found=str(error), next_step="check model.params") from error
