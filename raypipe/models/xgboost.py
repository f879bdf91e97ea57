"""Fit and score gradient boosted trees with XGBoost, stored as UBJSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np

from raypipe.errors import ConfigError, ModelError
from raypipe.models.checks import (
    require_balance,
    require_both_classes,
    require_features,
    require_kind,
    require_labels,
    require_training_rows,
    require_validation_rows,
)
from raypipe.models.classes import ClassModel, predictions
from raypipe.models.model import COMPILED, LIBRARY, FloatArray, Matrix, shares
from raypipe.models.protocol import FitSpec, History, MatrixFamily, OnRound
from raypipe.models.trees.compared import Comparison
from raypipe.models.trees.compiled import CompiledTrees
from raypipe.models.trees.forest import Unsuitable, read_forest
from raypipe.models.xgboost_library import library, parameters_must_be_known, read_booster, refusal

log = logging.getLogger(__name__)

FILE = "model.ubj"
# These tree methods work on quantised values, which take a quarter of the memory.
QUANTISED = {"auto", "hist"}
# Rows of the learning curves, of which those of validation decide when to stop: an AUC of all rows after every round
# would take as long as the trees.
CURVE_ROWS = {"train": 25_000, "validation": 100_000}
# The default objective of each kind of label, and the beginnings of all that give probabilities or the label's numbers.
DEFAULT_OBJECTIVE = {"binary": "binary:logistic", "number": "reg:squarederror", "classes": "multi:softprob"}
OBJECTIVES = {
    "binary": ("binary:logistic", "reg:logistic"),
    "number": ("reg:", "count:"),
    "classes": ("multi:softprob",),
}
_ALLOWED = {
    "binary": "binary:logistic or reg:logistic",
    "number": "reg:… or count:…",
    "classes": "multi:softprob",
}
# The attribute of a booster with the names of its classes.
CLASSES = "classes"


class XGBoost(MatrixFamily):
    """XGBoost with its own parameters; the objective follows from the label's kind unless the parameters name one."""

    framework = "xgboost"
    algorithm = "gradient boosted trees"
    format = "ubj"
    ray_backend = "ray.train.xgboost:XGBoostConfig"
    # XGBoost's wrappers for scikit-learn import both: a second and 90 MB per actor.
    scores_without = ("sklearn", "pandas")

    def check(self, params: Mapping[str, Any], kind: str) -> None:
        """Refuse an objective that contradicts the label, and parameters that XGBoost does not use, on two rows.

        Raises:
            ConfigError: a name is unknown to the booster in use, or the objective gives no scores for such a label.
        """
        xgboost, objective = library(), objective_of(params, kind, 2)
        rows = xgboost.DMatrix(np.zeros((2, 1), np.float32), label=[0, 1])
        # An objective may refuse such rows; that says nothing about the names.
        with parameters_must_be_known(xgboost), suppress(xgboost.core.XGBoostError, ValueError, TypeError):
            xgboost.train({**params, **objective}, rows, num_boost_round=1)

    def fit(self, train: Matrix, validation: Matrix, spec: FitSpec) -> tuple[XGBoostModel, History]:
        """Fit with early stopping; the model keeps the rounds up to the best round.

        Raises:
            ConfigError: a parameter is unknown, or the objective contradicts the label.
            DataError: there are no rows, no validation rows, or labels of a single class.
            ModelError: XGBoost refused the parameters or the rows.
        """
        xgboost = library()
        rows = int(_over_workers(xgboost, float(len(train)))[0])
        require_training_rows(rows)
        params = _parameters(xgboost, train, spec)
        if spec.early_stopping_rounds:
            require_validation_rows(validation)
        curves: dict[str, dict[str, list[float]]] = {}
        try:
            with parameters_must_be_known(xgboost):
                booster = xgboost.train(
                    params,
                    _matrix(xgboost, train, params),
                    num_boost_round=spec.rounds,
                    evals=_judged(xgboost, train, validation),
                    early_stopping_rounds=spec.early_stopping_rounds or None,
                    evals_result=curves,
                    callbacks=_callbacks(xgboost, spec.on_round, validation, spec.classes),
                    verbose_eval=False,
                )
            if spec.early_stopping_rounds and _kind(booster) != "gblinear":  # a linear booster cannot be cut
                booster = booster[: booster.best_iteration + 1]
        except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
            raise refusal("XGBoost refused to fit", error) from error
        if spec.classes:
            booster.set_attr(**{CLASSES: json.dumps(spec.classes)})
        model = _model(booster)
        return model, History(rows, booster.num_boosted_rounds(), {name: dict(of) for name, of in curves.items()})

    def from_files(self, files: Mapping[str, bytes]) -> XGBoostModel:
        """Load the model in `model.ubj`; pass verified bytes only, since XGBoost may crash on broken bytes."""
        return _model(read_booster(files, FILE))


def _callbacks(
    xgboost: ModuleType, on_round: OnRound | None, validation: Matrix, classes: tuple[str, ...]
) -> list[Any]:
    """Return a callback of XGBoost that calls `on_round`, if there is one."""
    if on_round is None:
        return []
    report = on_round

    class RoundReport(xgboost.callback.TrainingCallback):  # type: ignore[misc, name-defined]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            report(epoch + 1, lambda: predictions(_model(model, classes), validation.x))
            return False

    return [RoundReport()]


def _model(booster: Any, classes: tuple[str, ...] = ()) -> XGBoostModel:
    """Return the model of a booster, with the classes that it names or that are given."""
    named = classes or tuple(json.loads(booster.attr(CLASSES) or "[]"))
    return XGBoostClasses(booster, named) if named else XGBoostModel(booster)


class XGBoostModel:
    """Score with a booster; NaN is XGBoost's missing value."""

    def __init__(self, booster: Any) -> None:
        self._booster = booster
        self._features = int(booster.num_features())
        self._linear = _kind(booster) == "gblinear"
        self._threads = 0
        self._trees: CompiledTrees | None = None
        self._comparison = Comparison(self._by_library)

    @property
    def predictor(self) -> str:
        """Return whether XGBoost or its compiled trees answer."""
        return COMPILED if self._trees else LIBRARY

    def compile(self) -> None:
        """Predict by compiled trees from here on; XGBoost answers for models that these do not cover."""
        try:
            self._trees = CompiledTrees(read_forest(json.loads(self._booster.save_raw("json"))))
        except Unsuitable as reason:
            log.info("XGBoost scores, not compiled trees: %s", reason)

    def predict(self, x: FloatArray) -> FloatArray:
        """Return scores in the units of the objective, such as probabilities for `binary:logistic`."""
        require_features(x, self._features)
        if not len(x):
            return np.empty(0, np.float32)
        if self._trees is None:
            return self._by_library(x)
        scores = self._trees.predict(x, self._threads)
        self._comparison.check(x, scores)
        return scores

    def _by_library(self, x: FloatArray) -> FloatArray:
        scores = self._scores(x)
        if scores.ndim != 1:
            raise ModelError("The model gives several scores per row", found=f"shape {scores.shape}", allowed="(rows,)")
        return np.asarray(scores, np.float32)

    def _scores(self, x: FloatArray) -> Any:
        # Prediction in place is several times faster, but linear boosters lack it.
        return self._booster.predict(library().DMatrix(x)) if self._linear else self._booster.inplace_predict(x)

    def explain(self, x: FloatArray) -> FloatArray:
        """Return exact SHAP values in log odds (binary) or the label's unit, at about 800 × the cost of `predict`."""
        require_features(x, self._features)
        if not len(x):
            return np.empty((0, self._features), np.float32)
        contributions = self._booster.predict(library().DMatrix(x), pred_contribs=True)
        return np.asarray(contributions[:, :-1], np.float32)

    def importance(self) -> FloatArray:
        """Return each feature's share of the loss that all splits removed, or of a linear booster's weights."""
        kind = "weight" if self._linear else "total_gain"
        weights = np.zeros(self._features)
        for name, value in self._booster.get_score(importance_type=kind).items():
            weights[int(name[1:])] = abs(value)
        return shares(weights)

    def files(self) -> dict[str, bytes]:
        """Return `model.ubj`, XGBoost's own portable format."""
        return {FILE: bytes(self._booster.save_raw("ubj"))}

    def set_threads(self, threads: int) -> None:
        """Set the threads of `predict`; 0 means all cores."""
        self._threads = threads
        self._booster.set_param({"nthread": threads})


class XGBoostClasses(ClassModel, XGBoostModel):
    """Score several classes with a booster."""

    def __init__(self, booster: Any, classes: tuple[str, ...]) -> None:
        super().__init__(booster)
        self.classes = classes

    def probabilities(self, x: FloatArray) -> FloatArray:
        """Return the probability of each class, (rows, classes)."""
        require_features(x, self._features)
        if not len(x):
            return np.empty((0, len(self.classes)), np.float32)
        return np.asarray(self._scores(x), np.float32)

    def explain(self, x: FloatArray) -> FloatArray:
        """Return exact SHAP values of the raw score of the predicted class."""
        require_features(x, self._features)
        if not len(x):
            return np.empty((0, self._features), np.float32)
        contributions = self._booster.predict(library().DMatrix(x), pred_contribs=True)
        predicted = self.probabilities(x).argmax(axis=1)
        return np.asarray(contributions[np.arange(len(x)), predicted, :-1], np.float32)


def objective_of(params: Mapping[str, Any], kind: str, classes: int) -> dict[str, Any]:
    """Return the parameters that name the objective of a fit.

    Raises:
        ConfigError: `params` names one whose scores are no probabilities (binary, classes) or no numbers of the label.
    """
    require_kind("XGBoost", kind, OBJECTIVES)
    objective = str(params.get("objective", DEFAULT_OBJECTIVE[kind]))
    if not objective.startswith(OBJECTIVES[kind]):
        raise ConfigError(
            "model.params.objective contradicts the label",
            found=f"{objective}, with label.kind: {kind}",
            allowed=_ALLOWED[kind],
            next_step="leave the objective out, or correct label.kind",
        )
    return {"objective": objective, **({"num_class": classes} if kind == "classes" else {})}


def _parameters(xgboost: ModuleType, train: Matrix, spec: FitSpec) -> dict[str, Any]:
    derived = {"seed": spec.seed, **objective_of(spec.params, spec.kind, len(spec.classes))}
    if spec.threads:
        derived["nthread"] = spec.threads
    if any(spec.monotone):
        derived["monotone_constraints"] = tuple(spec.monotone)
    require_balance(spec.balance, spec.kind)
    if spec.kind == "binary":
        rows, positives = _over_workers(xgboost, float(len(train)), float(train.y.sum(dtype=np.float64)))
        require_both_classes(positives, rows)
        if spec.balance == "scale_pos_weight":
            derived["scale_pos_weight"] = (rows - positives) / positives
    if spec.kind == "classes":
        require_labels(train.y, spec.kind, len(spec.classes))
    return {**derived, **spec.params}


def _over_workers(xgboost: ModuleType, *values: float) -> list[float]:
    """Sum each value over all workers of the fit."""
    totals = xgboost.collective.allreduce(np.array(values, np.float64), xgboost.collective.Op.SUM)
    return [float(total) for total in totals]


def _matrix(xgboost: ModuleType, train: Matrix, params: Mapping[str, Any]) -> Any:
    """Return the rows to boost on, quantised where the tree method works on quantised values."""
    quantised = params.get("tree_method", "auto") in QUANTISED and params.get("booster", "gbtree") != "gblinear"
    if not quantised:
        return xgboost.DMatrix(train.x, label=train.y)
    options = {"max_bin": params["max_bin"]} if "max_bin" in params else {}
    return xgboost.QuantileDMatrix(train.x, label=train.y, **options)


def _judged(xgboost: ModuleType, train: Matrix, validation: Matrix) -> list[tuple[Any, str]]:
    """Return the rows that are judged after every round: a sample of the training rows and of the validation rows.

    Not quantised: XGBoost would turn every bin back into a value in every round.
    """
    judged = []
    for name, rows in (("train", train), ("validation", validation)):
        step = max(1, -(-len(rows) // CURVE_ROWS[name]))
        # Every worker of a fit judges training rows, even one without any.
        if len(rows) or name == "train":
            judged.append((xgboost.DMatrix(rows.x[::step], label=rows.y[::step]), name))
    return judged


def _kind(booster: Any) -> str:
    return str(json.loads(booster.save_config())["learner"]["gradient_booster"]["name"])
