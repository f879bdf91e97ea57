"""What a model must beat: the prior, the best single feature, a linear model and persistence, on the same rows.

A score that a constant or one column reaches needs no model, and a model that they beat is broken.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import DataError
from raypipe.evaluation.evaluate import Evaluation, Objective, choose_threshold, evaluate
from raypipe.evaluation.metrics import Entities, Ranking, rmse
from raypipe.models.protocol import Matrix

Floats = npt.NDArray[np.float64]

# A linear model and binned features gain nothing from more rows than this.
FIT_ROWS = 200_000
FEATURE_BINS = 50
SHRINKAGE_ROWS = 20.0


@dataclass(frozen=True)
class Baseline:
    """A simple rule's predictions.

    Attributes:
        name: `prior`, `one_feature`, `linear` or `persistence`.
        description: what it is, and which feature it uses.
        prediction: (rows,), on the test rows; None where it could not be fitted.
        evaluation: as `evaluate` gives it; empty without predictions.
    """

    name: str
    description: str
    prediction: Floats | None
    evaluation: Evaluation

    def to_json(self) -> dict[str, Any]:
        """Description and metrics, without the predictions."""
        return {"description": self.description, **self.evaluation}


def baselines(
    kind: str,
    train: Matrix,
    validation: Matrix,
    test: Matrix,
    columns: Sequence[str],
    *,
    threshold: Objective = "f1",
    resamples: int = 200,
    seed: int = 0,
    is_linear: bool = False,
    persistence: str | None = None,
    entities: Entities | None = None,
) -> dict[str, Baseline]:
    """The baselines by name, fitted on training rows, with thresholds from validation, evaluated on test rows.

    Args:
        kind: of the label, `binary` or `number`.
        train: rows to fit on; 200,000 of them are drawn where there are more.
        validation: rows on which the single feature and the thresholds are chosen.
        test: rows of the evaluation.
        columns: the names of the matrix's columns.
        threshold: the objective of the decision threshold, for a binary label.
        resamples: of each interval.
        seed: of the draw and the resamples.
        is_linear: whether the model that is compared is a linear one, which cannot be better than itself.
        persistence: the feature that holds the label's latest value, for a label that is a number: the rule that it
            stays as it is, the usual rival of a forecast (Hyndman & Athanasopoulos, "Forecasting", section 5.2).
        entities: (test rows,), whose each is, as `metrics.entities_of` gives it.
    """
    train, validation = _drawn(train, seed), _drawn(validation, seed)
    rules = [_prior(train), _one_feature(kind, train, validation, columns)]
    if not is_linear:
        rules.append(_linear(kind, train, seed))
    if persistence is not None:
        rules.append(_persistence(train, columns, persistence))
    found: dict[str, Baseline] = {}
    for rule in rules:
        if rule.predict is None:
            found[rule.name] = Baseline(rule.name, rule.description, None, {})
            continue
        prediction = rule.predict(test.x)
        cut = _threshold(kind, validation.y, rule.predict(validation.x), threshold)
        measured = evaluate(kind, test.y, prediction, threshold=cut, resamples=resamples, seed=seed, entities=entities)
        found[rule.name] = Baseline(rule.name, rule.description, prediction, measured)
    return found


@dataclass(frozen=True)
class _Rule:
    name: str
    description: str
    predict: Any  # Callable[[x], Floats] | None: mypy would take a callable field for a method


def _prior(train: Matrix) -> _Rule:
    mean = float(train.y.mean(dtype=np.float64))
    return _Rule("prior", f"the training mean, {mean:.4f}, for every row", lambda x: np.full(len(x), mean))


def _one_feature(kind: str, train: Matrix, validation: Matrix, columns: Sequence[str]) -> _Rule:
    """The training mean in each of at most 50 quantile bins of the feature that does best on validation rows."""
    candidates = [(at, _binned(train.x[:, at], train.y)) for at in range(train.x.shape[1])]
    quality = [_quality(kind, validation.y, predict(validation.x[:, at])) for at, predict in candidates]
    best, predict = candidates[int(np.argmax(quality))]
    description = f"the training mean by bins of {columns[best]}, the best single feature on validation rows"
    return _Rule("one_feature", description, lambda x: predict(x[:, best]))


def _binned(values: npt.NDArray[Any], y: npt.NDArray[Any]) -> Any:
    present = values[~np.isnan(values)]
    edges = np.unique(np.quantile(present, np.linspace(0, 1, FEATURE_BINS + 1)[1:-1])) if len(present) else np.empty(0)

    def place(column: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        # Missing values have a bin of their own, the last.
        return np.where(np.isnan(column), len(edges) + 1, np.searchsorted(edges, column, side="right"))

    at, mean = place(values), float(y.mean(dtype=np.float64))
    rows = np.bincount(at, minlength=len(edges) + 2)
    sums = np.bincount(at, weights=y, minlength=len(edges) + 2)
    # Small bins lean on the mean, as if they held twenty average rows more.
    rates = (sums + SHRINKAGE_ROWS * mean) / (rows + SHRINKAGE_ROWS)
    return lambda column: rates[place(column)]


def _linear(kind: str, train: Matrix, seed: int) -> _Rule:
    """Logistic (or ridge) regression on medians for missing values and standardised columns."""
    name = "logistic regression" if kind == "binary" else "ridge regression"
    if importlib.util.find_spec("sklearn") is None:
        return _Rule("linear", f"{name}: not fitted, scikit-learn is not installed (the extra `sklearn`)", None)
    linear = importlib.import_module("sklearn.linear_model")
    medians = np.array([_median(train.x[:, at]) for at in range(train.x.shape[1])])
    filled = _filled(train.x, medians)
    mean, scale = filled.mean(axis=0), filled.std(axis=0)
    scale[scale == 0] = 1.0

    def standardised(x: npt.NDArray[Any]) -> Floats:
        return np.asarray((_filled(x, medians) - mean) / scale)

    if kind != "binary":
        ridge = linear.Ridge(alpha=1.0, random_state=seed).fit(standardised(train.x), train.y)
        return _Rule("linear", name, lambda x: ridge.predict(standardised(x)))
    logistic = linear.LogisticRegression(max_iter=500, random_state=seed).fit(standardised(train.x), train.y)
    return _Rule("linear", name, lambda x: logistic.predict_proba(standardised(x))[:, 1])


def _persistence(train: Matrix, columns: Sequence[str], column: str) -> _Rule:
    """The latest value of the label; the training mean where there is none."""
    if column not in columns:
        return _Rule("persistence", f"as {column}: not tried, the model does not see that feature", None)
    at, mean = list(columns).index(column), float(train.y.mean(dtype=np.float64))
    return _Rule("persistence", f"as {column}, unchanged", lambda x: _filled(x[:, [at]], np.array([mean]))[:, 0])


def _filled(x: npt.NDArray[Any], medians: Floats) -> Floats:
    return np.where(np.isnan(x), medians, x).astype(np.float64)


def _median(column: npt.NDArray[Any]) -> float:
    present = column[~np.isnan(column)]
    return float(np.median(present)) if len(present) else 0.0


def _quality(kind: str, y: npt.NDArray[Any], prediction: Floats) -> float:
    weights = np.ones(len(y))
    return Ranking(y, prediction).auc(weights) if kind == "binary" else -rmse(y, prediction)(weights)


def _threshold(kind: str, y: npt.NDArray[Any], prediction: Floats, objective: Objective) -> float:
    if kind != "binary":
        return 0.5
    try:
        return choose_threshold(y, prediction, objective)
    except DataError:
        # A weak rule may never reach a precision asked of the model.
        return choose_threshold(y, prediction, "f1")


def _drawn(rows: Matrix, seed: int) -> Matrix:
    if len(rows) <= FIT_ROWS:
        return rows
    return rows.take(np.random.default_rng(seed).choice(len(rows), FIT_ROWS, replace=False))
