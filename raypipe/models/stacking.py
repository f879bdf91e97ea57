"""Divide rows into folds, and weigh the parts of a blend by the rows held out."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.models.links import losses, slack
from raypipe.models.model import Matrix

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

# Rows' worth of belief in the first weights: few rows say little about which part is better.
BELIEF = 1.0
# A part may go if the loss grows by less than this share without it.
SUPERFLUOUS = 0.001


def folds(rows: Matrix, kind: str, count: int, seed: int) -> Iterator[tuple[Positions, Positions]]:
    """Yield the rows to fit on and the rows held out, `count` times; each row is held out once.

    The rows of an entity share a fold. Otherwise each fold holds the classes in about equal shares.
    """
    rng = np.random.default_rng(seed)
    if rows.entities is not None:
        place = rng.permutation(int(rows.entities.max()) + 1)[rows.entities] % count
    else:
        shuffled = rng.permutation(len(rows))
        order = shuffled if kind == "number" else shuffled[np.argsort(rows.y[shuffled], kind="stable")]
        place = np.empty(len(rows), np.int64)
        place[order] = np.arange(len(rows)) % count
    for fold in range(count):
        yield np.flatnonzero(place != fold), np.flatnonzero(place == fold)


def weigh_needed(margins: Sequence[Floats], y: npt.NDArray[Any], kind: str) -> tuple[Floats, float]:
    """Return the weights and the bias of `weigh`, with 0 for every part that the others make superfluous.

    A forest that adds nothing would cost its time at each score.
    """
    kept = list(range(len(margins)))
    weights, bias = weigh(margins, y, kind)
    loss = _loss(margins, weights, bias, y, kind)
    for part in np.argsort(weights).tolist()[:-1]:
        rest = [other for other in kept if other != part]
        fewer, shift = weigh([margins[other] for other in rest], y, kind)
        if _loss([margins[other] for other in rest], fewer, shift, y, kind) <= loss * (1 + SUPERFLUOUS):
            kept, bias = rest, shift
            weights = np.zeros(len(margins))
            weights[kept] = fewer
    return weights, bias


def _loss(margins: Sequence[Floats], weights: Floats, bias: float, y: npt.NDArray[Any], kind: str) -> float:
    mixed = np.full_like(margins[0], bias)
    for weight, part in zip(weights, margins, strict=True):
        mixed += weight * part
    return float(losses(mixed, y, kind).mean())


def weigh(margins: Sequence[Floats], y: npt.NDArray[Any], kind: str) -> tuple[Floats, float]:
    """Return the weights, none below 0, and the bias with which the parts' raw scores lose least.

    For a binary label this calibrates, too (Platt 1999). Equal weights are the first guess.

    Args:
        margins: (rows, outputs) of each part.
        y: (rows,), the label; the number of the class for classes.
    """
    from scipy.optimize import minimize

    rows, parts = len(y), len(margins)
    unit = (float(y.std(dtype=np.float64)) or 1.0) if kind == "number" else 1.0
    level = float(y.mean(dtype=np.float64)) if kind == "number" else 0.0
    wanted, scaled = (y - level) / unit, [(margin - level) / unit for margin in margins]
    first = np.append(np.full(parts, 1 / parts), 0.0)

    def loss(flat: Floats) -> tuple[float, Floats]:
        mixed = flat[-1] + sum(weight * part for weight, part in zip(flat, scaled, strict=False))
        apart, off = slack(mixed, wanted, kind), flat - first
        gradient = np.append([float((apart * part).sum()) for part in scaled], apart.sum())
        value = float(losses(mixed, wanted, kind).sum()) + BELIEF / 2 * float(off @ off)
        return value / rows, (gradient + BELIEF * off) / rows

    bounds = [(0, None)] * parts + [(None, None) if kind != "classes" else (0, 0)]
    flat = minimize(loss, first, jac=True, method="L-BFGS-B", bounds=bounds).x
    # The weights of centred parts leave over a part of the centre.
    return flat[:-1], float(flat[-1]) * unit + level * (1 - float(flat[:-1].sum()))
