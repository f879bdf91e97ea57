"""Logistic and ridge regression, random forests and multi-layer perceptrons with scikit-learn, stored by skops.

`model.params` are the estimator's own parameters, and `task`: `binary` (the score is a probability) or `number`. It is
said and not guessed from the labels: a month in which a number happens to be 0 or 1 only would change the model,
and a binary label of one class would pass as a number instead of being refused.
"""

from __future__ import annotations

import logging
import warnings
from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from raypipe.errors import ConfigError, DataError, ModelError
from raypipe.models.epochs import fit_with_early_stopping
from raypipe.models.preparation import Steps, library, prepare
from raypipe.models.protocol import FitSpec, FloatArray, History, Matrix, load_class
from raypipe.models.sklearn_models import ForestModel, LinearModel, NetworkModel, SklearnModel
from raypipe.models.skops_file import FILE, load

log = logging.getLogger(__name__)

BALANCES = ("none", "scale_pos_weight")
# State of a fit that scoring does without; the weights of a forest's rows alone would fill the file.
_ONLY_FOR_FITTING = (
    "_sample_weight",
    "_optimizer",
    "_random_state",
    "_best_coefs",
    "_best_intercepts",
    "oob_decision_function_",
    "oob_prediction_",
)

Labels = npt.NDArray[Any]
# The validation rows as the estimator sees them, for a family that looks at them while it fits.
HeldOut = Callable[[], Matrix]


class _SklearnFamily(ABC):
    """What the families share: parameters, preparation, weights, errors and files."""

    framework = "scikit-learn"
    format = "skops"
    ray_backend: str | None = None
    # scikit-learn imports pandas, and skops, by walking through all of scikit-learn, pytest.
    scores_without: tuple[str, ...] = ("pandas", "pytest")
    algorithm: str
    estimators: ClassVar[Mapping[str, str]]
    model: type[SklearnModel]
    explains: ClassVar[bool] = False
    is_linear: ClassVar[bool] = False
    # Parameters that raypipe does not pass on, and what to set instead.
    instead: ClassVar[Mapping[str, str]] = {}

    def check(self, params: Mapping[str, Any]) -> None:
        """Refuse parameters that the estimator does not take.

        Raises:
            ConfigError: a name or the task is unknown, or scikit-learn is not installed.
        """
        library("sklearn")
        task, own = self._task(params)
        self._check_names(load_class(self.estimators[task], "the estimator"), own)

    def fit(self, train: Matrix, validation: Matrix, spec: FitSpec) -> tuple[SklearnModel, History]:
        """Fits on one machine; the model's steps are filling, scaling and the estimator, as far as it needs them.

        Raises:
            ConfigError: a parameter is unknown, or scikit-learn is not installed.
            DataError: there is nothing to learn from: no rows, a single class, labels of another task.
            ModelError: scikit-learn refused the parameters' values or the rows.
        """
        pipelines = library("sklearn.pipeline")
        task, own = self._task(spec.params)
        estimator_class = load_class(self.estimators[task], "the estimator")
        self._check_names(estimator_class, own)
        labels, weights = _labels(train, task), _weights(train, task, spec, own)
        params = {**self._derived(spec), **own}
        with _refusals(), _blas_threads(spec.threads):
            steps, x = self._prepared(train.x)
            estimator = estimator_class(**params)
            preparation = pipelines.Pipeline([*steps, ("model", "passthrough")])

            def held_out() -> Matrix:
                return Matrix(preparation.transform(validation.x), validation.y) if len(validation) else validation

            history = self._train(estimator, x, labels, weights, held_out, spec)
        for name in _ONLY_FOR_FITTING:
            vars(estimator).pop(name, None)
        return self.model(pipelines.Pipeline([*steps, ("model", estimator)])), history

    def from_files(self, files: Mapping[str, bytes]) -> SklearnModel:
        """The model in `model.skops`; one with a type that is not listed is refused before anything is made of it."""
        if FILE not in files:
            raise ModelError(f"The artifact has no {FILE}", found=", ".join(sorted(files)) or "no files")
        pipeline = load(files[FILE])
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
        # Linear solvers lose in float32 what tells correlated columns apart.
        return prepare(x, np.float64)

    def _train(
        self, estimator: Any, x: FloatArray, y: Labels, weights: Any, held_out: HeldOut, spec: FitSpec
    ) -> History:
        estimator.fit(x, y, sample_weight=weights)
        # An iterative solver counts its steps; the others take one.
        return History(len(x), int(np.max(getattr(estimator, "n_iter_", None) or 1)))

    def _task(self, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        own = dict(params)
        task = own.pop("task", next(iter(self.estimators)))
        if task not in self.estimators:
            raise ConfigError(
                f"model.params.task does not fit {type(self).__name__}",
                found=repr(task),
                allowed=", ".join(self.estimators),
                next_step="LogisticRegression is for binary labels, Ridge for numbers, RandomForest and MLP for either",
            )
        return task, own

    def _check_names(self, estimator_class: Any, own: Mapping[str, Any]) -> None:
        allowed = sorted(set(estimator_class().get_params()) - self.instead.keys())
        unknown = sorted(set(own) - set(allowed))
        if unknown:
            hints = [self.instead[name] for name in unknown if name in self.instead]
            raise ConfigError(
                f"model.params has names that {estimator_class.__name__} does not take",
                found=", ".join(unknown),
                allowed=", ".join(["task", *allowed]),
                next_step="; ".join(hints) or "correct the name in model.params, or take it out",
            )


class LogisticRegression(_SklearnFamily):
    """Logistic regression; `rounds` bounds the solver's iterations. A constraint on a column's direction is ignored."""

    algorithm = "logistic regression"
    estimators: ClassVar = {"binary": "sklearn.linear_model:LogisticRegression"}
    model = LinearModel
    explains = True
    is_linear = True


class Ridge(_SklearnFamily):
    """Least squares with an L2 penalty. A constraint on a column's direction is ignored."""

    algorithm = "ridge regression"
    estimators: ClassVar = {"number": "sklearn.linear_model:Ridge"}
    model = LinearModel
    explains = True
    is_linear = True


class RandomForest(_SklearnFamily):
    """A random forest of `rounds` trees; more trees never overfit, so that there is no early stopping.

    Missing values go the way that splits best, and constraints on a column's direction hold.
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
        self, estimator: Any, x: FloatArray, y: Labels, weights: Any, held_out: HeldOut, spec: FitSpec
    ) -> History:
        estimator.fit(x, y, sample_weight=weights)
        # Scoring spreads rows over threads: trees over threads would add up in any order.
        estimator.set_params(n_jobs=1)
        return History(len(x), len(estimator.estimators_))


class MLP(_SklearnFamily):
    """A multi-layer perceptron of `rounds` epochs at most; early stopping looks at the given validation rows.

    The solver `lbfgs` has no epochs, and is not stopped early. A constraint on a column's direction is ignored.
    """

    algorithm = "multi-layer perceptron"
    estimators: ClassVar = {
        "binary": "sklearn.neural_network:MLPClassifier",
        "number": "sklearn.neural_network:MLPRegressor",
    }
    model = NetworkModel
    instead: ClassVar = dict.fromkeys(
        ("early_stopping", "validation_fraction"),
        "set model.early_stopping_rounds: raypipe's own validation rows decide, not a random part of the training rows",
    )

    def _prepared(self, x: FloatArray) -> tuple[Steps, npt.NDArray[Any]]:
        return prepare(x, np.float32)

    def _train(
        self, estimator: Any, x: FloatArray, y: Labels, weights: Any, held_out: HeldOut, spec: FitSpec
    ) -> History:
        if spec.early_stopping_rounds and estimator.solver != "lbfgs":
            return fit_with_early_stopping(estimator, x, y, weights, held_out(), spec.early_stopping_rounds)
        with warnings.catch_warnings():
            # That all epochs were used is what was asked for.
            warnings.simplefilter("ignore", library("sklearn.exceptions").ConvergenceWarning)
            estimator.fit(x, y, sample_weight=weights)
        curve = [float(loss) for loss in getattr(estimator, "loss_curve_", ())]
        return History(len(x), int(estimator.n_iter_), {"train": {"loss": curve}} if curve else {})


def _labels(train: Matrix, task: str) -> Labels:
    if not len(train):
        raise DataError("There are no training rows", next_step="check the dates and the filters of features.sql")
    if task != "binary":
        return train.y.astype(np.float64)
    other = train.y[(train.y != 0) & (train.y != 1)]
    if len(other):
        raise DataError(
            "The labels are not those of a binary task",
            found=f"{other[0]:g}, and {len(other):,} of {len(train):,} rows are neither 0 nor 1",
            allowed="0 and 1",
            next_step="set model.params.task to number, with RandomForest, MLP or Ridge as the model's class",
        )
    positives = int(np.count_nonzero(train.y))
    if not 0 < positives < len(train):
        raise DataError(
            "The training rows hold a single class, so there is nothing to tell apart",
            found=f"{positives} positives in {len(train)} rows",
            next_step="check labels.sql and the horizon, or fit on more snapshots",
        )
    return train.y.astype(np.int8)


def _weights(train: Matrix, task: str, spec: FitSpec, own: Mapping[str, Any]) -> FloatArray | None:
    if spec.balance not in BALANCES:
        raise ConfigError("model.balance is unknown", found=spec.balance, allowed=", ".join(BALANCES))
    if spec.balance == "none" or "class_weight" in own:
        return None
    if task != "binary":
        raise ConfigError("model.balance needs a binary label", found=f"task: {task}", allowed="none")
    positives = int(np.count_nonzero(train.y))
    return np.where(train.y > 0.5, (len(train) - positives) / positives, 1.0).astype(np.float32)


def _ignored_constraints(algorithm: str, spec: FitSpec) -> None:
    """Says which constraints a family cannot hold.

    They are no reason to refuse: such a model is fitted for comparison, on the rows and columns of another that can.
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


def _blas_threads(threads: int) -> Any:
    if not threads:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(threads)
