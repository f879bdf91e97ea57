"""Read XGBoost's trees into flat arrays of perfect trees, in the order in which the compiled code needs them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.models.model import FloatArray

Indices = npt.NDArray[np.int64]
# A level more doubles the nodes, since every node is compared: from 9 levels on, XGBoost's own walk comes close.
DEEPEST = 8


class Unsuitable(Exception):
    """Compiled trees cannot replace the library for this model, or on this machine."""


@dataclass(frozen=True)
class Forest:
    """Trees whose sum, through a link function, is the score.

    A tree of depth d is perfect: 2^d − 1 nodes, children before their parent, and 2^d leaves from left to right. A
    value at or above a node's threshold goes right.

    Attributes:
        features: the columns of the matrix.
        base: the sum of no trees.
        link: a function of `LINKS`, from the sum to the score.
        stretches: depth and number of consecutive trees of one depth; sums keep the order of XGBoost.
        columns: the compared column per node, plus `features` where a missing value goes right.
        thresholds: the threshold per node.
        leaves: the values of the leaves.
    """

    features: int
    base: np.float32
    link: str
    stretches: tuple[tuple[int, int], ...]
    columns: Indices
    thresholds: FloatArray
    leaves: FloatArray


def _sigmoid(sums: FloatArray) -> None:
    np.negative(sums, out=sums)
    # XGBoost stops here, too: the exponential of a higher number is infinite in float32.
    np.minimum(sums, np.float32(88.7), out=sums)
    np.exp(sums, out=sums)
    sums += np.float32(1)
    np.reciprocal(sums, out=sums)


def _exp(sums: FloatArray) -> None:
    np.exp(sums, out=sums)


def _identity(sums: FloatArray) -> None:
    pass


# Each changes the sums in place.
LINKS: dict[str, Callable[[FloatArray], None]] = {"sigmoid": _sigmoid, "exp": _exp, "identity": _identity}
_OBJECTIVES = {
    "binary:logistic": "sigmoid",
    "reg:logistic": "sigmoid",
    "reg:squarederror": "identity",
    "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity",
    "count:poisson": "exp",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
}


def read_forest(document: Mapping[str, Any]) -> Forest:
    """Return the forest of a model in XGBoost's JSON.

    Raises:
        Unsuitable: the model has another kind of booster, objective or split, several outputs, or deeper trees.
    """
    learner = document["learner"]
    objective, booster = learner["objective"]["name"], learner["gradient_booster"]
    parameters = learner["learner_model_param"]
    if booster["name"] != "gbtree":
        raise Unsuitable(f"the booster is {booster['name']}")
    if objective not in _OBJECTIVES:
        raise Unsuitable(f"the objective is {objective}")
    trees, features = booster["model"]["trees"], int(parameters["num_feature"])
    if any(booster["model"]["tree_info"]) or int(parameters.get("num_target", 1)) > 1:
        raise Unsuitable("the model has several outputs")
    if any(any(tree["split_type"]) for tree in trees):
        raise Unsuitable("the model has categorical splits")
    depths = [_depth(tree) for tree in trees]
    if max(depths, default=0) > DEEPEST:
        raise Unsuitable(f"a tree has {max(depths)} levels, and more than {DEEPEST} are slow")
    columns, thresholds, leaves = _joined([_perfect(*pair, features) for pair in zip(trees, depths, strict=True)])
    if not np.isfinite(thresholds[thresholds != np.inf]).all():
        raise Unsuitable("a threshold is not finite")
    link = _OBJECTIVES[objective]
    stretches = tuple((depth, len(list(group))) for depth, group in groupby(depths))
    return Forest(features, _base(parameters["base_score"], link), link, stretches, columns, thresholds, leaves)


def _base(text: str, link: str) -> np.float32:
    """Return the sum that gives the model's base score; a list since XGBoost 3.1, a number before."""
    parsed = json.loads(text)
    (score,) = parsed if isinstance(parsed, list) else [parsed]
    score = np.float32(score)
    if link == "sigmoid":
        return np.float32(-np.log(np.float32(1) / score - np.float32(1)))
    return np.float32(np.log(score)) if link == "exp" else score


def _depth(tree: Mapping[str, Any]) -> int:
    depths = [0] * len(tree["left_children"])
    deepest = 0
    # A node comes after its parent.
    for left, right, depth in zip(tree["left_children"], tree["right_children"], depths, strict=True):
        if left >= 0:
            depths[left] = depths[right] = depth + 1
            deepest = max(deepest, depth + 1)
    return deepest


def _perfect(tree: Mapping[str, Any], depth: int, features: int) -> tuple[Indices, FloatArray, FloatArray]:
    """Return columns, thresholds and leaves of a tree; below an early leaf, all leaves repeat its value."""
    left, right, split = (np.array(tree[name], int) for name in ("left_children", "right_children", "split_indices"))
    values = np.array(tree["split_conditions"], np.float32)
    column = split + np.where(np.array(tree["default_left"], bool), 0, features)
    level = np.zeros(1, int)
    columns, thresholds = [np.zeros(0, int)], [np.zeros(0, np.float32)]
    for _ in range(depth):
        inner = left[level] >= 0
        columns.append(np.where(inner, column[level], 0))
        thresholds.append(np.where(inner, values[level], np.float32(np.inf)))
        level = np.stack([np.where(inner, left[level], level), np.where(inner, right[level], level)], 1).ravel()
    order = _children_first(depth)
    return np.concatenate(columns)[order], np.concatenate(thresholds)[order], values[level]


@cache
def _children_first(depth: int) -> Indices:
    """Return the nodes of a perfect tree, numbered level by level, with both children before their parent."""

    def below(node: int, levels: int) -> list[int]:
        return [*below(2 * node + 1, levels - 1), *below(2 * node + 2, levels - 1), node] if levels else []

    return np.array(below(0, depth), int)


def _joined(parts: Sequence[tuple[Indices, FloatArray, FloatArray]]) -> tuple[Indices, FloatArray, FloatArray]:
    if not parts:
        raise Unsuitable("the model has no trees")
    columns, thresholds, leaves = zip(*parts, strict=True)
    return np.concatenate(columns), np.concatenate(thresholds), np.concatenate(leaves)
