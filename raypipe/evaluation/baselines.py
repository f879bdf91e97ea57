"""Fit the baselines that a model must beat: the prior, the best single feature, a linear model, and persistence.

A model is of no use when a constant or a single column scores as well.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.evaluation.classes import class_metrics
from raypipe.evaluation.evaluate import Evaluation, evaluate
from raypipe.evaluation.metrics import Entities, Ranking, rmse
from raypipe.evaluation.threshold import Objective, threshold_or_f1
from raypipe.models.model import Matrix
from raypipe.models.preparation import library, one_blas_thread, prepare

Floats = npt.NDArray[np.float64]

# More rows improve neither a linear model nor a binned feature.
FIT_ROWS = 200_000
FEATURE_BINS = 50
SHRINKAGE_ROWS = 20.0


@dataclass(frozen=True)
class Baseline:
    """A baseline's predictions of the test rows and their evaluation.

    Attributes:
        name: `prior`, `one_feature`, `linear` or `persistence`.
        description: the rule, with the feature it uses.
        prediction: (rows,), or (rows, classes) of classes; None for a baseline that could not be fitted.
        evaluation: as `evaluate` returns it; empty without predictions.
    """

    name: str
    description: str
    prediction: Floats | None
    evaluation: Evaluation

    def to_json(self) -> dict[str, Any]:
        """Return the description and the metrics, without the predictions."""
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
    classes: Sequence[str] = (),
) -> dict[str, Baseline]:
    """Return the baselines by name: fitted on training rows, thresholds from validation rows, evaluated on test rows.

    Args:
        train: rows to fit on, sampled to FIT_ROWS.
        validation: rows to choose the single feature and the thresholds on.
        threshold: the objective of the decision threshold, for a binary label.
        is_linear: whether the model itself is linear; the linear baseline is then left out.
        persistence: the feature with the label's latest value, for a number. Its baseline predicts no change, the
            usual benchmark of a forecast (Hyndman & Athanasopoulos, "Forecasting", section 5.2).
        entities: (test rows,), as `metrics.entities_of` returns them.
        classes: the names of the classes.
    """
    train, validation = _drawn(train, seed), _drawn(validation, seed)
    rules = [_prior(train, len(classes)), _one_feature(kind, train, validation, columns, len(classes))]
    if not is_linear:
        rules.append(_linear(kind, train, seed, len(classes)))
    if persistence is not None:
        rules.append(_persistence(train, columns, persistence))
    judged: dict[str, Baseline] = {}
    for rule in rules:
        if rule.predict is None:
            judged[rule.name] = Baseline(rule.name, rule.description, None, {})
            continue
        prediction, cut = rule.predict(test.x), 0.5
        if kind == "binary":
            cut = threshold_or_f1(validation.y, rule.predict(validation.x), threshold)
        measured = evaluate(
            kind,
            test.y,
            prediction,
            threshold=cut,
            resamples=resamples,
            seed=seed,
            entities=entities,
            classes=classes,
        )
        judged[rule.name] = Baseline(rule.name, rule.description, prediction, measured)
    return judged


@dataclass(frozen=True)
class _Rule:
    name: str
    description: str
    predict: Callable[[npt.NDArray[Any]], Floats] | None


def _prior(train: Matrix, classes: int) -> _Rule:
    if classes:
        shares = np.bincount(train.y.astype(np.int64), minlength=classes) / len(train)
        return _Rule("prior", "each class's share of the training rows", lambda x: np.tile(shares, (len(x), 1)))
    mean = float(train.y.mean(dtype=np.float64))
    return _Rule("prior", f"the training mean, {mean:.4f}, for every row", lambda x: np.full(len(x), mean))


def _one_feature(kind: str, train: Matrix, validation: Matrix, columns: Sequence[str], classes: int) -> _Rule:
    """Predict the training mean in quantile bins of the feature that is best on validation rows."""
    targets = np.eye(classes)[train.y.astype(np.int64)] if classes else train.y[:, None]
    candidates = [(at, _binned(train.x[:, at], targets)) for at in range(train.x.shape[1])]
    quality = [_quality(kind, validation.y, predict(validation.x[:, at])) for at, predict in candidates]
    best, predict = candidates[int(np.argmax(quality))]
    description = f"the training mean by bins of {columns[best]}, the best single feature on validation rows"
    return _Rule("one_feature", description, lambda x: predict(x[:, best]))


def _binned(values: npt.NDArray[Any], targets: npt.NDArray[Any]) -> Any:
    """Return a function from a column to the mean of each target, (rows, targets); (rows,) of a single target."""
    present = values[~np.isnan(values)]
    edges = np.unique(np.quantile(present, np.linspace(0, 1, FEATURE_BINS + 1)[1:-1])) if len(present) else np.empty(0)

    def place(column: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        # Missing values have a bin of their own, the last.
        return np.where(np.isnan(column), len(edges) + 1, np.searchsorted(edges, column, side="right"))

    at, means = place(values), targets.mean(axis=0, dtype=np.float64)
    rows = np.bincount(at, minlength=len(edges) + 2)[:, None]
    sums = np.stack([np.bincount(at, weights=target, minlength=len(edges) + 2) for target in targets.T], axis=1)
    # Small bins shrink to the mean, as if each held twenty more average rows.
    rates = (sums + SHRINKAGE_ROWS * means) / (rows + SHRINKAGE_ROWS)
    return lambda column: rates[place(column)] if len(means) > 1 else rates[place(column), 0]


def _linear(kind: str, train: Matrix, seed: int, classes: int) -> _Rule:
    """Fit a logistic or ridge regression on filled and standardised columns."""
    name = "ridge regression" if kind == "number" else "logistic regression"
    if importlib.util.find_spec("sklearn") is None:
        return _Rule("linear", f"{name}: not fitted, scikit-learn is not installed (the extra `sklearn`)", None)
    linear = library("sklearn.linear_model")
    steps, prepared = prepare(train.x, np.float64)
    if kind == "number":
        unfitted = linear.Ridge(alpha=1.0, random_state=seed)
    else:
        unfitted = linear.LogisticRegression(max_iter=500, random_state=seed)
    with one_blas_thread():
        model = unfitted.fit(prepared, train.y)

    def predict(x: npt.NDArray[Any]) -> Floats:
        values = x.astype(np.float64)
        for _, step in steps:
            values = step.transform(values)
        if kind == "number":
            return np.asarray(model.predict(values))
        chances = np.zeros((len(values), classes or 2))
        # A sample may lack a rare class.
        chances[:, model.classes_.astype(np.int64)] = model.predict_proba(values)
        return chances if kind == "classes" else chances[:, 1]

    return _Rule("linear", name, predict)


def _persistence(train: Matrix, columns: Sequence[str], column: str) -> _Rule:
    """Predict the label's latest value, or the training mean for a missing value."""
    if column not in columns:
        return _Rule("persistence", f"as {column}: not fitted, the model does not read this feature", None)
    at, mean = list(columns).index(column), float(train.y.mean(dtype=np.float64))
    return _Rule(
        "persistence", f"as {column}, unchanged", lambda x: np.where(np.isnan(x[:, at]), np.float64(mean), x[:, at])
    )


def _quality(kind: str, y: npt.NDArray[Any], prediction: Floats) -> float:
    weights = np.ones(len(y))
    if kind == "classes":
        return -class_metrics(y, prediction)["log_loss"](weights)
    return Ranking(y, prediction).auc(weights) if kind == "binary" else -rmse(y, prediction)(weights)


def _drawn(rows: Matrix, seed: int) -> Matrix:
    if len(rows) <= FIT_ROWS:
        return rows
    return rows.take(np.random.default_rng(seed).choice(len(rows), FIT_ROWS, replace=False))
