"""Rank unread items for batches of users: factors by fold-in, and scores as one matrix product."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import UsageError
from raypipe.recommend.als import FoldIn, one_blas_thread
from raypipe.recommend.histories import Users, histories_of
from raypipe.recommend.interactions import DAY_SECONDS
from raypipe.recommend.recommender import Recommender
from raypipe.recommend.top_n import padded, top_n
from raypipe.registry.rows import unix_seconds

Array = npt.NDArray[Any]

# The scores in memory at once, per thread; most of them stay in the processor's cache.
BLOCK_BYTES = 8 << 20
NOWHERE = -1


@dataclass(frozen=True)
class RankedItems:
    """Recommended items, ordered by user and rank; a user with few candidates has fewer rows.

    Attributes:
        users: (rows,), int64, the user's row in the batch.
        items: (rows,), int64, positions in the catalogue.
        scores: (rows,), float32, falling with the rank.
        ranks: (rows,), uint16, from 1.
        popular: (rows,), bool, whether the user had no history and got popular items.
    """

    users: Array
    items: Array
    scores: Array
    ranks: Array
    popular: Array

    def __len__(self) -> int:
        return len(self.users)

    def lists(self, users: int, n: int) -> Array:
        """Return the items by user and rank, (users, n), int64; -1 beyond the end of a list."""
        filled = np.full((users, n), NOWHERE, np.int64)
        kept = self.ranks <= n
        filled[self.users[kept], self.ranks[kept].astype(np.int64) - 1] = self.items[kept]
        return filled


@dataclass(frozen=True)
class Candidates:
    """The items that may be recommended to the users of one brand.

    Attributes:
        items: (candidates,), positions in the catalogue.
        matrix: (factors + content width + 1, columns), float32, each part times its weight. Its product with (user
            factors, content profile, 1) is the hybrid score, and its last row does not depend on the user. The columns
            beyond the candidates are 0.
        popular: (candidates,), columns, the most popular first; the newer of two equals comes first.
    """

    items: Array
    matrix: Array
    popular: Array


class Ranker:
    """A recommender at a point in time. One thread uses it.

    A user is recommended unread items of the own brand that were published before this time and are young enough. Users
    without a history get the popular items of the brand, with the own category first.

    Args:
        at: the time, with its zone; later items are not recommended.
        n: the length of a list, at most 65,535.

    Raises:
        UsageError: an argument cannot be used.
    """

    def __init__(self, recommender: Recommender, *, at: datetime, n: int = 10, threads: int = 1) -> None:
        if not 1 <= n <= np.iinfo(np.uint16).max:
            raise UsageError("The length of a list cannot be used", found=n, allowed="1 to 65535")
        if threads < 1:
            raise UsageError("The number of threads cannot be used", found=threads, allowed="1 or more")
        self._recommender = recommender
        self._n = n
        self._threads = threads
        self._fold_in = FoldIn(recommender.factors, recommender.params.factorisation)
        self._at = unix_seconds(at)
        items = _eligible(recommender, self._at)
        brands = recommender.catalogue.brands[items]
        order = np.argsort(brands, kind="stable")
        self._items = {int(brands[rows[0]]): items[rows] for rows in _runs(brands, order)}
        # Each item is a candidate of its own brand only, so one array serves all brands.
        self._column = np.full(len(recommender.catalogue), NOWHERE, np.int64)
        for of_brand in self._items.values():
            self._column[of_brand] = np.arange(len(of_brand))
        self._cached: dict[int, Candidates] = {}

    def rank(self, users: Users) -> RankedItems:
        """Recommend items to a batch of users, in bounded memory beyond the result.

        Raises:
            DataError: a user's articles and weights differ in number.
        """
        batch = histories_of(users, self._recommender.catalogue)
        has_history = np.diff(batch.weights.indptr) > 0
        parts = [_NOTHING]
        with one_blas_thread():
            for rows in _runs(batch.brands, np.argsort(batch.brands, kind="stable")):
                brand = int(batch.brands[rows[0]])
                if brand in self._items:
                    parts += self._warm(brand, batch.weights, rows[has_history[rows]])
                    parts += self._cold(brand, batch.categories, rows[~has_history[rows]])
        joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
        order = np.argsort(joined[0], kind="stable")
        return RankedItems(*(column[order] for column in joined))

    def _warm(self, brand: int, histories: Any, rows: Array) -> Iterator[tuple[Array, ...]]:
        """Rank for users with a history, block by block."""
        candidates = self._candidates(brand)
        size = max(1, BLOCK_BYTES // (4 * candidates.matrix.shape[1]))
        blocks = [rows[at : at + size] for at in range(0, len(rows), size)]
        if self._threads == 1 or len(blocks) < 2:
            return (self._block(candidates, histories, block) for block in blocks)
        with ThreadPoolExecutor(self._threads) as pool:
            return iter(list(pool.map(lambda block: self._block(candidates, histories, block), blocks)))

    def _block(self, candidates: Candidates, histories: Any, rows: Array) -> tuple[Array, ...]:
        weights = histories[rows]
        vectors = np.ones((len(rows), candidates.matrix.shape[0]), np.float32)
        factors = self._recommender.factors.shape[1]
        vectors[:, :factors] = self._fold_in(weights)
        vectors[:, factors:-1] = _profiles(weights, self._recommender.catalogue.content)
        scores = vectors @ candidates.matrix
        scores[:, len(candidates.items) :] = -np.inf
        read = self._column[weights.indices]
        reader = np.repeat(np.arange(len(rows)), np.diff(weights.indptr))
        scores[reader[read != NOWHERE], read[read != NOWHERE]] = -np.inf
        columns, values = top_n(scores, self._n)
        return _listed(rows, columns, values, candidates.items, popular=False)

    def _cold(self, brand: int, categories: Array, rows: Array) -> Iterator[tuple[Array, ...]]:
        """Rank for users without a history: all users of a category get the same list."""
        candidates = self._candidates(brand)
        catalogue = self._recommender.catalogue
        for group in _runs(categories[rows], np.argsort(categories[rows], kind="stable")):
            own = catalogue.categories[candidates.items[candidates.popular]] == categories[rows[group[0]]]
            first = np.concatenate((candidates.popular[own], candidates.popular[~own]))[: self._n]
            # The own category takes the upper half of the range, so that scores fall with the rank.
            scores = (catalogue.popularity[candidates.items[first]] + np.sort(own)[::-1][: self._n]) / 2
            shape = (len(group), len(first))
            columns, values = np.broadcast_to(first, shape), np.broadcast_to(scores.astype(np.float32), shape)
            yield _listed(rows[group], columns, values, candidates.items, popular=True)

    def _candidates(self, brand: int) -> Candidates:
        if brand not in self._cached:
            self._cached[brand] = _candidates_of(self._recommender, self._items[brand], self._at)
        return self._cached[brand]


_NOTHING: tuple[Array, ...] = (
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty(0, np.float32),
    np.empty(0, np.uint16),
    np.empty(0, np.bool_),
)


def _profiles(weights: Any, content: Array) -> Array:
    """Return the weighted sum of the content of the users' items, scaled to length 1."""
    profiles = weights @ content
    lengths = np.linalg.norm(profiles, axis=1, keepdims=True)
    directions: Array = np.divide(profiles, lengths, out=np.zeros_like(profiles), where=lengths > 0)
    return directions


def _listed(rows: Array, columns: Array, values: Array, items: Array, *, popular: bool) -> tuple[Array, ...]:
    """Return one row per recommended item, without excluded items (-inf)."""
    kept = np.isfinite(values)
    ranks = np.broadcast_to(np.arange(1, columns.shape[1] + 1, dtype=np.uint16), columns.shape)
    users = np.broadcast_to(rows[:, None], columns.shape)
    return users[kept], items[columns[kept]], values[kept], ranks[kept], np.full(int(kept.sum()), popular)


def _runs(values: Array, order: Array) -> list[Array]:
    """Return the positions of each distinct value, given the order that sorts the values."""
    if not len(order):
        return []
    return np.split(order, np.flatnonzero(np.diff(values[order])) + 1)


def _eligible(recommender: Recommender, at: int) -> Array:
    """Return positions of the items that were published before `at` (seconds since 1970) and are young enough."""
    published, max_age = recommender.catalogue.published, recommender.params.max_age_days
    oldest = at - max_age * DAY_SECONDS if max_age else -np.inf
    return np.flatnonzero((published < at) & (published >= oldest))


def _candidates_of(recommender: Recommender, items: Array, at: int) -> Candidates:
    """Return the candidates among the items of one brand at a time (seconds since 1970)."""
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
