"""Stop scikit-learn's networks early on given validation rows, not on a random part of the training rows."""

from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.models.checks import require_validation_rows
from raypipe.models.model import FloatArray, Matrix
from raypipe.models.protocol import History

_SMALLEST = 1e-15


def fit_with_early_stopping(
    estimator: Any, x: FloatArray, y: npt.NDArray[Any], weights: FloatArray | None, validation: Matrix, patience: int
) -> History:
    """Fit epoch after epoch, and keep the weights of the epoch with the lowest validation loss.

    Args:
        patience: epochs without a lower validation loss before the fit stops; `max_iter` bounds the epochs.

    Raises:
        DataError: there are no validation rows.
    """
    require_validation_rows(validation)
    seed = estimator.random_state
    # With a number as the random state, every epoch would shuffle the rows alike.
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
