"""Fit a penalised linear model with SciPy, and score with NumPy alone: the straight part of a blend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import ModelError
from raypipe.models.chunks import in_chunks
from raypipe.models.links import losses, slack
from raypipe.models.model import FloatArray

Floats = npt.NDArray[np.float64]

# Deviations from the mean beyond which a value counts no more: a heavy tail would rule the line.
FARTHEST = 5.0
# Steps of the solver; a convex loss on standardised columns needs fewer.
STEPS = 200


@dataclass(frozen=True)
class Linear:
    """A linear model on standardised columns.

    Attributes:
        fill: (features,), the value in place of a missing one: the training median.
        mean, deviation: (features,), of the filled columns.
        weights: (features, outputs); one output per class, otherwise a single one.
        bias: (outputs,).
    """

    fill: Floats
    mean: Floats
    deviation: Floats
    weights: Floats
    bias: Floats

    def margins(self, x: FloatArray) -> Floats:
        """Return the raw scores (rows, outputs) of a matrix (rows, features)."""
        margins: Floats = np.empty((len(x), len(self.bias)))

        def score(rows: slice) -> None:
            margins[rows] = self.standardised(x[rows]) @ self.weights + self.bias

        # Standardised at once, the columns would take six times the memory of the matrix.
        in_chunks(len(x), 1, score)
        return margins

    def standardised(self, x: FloatArray) -> Floats:
        """Return the filled and standardised columns, at most FARTHEST from their means."""
        # In place: each further array of the columns would take twice the memory of the matrix.
        z: Floats = np.where(np.isnan(x), self.fill, x)
        z -= self.mean
        z /= self.deviation
        return np.clip(z, -FARTHEST, FARTHEST, out=z)

    def scaled(self, factor: float) -> Linear:
        """Return the model with its raw scores times a factor."""
        return replace(self, weights=self.weights * factor, bias=self.bias * factor)

    def to_json(self) -> dict[str, Any]:
        """Return the model as JSON-ready values."""
        return {name: values.tolist() for name, values in asdict(self).items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Linear:
        """Read the model that `to_json` wrote.

        Raises:
            ModelError: the document is no such model.
        """
        try:
            model = cls(*(np.asarray(document[name], np.float64) for name in cls.__dataclass_fields__))
            features, outputs = model.weights.shape
            shapes = [model.fill.shape, model.mean.shape, model.deviation.shape, model.bias.shape]
            if shapes != [(features,), (features,), (features,), (outputs,)]:
                raise ValueError(f"arrays of shapes {shapes}")
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError("The linear part of the model cannot be read", found=repr(error)) from error
        return model


def unfitted(x: FloatArray, outputs: int) -> Linear:
    """Return a model of zeros with the fill, mean and deviation of each column of a matrix."""
    # Column by column, as a copy of all in double precision would take twice the memory of the matrix.
    fill, mean, deviation = np.array([_spread(column) for column in x.T]).reshape(-1, 3).T
    # Rounding leaves a constant column a tiny deviation.
    deviation[deviation <= 1e-7 * np.abs(mean)] = 1.0
    return Linear(fill, mean, deviation, np.zeros((x.shape[1], outputs)), np.zeros(outputs))


def _spread(column: FloatArray) -> tuple[float, float, float]:
    """Return the median of a column's known values, and mean and deviation with it in place of the missing ones."""
    missing = np.isnan(column)
    fill = float(np.median(column[~missing])) if not missing.all() else 0.0
    filled = np.where(missing, fill, column).astype(np.float64)
    return fill, filled.mean(), filled.std()


def fitted(
    blank: Linear, z: Floats, y: npt.NDArray[Any], kind: str, penalty: float, monotone: Sequence[int] = ()
) -> Linear:
    """Fit a ridge (number), logistic (binary) or softmax (classes) regression.

    Args:
        blank: the model of `unfitted`.
        z: (rows, features), its standardised columns.
        penalty: half of it weighs the sum of squared weights against the sum of the losses.
        monotone: the sign of the weight of each column, or 0 for any.
    """
    from scipy.optimize import minimize

    rows, (features, outputs) = len(z), blank.weights.shape
    # In units of the label's deviation, the solver's tolerance suits every label.
    unit = (float(y.std(dtype=np.float64)) or 1.0) if kind == "number" else 1.0
    level = float(y.mean(dtype=np.float64)) if kind == "number" else 0.0
    wanted = (y - level) / unit

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights, bias = flat[:-outputs].reshape(features, outputs), flat[-outputs:]
        margins = z @ weights + bias
        apart = slack(margins, wanted, kind)
        gradient = np.append((z.T @ apart + penalty * weights).ravel(), apart.sum(axis=0))
        value = losses(margins, wanted, kind).sum() + penalty / 2 * (weights**2).sum()
        return float(value) / rows, gradient / rows

    ways = {1: (0, None), -1: (None, 0), 0: (None, None)}
    bounds = (
        [ways[way] for way in monotone for _ in range(outputs)] + [(None, None)] * outputs if any(monotone) else None
    )
    start = np.zeros((features + 1) * outputs)
    flat = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS}).x * unit
    return replace(blank, weights=flat[:-outputs].reshape(features, outputs), bias=flat[-outputs:] + level)


def average(models: Sequence[Linear]) -> Linear:
    """Return the model with the mean raw scores of models that have the same fill, mean and deviation."""
    weights, bias = (np.mean([getattr(model, name) for model in models], axis=0) for name in ("weights", "bias"))
    return replace(models[0], weights=weights, bias=bias)
