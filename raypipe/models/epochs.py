"""Early stopping of scikit-learn's networks on given validation rows, not on a random part of the training rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import DataError
from raypipe.models.protocol import FloatArray, History, Matrix

_SMALLEST = 1e-15


def fit_with_early_stopping(
    estimator: Any, x: FloatArray, y: npt.NDArray[Any], weights: FloatArray | None, validation: Matrix, patience: int
) -> History:
    """Fits epoch after epoch, and keeps the weights of the one that did best on the validation rows.

    Args:
        estimator: an MLPClassifier or MLPRegressor with a stochastic solver.
        x: (rows, features), as the estimator sees them.
        y: (rows,).
        weights: (rows,), or None.
        validation: rows as the estimator sees them.
        patience: stop after so many epochs without a better validation metric; `max_iter` bounds them all.

    Raises:
        DataError: there are no validation rows.
    """
    if not len(validation):
        raise DataError(
            "Early stopping has no validation rows",
            next_step="raise split.validation_share, or set model.early_stopping_rounds to 0",
        )
    seed = estimator.random_state
    # A number would shuffle the rows alike in every epoch.
    estimator.set_params(random_state=np.random.RandomState(seed))
    binary = hasattr(estimator, "predict_proba")
    known = {"classes": [0, 1]} if binary else {}
    losses: list[float] = []
    best, kept = 0, None
    for epoch in range(estimator.max_iter):
        estimator.partial_fit(x, y, sample_weight=weights, **known)
        losses.append(_logloss(estimator, validation) if binary else _rmse(estimator, validation))
        if kept is None or losses[epoch] < losses[best]:
            best = epoch
            kept = [part.copy() for part in estimator.coefs_], [part.copy() for part in estimator.intercepts_]
        elif epoch - best >= patience:
            break
    if kept is not None:
        estimator.coefs_, estimator.intercepts_ = kept
    estimator.set_params(random_state=seed)
    curve = [float(loss) for loss in estimator.loss_curve_]
    return History(
        len(x), best + 1, {"train": {"loss": curve}, "validation": {"logloss" if binary else "rmse": losses}}
    )


def _logloss(estimator: Any, rows: Matrix) -> float:
    chance = np.clip(estimator.predict_proba(rows.x)[:, 1].astype(np.float64), _SMALLEST, 1 - _SMALLEST)
    return float(-np.mean(np.where(rows.y > 0.5, np.log(chance), np.log1p(-chance))))


def _rmse(estimator: Any, rows: Matrix) -> float:
    return float(np.sqrt(np.mean((estimator.predict(rows.x).astype(np.float64) - rows.y) ** 2)))
