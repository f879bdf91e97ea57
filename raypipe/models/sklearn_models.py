"""Score with fitted scikit-learn estimators: linear models, forests and networks."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import ModelError
from raypipe.models.checks import require_features
from raypipe.models.chunks import in_chunks
from raypipe.models.model import FloatArray, shares
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
        """Return the probability of a positive label (binary), or the expected label (number)."""
        require_features(x, self._features)
        scores = np.empty(len(x), np.float32)
        probability = hasattr(self._pipeline, "predict_proba")

        def score(rows: slice) -> None:
            # The steps handle missing values and the contract lets no infinity through, so a check would waste a pass.
            with self._sklearn.config_context(assume_finite=True):
                part = x[rows]
                scores[rows] = self._pipeline.predict_proba(part)[:, 1] if probability else self._pipeline.predict(part)

        # Threads of BLAS would compete with the threads of the chunks, and would sum in another order.
        with self._libraries.limit(limits=1, user_api="blas"):
            in_chunks(len(x), self._threads, score)
        return scores

    def explain(self, x: FloatArray) -> FloatArray:
        """Refuse: only linear models have explanations that are exact and cheap."""
        raise ModelError(
            f"{type(self._estimator).__name__} has no explanations",
            allowed="a linear model or XGBoost",
            next_step="set score.explain.rows to 0",
        )

    @abstractmethod
    def importance(self) -> FloatArray:
        """Return the importance of each feature, defined by the kind of model."""

    def files(self) -> dict[str, bytes]:
        """Return `model.skops`, which skops also reads without raypipe."""
        return {FILE: dump(self._pipeline)}

    def set_threads(self, threads: int) -> None:
        """Set the threads of `predict`; 0 means all cores."""
        self._threads = threads


class LinearModel(SklearnModel):
    """A linear model on standardised columns, with missing values at the median."""

    def explain(self, x: FloatArray) -> FloatArray:
        """Return coefficient × (value - mean) / deviation, the difference of each feature to an average row.

        The unit is log odds (binary) or the label's. With the intercept the values add up to the raw score. A missing
        value counts as the training median.
        """
        require_features(x, self._features)
        contributions = np.empty(x.shape, np.float32)
        preparation, coefficients = self._pipeline[_PREPARATION], self._coefficients()

        def explain(rows: slice) -> None:
            with self._sklearn.config_context(assume_finite=True):
                contributions[rows] = preparation.transform(x[rows]) * coefficients

        in_chunks(len(x), self._threads, explain)
        return contributions

    def importance(self) -> FloatArray:
        """Return each standardised column's share of the sum of absolute coefficients."""
        return shares(np.abs(self._coefficients()))

    def _coefficients(self) -> npt.NDArray[np.float64]:
        return np.asarray(self._estimator.coef_, np.float64).ravel()


class ForestModel(SklearnModel):
    """A forest: the average of many trees."""

    def importance(self) -> FloatArray:
        """Return each feature's share of the impurity that all splits removed.

        It favours columns of many values (Breiman 2001, "Random Forests").
        """
        return shares(np.asarray(self._estimator.feature_importances_, np.float64))


class NetworkModel(SklearnModel):
    """A multi-layer perceptron on standardised columns, with missing values at the median."""

    def importance(self) -> FloatArray:
        """Return each feature's share of the first layer's absolute weights.

        A share shows how strongly the network reads a column, not the loss without it: a column of noise keeps about
        its initial weights.
        """
        return shares(np.abs(np.asarray(self._estimator.coefs_[0], np.float64)).sum(axis=1))
