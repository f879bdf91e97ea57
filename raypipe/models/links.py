"""Turn raw scores into probabilities, and measure their loss, for each kind of label."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

# The exponential of a higher number is infinite in float32.
HIGHEST = 88.0


def linked(margins: Floats, kind: str) -> Floats:
    """Return probabilities of raw scores: (rows, 1) becomes (rows,), and (rows, classes) keeps its shape.

    A number is its own raw score.
    """
    if kind == "classes":
        return softmax(margins)
    return sigmoid(margins[:, 0]) if kind == "binary" else margins[:, 0]


def sigmoid(margins: Floats) -> Floats:
    """Return the probability of each log odds."""
    chances: Floats = 1 / (1 + np.exp(np.clip(-margins, -HIGHEST, HIGHEST)))
    return chances


def softmax(margins: Floats) -> Floats:
    """Return probabilities (rows, classes) with the sum 1."""
    powers = np.exp(margins - margins.max(axis=1, keepdims=True))
    chances: Floats = powers / powers.sum(axis=1, keepdims=True)
    return chances


def losses(margins: Floats, y: npt.NDArray[Any], kind: str) -> Floats:
    """Return the loss of each row: log loss in nats, or half the squared error of a number.

    Args:
        margins: (rows, outputs), raw scores.
        y: (rows,), the label; the number of the class for classes.
    """
    if kind == "number":
        halves: Floats = (margins[:, 0] - y) ** 2 / 2
        return halves
    if kind == "binary":
        return np.logaddexp(0, np.where(y > 0.5, -margins[:, 0], margins[:, 0]))
    highest = margins.max(axis=1)
    total = highest + np.log(np.exp(margins - highest[:, None]).sum(axis=1))
    lost: Floats = total - margins[np.arange(len(y)), y.astype(int)]
    return lost


def slack(margins: Floats, y: npt.NDArray[Any], kind: str) -> Floats:
    """Return the derivative of each row's loss by its raw scores, (rows, outputs)."""
    wanted = np.eye(margins.shape[1])[y.astype(int)] if kind == "classes" else y[:, None]
    chances = linked(margins, kind).reshape(margins.shape)
    apart: Floats = chances - wanted
    return apart
