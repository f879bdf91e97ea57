"""The candidates of a brand at a time: what may be recommended, as one matrix whose product with users is the score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.recommend.interactions import DAY_SECONDS
from raypipe.recommend.recommender import Recommender
from raypipe.recommend.topn import padded

Array = npt.NDArray[Any]

NOWHERE = -1


@dataclass(frozen=True)
class Candidates:
    """What may be recommended to the users of one brand.

    Attributes:
        items: (candidates,), positions in the catalogue.
        matrix: (factors + content width + 1, columns), float32: each part times its weight, so that a product with
            (user factors, content profile, 1) is the hybrid score; the last row is what does not depend on the
            user. The columns beyond the candidates are 0.
        popular: (candidates,), columns, the most popular first, of equals the newest.
    """

    items: Array
    matrix: Array
    popular: Array


def eligible(recommender: Recommender, at: int) -> Array:
    """Positions of the items that were published before `at` (seconds since 1970) and not too long before."""
    published, max_age = recommender.catalogue.published, recommender.params.max_age_days
    oldest = at - max_age * DAY_SECONDS if max_age else -np.inf
    return np.flatnonzero((published < at) & (published >= oldest))


def of_brand(recommender: Recommender, items: Array, at: int) -> Candidates:
    """The candidates that the given items of one brand make at a time (seconds since 1970)."""
    catalogue, params = recommender.catalogue, recommender.params
    factors, width = recommender.factors.shape[1], catalogue.content.shape[1]
    matrix = np.zeros((factors + width + 1, padded(len(items))), np.float32)
    matrix[:factors, : len(items)] = np.float32(params.als) * recommender.factors[items].T
    matrix[factors:-1, : len(items)] = np.float32(params.content) * catalogue.content[items].T
    matrix[-1, : len(items)] = params.popularity * catalogue.popularity[items]
    if params.freshness:
        age_days = (at - catalogue.published[items]) / DAY_SECONDS
        matrix[-1, : len(items)] += params.freshness * np.exp2(-age_days / params.freshness_half_life_days)
    popular = np.lexsort((-catalogue.published[items], -catalogue.popularity[items]))
    return Candidates(items, matrix, popular)
