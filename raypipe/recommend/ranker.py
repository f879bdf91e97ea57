"""Recommends to batches of users: their factors by fold-in, scores as one matrix product, the top n of what is left."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import UsageError
from raypipe.recommend import candidates
from raypipe.recommend.als import FoldIn, one_blas_thread
from raypipe.recommend.candidates import NOWHERE, Candidates
from raypipe.recommend.histories import Users, histories_of
from raypipe.recommend.interactions import epoch
from raypipe.recommend.recommender import Recommender
from raypipe.recommend.topn import top_n

Array = npt.NDArray[Any]

# Scores that are in memory at once, for each thread; small enough to stay in a processor's cache for the most part.
BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Recommendations:
    """Recommended items, ordered by user and rank; a user with fewer candidates than asked for has fewer rows.

    Attributes:
        users: (rows,), int64, the user's row in the batch.
        items: (rows,), int64, positions in the catalogue.
        scores: (rows,), float32, falling with the rank.
        ranks: (rows,), uint16, from 1.
        popular: (rows,), bool, whether the user had no history and got what is popular.
    """

    users: Array
    items: Array
    scores: Array
    ranks: Array
    popular: Array

    def __len__(self) -> int:
        return len(self.users)

    def lists(self, users: int, n: int) -> Array:
        """The items by user and rank, (users, n), int64; -1 where there are fewer."""
        filled = np.full((users, n), NOWHERE, np.int64)
        kept = self.ranks <= n
        filled[self.users[kept], self.ranks[kept].astype(np.int64) - 1] = self.items[kept]
        return filled


class Ranker:
    """A recommender at a point in time. One process uses it from one thread.

    A user is recommended items of the own brand, published before that time and not too long before, that are not in
    the history. A user without a history gets the popular items of the brand, those of the own category first.

    Args:
        recommender: the fitted model.
        at: the time, with its zone; what is published from then on is not recommended.
        n: the length of a list, at most 65,535.
        threads: CPU threads to use.

    Raises:
        UsageError: an argument cannot be used.
    """

    def __init__(self, recommender: Recommender, *, at: datetime, n: int = 10, threads: int = 1) -> None:
        if not 1 <= n <= np.iinfo(np.uint16).max:
            raise UsageError("Lists of this length cannot be made", found=n, allowed="1 to 65535")
        if threads < 1:
            raise UsageError("Not a number of threads", found=threads, allowed="1 or more")
        self._recommender = recommender
        self._n = n
        self._threads = threads
        self._fold_in = FoldIn(recommender.factors, recommender.params.factorisation)
        self._at = epoch(at)
        items = candidates.eligible(recommender, self._at)
        brands = recommender.catalogue.brands[items]
        order = np.argsort(brands, kind="stable")
        self._items = {int(brands[rows[0]]): items[rows] for rows in _runs(brands, order)}
        # Each item is a candidate of its own brand only, so that one array serves all brands.
        self._column = np.full(len(recommender.catalogue), NOWHERE, np.int64)
        for of_brand in self._items.values():
            self._column[of_brand] = np.arange(len(of_brand))
        self._made: dict[int, Candidates] = {}

    def rank(self, users: Users) -> Recommendations:
        """Recommends to a batch of users, in bounded memory beyond the result.

        Raises:
            DataError: histories and weights differ in length.
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
        return Recommendations(*(column[order] for column in joined))

    def _warm(self, brand: int, histories: Any, rows: Array) -> Iterator[tuple[Array, ...]]:
        """Those with a history, block by block."""
        found = self._candidates(brand)
        size = max(1, BLOCK_BYTES // (4 * found.matrix.shape[1]))
        blocks = [rows[at : at + size] for at in range(0, len(rows), size)]
        if self._threads == 1 or len(blocks) < 2:
            return (self._block(found, histories, block) for block in blocks)
        with ThreadPoolExecutor(self._threads) as pool:
            return iter(list(pool.map(lambda block: self._block(found, histories, block), blocks)))

    def _block(self, found: Candidates, histories: Any, rows: Array) -> tuple[Array, ...]:
        weights = histories[rows]
        vectors = np.ones((len(rows), found.matrix.shape[0]), np.float32)
        factors = self._recommender.factors.shape[1]
        vectors[:, :factors] = self._fold_in(weights)
        vectors[:, factors:-1] = _profiles(weights, self._recommender.catalogue.content)
        scores = vectors @ found.matrix
        scores[:, len(found.items) :] = -np.inf
        read = self._column[weights.indices]
        reader = np.repeat(np.arange(len(rows)), np.diff(weights.indptr))
        scores[reader[read != NOWHERE], read[read != NOWHERE]] = -np.inf
        columns, values = top_n(scores, self._n)
        return _listed(rows, columns, values, found.items, popular=False)

    def _cold(self, brand: int, categories: Array, rows: Array) -> Iterator[tuple[Array, ...]]:
        """Those without a history: one list for each category, given to all of its users."""
        found = self._candidates(brand)
        catalogue = self._recommender.catalogue
        for group in _runs(categories[rows], np.argsort(categories[rows], kind="stable")):
            own = catalogue.categories[found.items[found.popular]] == categories[rows[group[0]]]
            first = np.concatenate((found.popular[own], found.popular[~own]))[: self._n]
            # Scores fall with the rank although the own category comes first: it has the upper half of the range.
            scores = (catalogue.popularity[found.items[first]] + np.sort(own)[::-1][: self._n]) / 2
            shape = (len(group), len(first))
            columns, values = np.broadcast_to(first, shape), np.broadcast_to(scores.astype(np.float32), shape)
            yield _listed(rows[group], columns, values, found.items, popular=True)

    def _candidates(self, brand: int) -> Candidates:
        if brand not in self._made:
            self._made[brand] = candidates.of_brand(self._recommender, self._items[brand], self._at)
        return self._made[brand]


_NOTHING: tuple[Array, ...] = (
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty(0, np.float32),
    np.empty(0, np.uint16),
    np.empty(0, np.bool_),
)


def _profiles(weights: Any, content: Array) -> Array:
    """What users read about, of length 1: the weighted sum of the content of their items."""
    profiles = weights @ content
    lengths = np.linalg.norm(profiles, axis=1, keepdims=True)
    directions: Array = np.divide(profiles, lengths, out=np.zeros_like(profiles), where=lengths > 0)
    return directions


def _listed(rows: Array, columns: Array, values: Array, items: Array, *, popular: bool) -> tuple[Array, ...]:
    """One row for each recommended item; what was not to be taken (-inf) is left out."""
    kept = np.isfinite(values)
    ranks = np.broadcast_to(np.arange(1, columns.shape[1] + 1, dtype=np.uint16), columns.shape)
    users = np.broadcast_to(rows[:, None], columns.shape)
    return users[kept], items[columns[kept]], values[kept], ranks[kept], np.full(int(kept.sum()), popular)


def _runs(values: Array, order: Array) -> list[Array]:
    """The positions of each distinct value, given the order that sorts them."""
    if not len(order):
        return []
    return np.split(order, np.flatnonzero(np.diff(values[order])) + 1)
