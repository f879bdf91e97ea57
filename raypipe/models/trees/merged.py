"""Join boosted forests of one objective into a forest whose raw score is their weighted sum."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from raypipe.errors import ModelError

Document = Mapping[str, Any]


def merged(forests: Sequence[Document], weights: Sequence[float], bias: float = 0.0) -> dict[str, Any]:
    """Return the model, in XGBoost's JSON, of the weighted sum of raw scores plus a bias.

    Explanations and importance of the result are those of the joined trees: gains keep their own units.

    Args:
        forests: at least one model of XGBoost's tree booster, as `save_raw("json")` gives it.
    """
    joined = copy.deepcopy(dict(forests[0]))
    model = joined["learner"]["gradient_booster"]["model"]
    trees, groups = [], []
    for forest, weight in zip(forests, weights, strict=True):
        own = forest["learner"]["gradient_booster"]["model"]
        trees += [_scaled(tree, weight) for tree in own["trees"]]
        groups += own["tree_info"]
    outputs = max(1, int(joined["learner"]["learner_model_param"]["num_class"]))
    model["trees"] = [{**tree, "id": at} for at, tree in enumerate(trees)]
    model["tree_info"] = groups
    model["iteration_indptr"] = list(range(0, len(trees) + 1, outputs))
    model["gbtree_model_param"]["num_trees"] = str(len(trees))
    joined["learner"]["learner_model_param"]["base_score"] = _base(forests, weights, bias)
    return joined


def _scaled(tree: Document, weight: float) -> dict[str, Any]:
    """Return a tree with its leaves, and the means of its nodes, times a weight."""
    conditions = [
        value * weight if left < 0 else value
        for value, left in zip(tree["split_conditions"], tree["left_children"], strict=True)
    ]
    return {
        **tree,
        "split_conditions": conditions,
        "base_weights": [value * weight for value in tree["base_weights"]],
    }


def _base(forests: Sequence[Document], weights: Sequence[float], bias: float) -> str:
    """Return the base score of the sum: a probability for a logistic objective, otherwise raw scores."""
    logistic = forests[0]["learner"]["objective"]["name"] == "binary:logistic"
    bases = [list(_bases(forest, logistic)) for forest in forests]
    sums = [
        bias + sum(weight * base for weight, base in zip(weights, column, strict=True))
        for column in zip(*bases, strict=True)
    ]
    if logistic:
        sums = [1 / (1 + math.exp(-value)) for value in sums]
    return json.dumps(sums)


def _bases(forest: Document, logistic: bool) -> Iterator[float]:
    parsed = json.loads(forest["learner"]["learner_model_param"]["base_score"])
    for base in parsed if isinstance(parsed, list) else [parsed]:
        if not logistic:
            yield float(base)
        elif 0 < base < 1:
            yield -math.log(1 / base - 1)
        else:
            raise ModelError("A forest has a base score that is no probability", found=str(base))
