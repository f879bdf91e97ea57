"""Make lists of the highest scores: caps by category and author, and a price for sameness."""

from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.recommend.parameters import ListParameters

Array = npt.NDArray[Any]

# Scores considered for each place of a list where rules apply.
POOL = 3
# Beyond the range of scores, so that an item beyond a cap comes after all others.
BEYOND = np.float32(1e4)


def pool_of(n: int, rules: ListParameters) -> int:
    """Return the number of highest scores that a list of n items is made of."""
    return POOL * n if rules.any else n


def arranged(
    columns: Array, values: Array, categories: Array, authors: Array, n: int, rules: ListParameters
) -> tuple[Array, Array]:
    """Choose the items of each list from the highest scores, one place after the other (greedily).

    An item's score counts less for each item above of the same category. An item beyond a cap comes after all others.
    The returned scores are not above the score of the item above, so that they fall with the rank.

    Args:
        columns: (rows, pool), candidates by falling score; `values` are their scores, -inf beyond the end.
        categories: (candidates,), the number of the item's category, -1 without one; `authors` alike.

    Returns:
        Columns and values, (rows, n) each.
    """
    if not rules.any:
        return columns[:, :n], values[:, :n]
    category, author = categories[columns], authors[columns]
    same_category, same_author = (np.zeros(columns.shape, np.int32) for _ in range(2))
    left, every = values.copy(), np.arange(len(columns))
    listed, scores = np.empty((len(columns), n), columns.dtype), np.empty((len(columns), n), np.float32)
    for place in range(n):
        cost = np.float32(rules.diversity) * same_category
        if rules.per_category:
            cost += BEYOND * (same_category >= rules.per_category)
        if rules.per_author:
            cost += BEYOND * (same_author >= rules.per_author)
        best = np.argmax(left - cost, axis=1)
        listed[:, place], scores[:, place] = columns[every, best], left[every, best]
        left[every, best] = -np.inf
        same_category += _same(category, best)
        same_author += _same(author, best)
    return listed, np.minimum.accumulate(scores, axis=1)


def _same(groups: Array, best: Array) -> Array:
    """Return which items are in the group of the chosen item, if it has a group."""
    own = groups[np.arange(len(groups)), best][:, None]
    same: Array = (groups == own) & (own >= 0)
    return same
