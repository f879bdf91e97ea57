"""Gradient boosted trees with XGBoost, stored as UBJSON."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import numpy as np

from raypipe.errors import ConfigError, DataError, ModelError
from raypipe.models.protocol import FitSpec, FloatArray, History, Matrix, OnRound

FILE = "model.ubj"
BALANCES = ("none", "scale_pos_weight")
# The tree methods that work on quantised values, which need a quarter of the memory.
QUANTISED = {"auto", "hist"}
_PLACE = re.compile(r"^\[[\d:]+\] \S+:\d+: ")
_UNUSED = re.compile(r"Parameters: \{ (.*?) \} are not used")


class XGBoost:
    """The family; `model.params` are XGBoost's own, for any objective that gives one score a row."""

    framework = "xgboost"
    algorithm = "gradient boosted trees"
    format = "ubj"
    ray_backend: str | None = "ray.train.xgboost:XGBoostConfig"
    # Its wrappers for scikit-learn import both: a second and 90 MB for each actor.
    scores_without: tuple[str, ...] = ("sklearn", "pandas")

    def check(self, params: Mapping[str, Any]) -> None:
        """Refuse parameters that XGBoost does not use, by a fit on two rows.

        Raises:
            ConfigError: a name is unknown to the booster in use.
        """
        xgboost = _library()
        rows = xgboost.DMatrix(np.zeros((2, 1), np.float32), label=[0, 1])
        # An objective may refuse such rows; that says nothing about the names.
        with _parameters_must_be_known(xgboost), suppress(xgboost.core.XGBoostError, ValueError, TypeError):
            xgboost.train(dict(params), rows, num_boost_round=1)

    def fit(self, train: Matrix, validation: Matrix, spec: FitSpec) -> tuple[XGBoostModel, History]:
        """Fits with early stopping; the model holds the rounds up to the best one and no more.

        Raises:
            DataError: there is nothing to learn from: no rows, no validation rows, or a single class.
            ModelError: XGBoost refused the parameters or the rows.
        """
        xgboost = _library()
        params = _parameters(xgboost, train, spec)
        rows = int(_over_workers(xgboost, float(len(train)))[0])
        if rows == 0:
            raise DataError("There are no training rows", next_step="check the dates and the filters of features.sql")
        if spec.early_stopping_rounds and not len(validation):
            raise DataError(
                "Early stopping has no validation rows",
                next_step="raise split.validation_share, or set model.early_stopping_rounds to 0",
            )
        curves: dict[str, dict[str, list[float]]] = {}
        try:
            with _parameters_must_be_known(xgboost):
                matrices = _matrices(xgboost, train, validation, params)
                booster = xgboost.train(
                    params,
                    matrices["train"],
                    num_boost_round=spec.rounds,
                    evals=[(data, name) for name, data in matrices.items()],
                    early_stopping_rounds=spec.early_stopping_rounds or None,
                    evals_result=curves,
                    callbacks=_told(xgboost, spec.on_round, validation),
                    verbose_eval=False,
                )
            if spec.early_stopping_rounds and _kind(booster) != "gblinear":  # the one booster that cannot be cut
                booster = booster[: booster.best_iteration + 1]
        except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
            raise _refusal("XGBoost refused to fit", error) from error
        model = XGBoostModel(booster)
        return model, History(rows, booster.num_boosted_rounds(), {name: dict(of) for name, of in curves.items()})

    def from_files(self, files: Mapping[str, bytes]) -> XGBoostModel:
        """The model in `model.ubj`; give it verified bytes only, since XGBoost may crash on broken ones."""
        xgboost = _library()
        if FILE not in files:
            raise ModelError(f"The artifact has no {FILE}", found=", ".join(sorted(files)) or "no files")
        if not files[FILE].startswith(b"{"):
            # XGBoost ends the whole process on an empty buffer.
            raise ModelError(f"{FILE} is not an XGBoost model", found=f"{files[FILE][:8]!r} …", allowed="UBJSON")
        booster = xgboost.Booster()
        try:
            booster.load_model(bytearray(files[FILE]))
        except xgboost.core.XGBoostError as error:
            raise _refusal(f"{FILE} is not an XGBoost model", error) from error
        return XGBoostModel(booster)


def _told(xgboost: ModuleType, on_round: OnRound | None, validation: Matrix) -> list[Any]:
    """A callback of XGBoost that tells `on_round`, where there is one."""
    if on_round is None:
        return []
    told = on_round

    class Told(xgboost.callback.TrainingCallback):  # type: ignore[misc, name-defined]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            told(epoch + 1, lambda: XGBoostModel(model).predict(validation.x))
            return False

    return [Told()]


class XGBoostModel:
    """A booster behind raypipe's protocol; NaN is XGBoost's missing value."""

    def __init__(self, booster: Any) -> None:
        self._booster = booster
        self._features = int(booster.num_features())
        self._linear = _kind(booster) == "gblinear"

    def predict(self, x: FloatArray) -> FloatArray:
        """Scores in the units of the objective: probabilities for `binary:logistic`."""
        self._check(x)
        if not len(x):
            return np.empty(0, np.float32)
        # In place is several times faster, and not implemented for linear boosters.
        scores = self._booster.predict(self._matrix(x)) if self._linear else self._booster.inplace_predict(x)
        if scores.ndim != 1:
            raise ModelError("The model gives several scores a row", found=f"shape {scores.shape}", allowed="one score")
        return np.asarray(scores, np.float32)

    def explain(self, x: FloatArray) -> FloatArray:
        """Exact SHAP values in log odds (binary) or the label's units; about 800 × the cost of `predict`."""
        self._check(x)
        if not len(x):
            return np.empty((0, self._features), np.float32)
        contributions = self._booster.predict(self._matrix(x), pred_contribs=True)
        return np.asarray(contributions[:, :-1], np.float32)

    def importance(self) -> FloatArray:
        """Each feature's share of the loss that all splits removed (for a linear booster: of the weights)."""
        kind = "weight" if self._linear else "total_gain"
        weights = np.zeros(self._features, np.float32)
        for name, value in self._booster.get_score(importance_type=kind).items():
            weights[int(name[1:])] = abs(value)
        total = float(weights.sum())
        return weights / np.float32(total) if total > 0 else weights

    def files(self) -> dict[str, bytes]:
        """`model.ubj`, XGBoost's own portable format."""
        return {FILE: bytes(self._booster.save_raw("ubj"))}

    def set_threads(self, threads: int) -> None:
        """How many threads `predict` uses; 0 means all cores."""
        self._booster.set_param({"nthread": threads})

    def _check(self, x: FloatArray) -> None:
        if x.ndim != 2 or x.shape[1] != self._features:
            raise ModelError(
                "The matrix does not have the model's features",
                found=f"shape {x.shape}",
                allowed=f"(rows, {self._features})",
                next_step="score with the contract that is stored with the model",
            )

    def _matrix(self, x: FloatArray) -> Any:
        return _library().DMatrix(x)


def _library() -> ModuleType:
    try:
        import xgboost
    except ImportError as error:
        raise ConfigError(
            "The model class needs XGBoost, which is not installed", next_step="pip install 'raypipe[xgboost]'"
        ) from error
    return xgboost


@contextmanager
def _parameters_must_be_known(xgboost: ModuleType) -> Iterator[None]:
    """Turns XGBoost's warning about parameters that it does not use, misspelt ones among them, into an error."""
    # It keeps its log callback per thread, and a worker of Ray Train fits in another than the one that imported it.
    xgboost.core._LIB.XGBRegisterLogCallback(xgboost.core._LIB.callback)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        yield
    for warning in seen:
        unused = _UNUSED.search(str(warning.message))
        if unused:
            raise ConfigError(
                "XGBoost does not use a parameter of the fit",
                found=unused[1].replace('"', ""),
                allowed="https://xgboost.readthedocs.io/en/stable/parameter.html, and only those of the booster in use",
                next_step="correct its name in model.params, or take it out",
            )
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _parameters(xgboost: ModuleType, train: Matrix, spec: FitSpec) -> dict[str, Any]:
    derived: dict[str, Any] = {"seed": spec.seed}
    if spec.threads:
        derived["nthread"] = spec.threads
    if any(spec.monotone):
        derived["monotone_constraints"] = tuple(spec.monotone)
    if spec.balance not in BALANCES:
        raise ConfigError("model.balance is unknown", found=spec.balance, allowed=", ".join(BALANCES))
    if spec.balance == "scale_pos_weight" or str(spec.params.get("objective", "")).startswith("binary:"):
        rows, positives = _over_workers(xgboost, float(len(train)), float(train.y.sum(dtype=np.float64)))
        if rows and not 0 < positives < rows:
            raise DataError(
                "The training rows hold a single class, so there is nothing to tell apart",
                found=f"{positives:.0f} positives in {rows:.0f} rows",
                next_step="check labels.sql and the horizon, or fit on more snapshots",
            )
        if spec.balance == "scale_pos_weight" and rows:
            derived["scale_pos_weight"] = (rows - positives) / positives
    return {**derived, **spec.params}


def _over_workers(xgboost: ModuleType, *values: float) -> list[float]:
    """The sums over all workers of the fit; the values themselves where there is one."""
    totals = xgboost.collective.allreduce(np.array(values, np.float64), xgboost.collective.Op.SUM)
    return [float(total) for total in totals]


def _matrices(xgboost: ModuleType, train: Matrix, validation: Matrix, params: Mapping[str, Any]) -> dict[str, Any]:
    quantised = params.get("tree_method", "auto") in QUANTISED and params.get("booster", "gbtree") != "gblinear"
    if not quantised:
        matrices = {"train": xgboost.DMatrix(train.x, label=train.y)}
        if len(validation):
            matrices["validation"] = xgboost.DMatrix(validation.x, label=validation.y)
        return matrices
    sizes = {"max_bin": params["max_bin"]} if "max_bin" in params else {}
    fitted = xgboost.QuantileDMatrix(train.x, label=train.y, **sizes)
    if not len(validation):
        return {"train": fitted}
    # The reference's bins: validation rows are quantised as the training rows were.
    return {
        "train": fitted,
        "validation": xgboost.QuantileDMatrix(validation.x, label=validation.y, ref=fitted, **sizes),
    }


def _kind(booster: Any) -> str:
    return str(json.loads(booster.save_config())["learner"]["gradient_booster"]["name"])


def _refusal(problem: str, error: Exception) -> ModelError:
    """XGBoost's message without its time, its place in the C++ sources and its stack trace."""
    text = _PLACE.sub("", str(error).split("Stack trace:")[0])
    lines = [line for line in text.splitlines() if line.strip()]
    return ModelError(problem, found="\n".join(lines) or type(error).__name__, next_step="check model.params")
