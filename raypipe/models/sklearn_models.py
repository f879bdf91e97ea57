"""Fitted scikit-learn estimators behind raypipe's protocol: linear models, forests and networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import ModelError
from raypipe.models.chunks import in_chunks
from raypipe.models.protocol import FloatArray
from raypipe.models.skops_file import FILE, dump

_PREPARATION = slice(None, -1)


class SklearnModel(ABC):
    """A fitted pipeline of scikit-learn whose last step is the model.

    Args:
        pipeline: takes a float32 matrix with NaN for missing values.
    """

    def __init__(self, pipeline: Any) -> None:
        import sklearn
        from threadpoolctl import ThreadpoolController

        self._sklearn, self._libraries = sklearn, ThreadpoolController()
        self._pipeline = pipeline
        self._estimator = pipeline[-1]
        self._features = int(pipeline.n_features_in_)
        self._threads = 0

    def predict(self, x: FloatArray) -> FloatArray:
        """The probability of a positive label (binary), or the expected label (number)."""
        self._check(x)
        scores = np.empty(len(x), np.float32)
        probability = hasattr(self._pipeline, "predict_proba")

        def score(rows: slice) -> None:
            # What is missing is handled, and the contract lets no infinity through: looking again costs a pass.
            with self._sklearn.config_context(assume_finite=True):
                part = x[rows]
                scores[rows] = self._pipeline.predict_proba(part)[:, 1] if probability else self._pipeline.predict(part)

        # The chunks have the threads; those of BLAS would compete with them, and sum in another order.
        with self._libraries.limit(limits=1, user_api="blas"):
            in_chunks(len(x), self._threads, score)
        return scores

    def explain(self, x: FloatArray) -> FloatArray:
        """Only linear models have explanations that are exact and cheap.

        Raises:
            ModelError: always, here.
        """
        raise ModelError(
            f"A {type(self._estimator).__name__} has no explanations",
            allowed="a linear model or XGBoost",
            next_step="set score.explain.rows to 0",
        )

    @abstractmethod
    def importance(self) -> FloatArray:
        """What it means depends on the kind of model; each says it."""

    def files(self) -> dict[str, bytes]:
        """`model.skops`, which skops reads without raypipe, too."""
        return {FILE: dump(self._pipeline)}

    def set_threads(self, threads: int) -> None:
        """How many threads `predict` uses; 0 means all cores."""
        self._threads = threads

    def _check(self, x: FloatArray) -> None:
        if x.ndim != 2 or x.shape[1] != self._features:
            raise ModelError(
                "The matrix does not have the model's features",
                found=f"shape {x.shape}",
                allowed=f"(rows, {self._features})",
                next_step="score with the contract that is stored with the model",
            )


class LinearModel(SklearnModel):
    """Coefficients of standardised columns, missing values at the median."""

    def explain(self, x: FloatArray) -> FloatArray:
        """Coefficient × (value - mean) / deviation: what each feature adds to the score of an average row.

        In log odds (binary) or the label's units; with the intercept they add up to the raw score. A missing
        value counts as the training median.
        """
        self._check(x)
        contributions = np.empty(x.shape, np.float32)
        preparation, coefficients = self._pipeline[_PREPARATION], self._coefficients()

        def explain(rows: slice) -> None:
            with self._sklearn.config_context(assume_finite=True):
                contributions[rows] = preparation.transform(x[rows]) * coefficients

        in_chunks(len(x), self._threads, explain)
        return contributions

    def importance(self) -> FloatArray:
        """Each coefficient's share of all, in absolute values; columns are standardised, so they compare."""
        return shares(np.abs(self._coefficients()))

    def _coefficients(self) -> npt.NDArray[np.float64]:
        return np.asarray(self._estimator.coef_, np.float64).ravel()


class ForestModel(SklearnModel):
    """Trees that average."""

    def importance(self) -> FloatArray:
        """Each feature's share of the impurity that all splits removed; high for columns of many values (Breiman)."""
        return shares(np.asarray(self._estimator.feature_importances_, np.float64))


class NetworkModel(SklearnModel):
    """A multi-layer perceptron on standardised columns, missing values at the median."""

    def importance(self) -> FloatArray:
        """Each feature's share of the first layer's weights, in absolute values.

        It says how strongly the network looks at a column, not what the score would lose without it: a column
        of noise keeps about the weights that it was initialised with.
        """
        return shares(np.abs(np.asarray(self._estimator.coefs_[0], np.float64)).sum(axis=1))


def shares(weights: npt.NDArray[np.float64]) -> FloatArray:
    """Weights with the sum 1; zeros where all are zero."""
    total = float(weights.sum())
    return np.asarray(weights / total if total > 0 else weights, np.float32)
