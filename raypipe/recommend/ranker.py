"""Rank unread items for batches of users: factors by fold-in, and scores as one matrix product."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.errors import UsageError
from raypipe.recommend.als import FoldIn, one_blas_thread
from raypipe.recommend.catalogue import UNDATED
from raypipe.recommend.histories import Users, histories_of
from raypipe.recommend.interactions import DAY_SECONDS
from raypipe.recommend.lists import arranged, pool_of
from raypipe.recommend.neighbours import known
from raypipe.recommend.recommender import Recommender
from raypipe.recommend.top_n import padded, top_n
from raypipe.registry.rows import unix_seconds

Array = npt.NDArray[Any]

# The scores in memory at once, per thread; most of them stay in the processor's cache.
BLOCK_BYTES = 8 << 20
NOWHERE = -1

# Returns factors (users, factors) for a csr_matrix (users, items) of weights.
Fold = Callable[[Any], Array]


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
        matrix: (factors + content width + 1, columns), float32, each part times its weight, without parts of no
            weight. Its product with (user factors, content profile, 1) is the hybrid score but for the nearness, and
            its last row does not depend on the user. The columns beyond the candidates are 0.
        nearness: the nearness to each item times its weight, a csr_matrix (items, candidates); None without a weight.
        categories: (candidates,), the number of the category, -1 without one.
        authors: (candidates,), the number of the author, -1 without one.
        popular: (candidates,), columns, the most popular first; the newer of two equals comes first.
    """

    items: Array
    matrix: Array
    nearness: Any
    popular: Array
    categories: Array
    authors: Array


class Ranker:
    """A recommender at a point in time. One thread uses it.

    A user is recommended unread items of the own brand that were published before this time and are young enough. Users
    without a history get the popular items of the brand, with the own category first.

    Args:
        at: the time, with its zone; later items are not recommended.
        n: the length of a list, at most 65,535.
        fold_in: computes the factors of histories; the recommender's `FoldIn` by default.

    Raises:
        UsageError: an argument cannot be used.
    """

    def __init__(
        self, recommender: Recommender, *, at: datetime, n: int = 10, threads: int = 1, fold_in: Fold | None = None
    ) -> None:
        if not 1 <= n <= np.iinfo(np.uint16).max:
            raise UsageError("The length of a list cannot be used", found=n, allowed="1 to 65535")
        if threads < 1:
            raise UsageError("The number of threads cannot be used", found=threads, allowed="1 or more")
        self._recommender = recommender
        self._n = n
        self._pool = pool_of(n, recommender.params.lists)
        self._threads = threads
        self._fold_in: Fold | None = None
        if recommender.params.als:
            self._fold_in = fold_in or FoldIn(recommender.factors, recommender.params.factorisation)
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
        scores = self._vectors(weights) @ candidates.matrix
        if candidates.nearness is not None:
            near = known(weights) @ candidates.nearness
            scores[np.repeat(np.arange(len(rows)), np.diff(near.indptr)), near.indices] += near.data
        scores[:, len(candidates.items) :] = -np.inf
        read = self._column[weights.indices]
        reader = np.repeat(np.arange(len(rows)), np.diff(weights.indptr))
        scores[reader[read != NOWHERE], read[read != NOWHERE]] = -np.inf
        columns, values = self._arranged(candidates, *top_n(scores, self._pool))
        return _listed(rows, columns, values, candidates.items, popular=False)

    def _vectors(self, weights: Any) -> Array:
        """Return the users' side of the matrix product: factors, content profile and 1, each only if it counts."""
        parts = [np.ones((weights.shape[0], 1), np.float32)]
        if self._recommender.params.content:
            parts.insert(0, _profiles(weights, self._recommender.catalogue.content))
        if self._fold_in:
            parts.insert(0, self._fold_in(weights))
        return np.concatenate(parts, axis=1)

    def _arranged(self, candidates: Candidates, columns: Array, values: Array) -> tuple[Array, Array]:
        groups = candidates.categories, candidates.authors
        return arranged(columns, values, *groups, self._n, self._recommender.params.lists)

    def _cold(self, brand: int, categories: Array, rows: Array) -> Iterator[tuple[Array, ...]]:
        """Rank for users without a history: all users of a category get the same list."""
        candidates = self._candidates(brand)
        catalogue = self._recommender.catalogue
        for group in _runs(categories[rows], np.argsort(categories[rows], kind="stable")):
            own = catalogue.categories[candidates.items[candidates.popular]] == categories[rows[group[0]]]
            first = np.concatenate((candidates.popular[own], candidates.popular[~own]))[: self._pool]
            # The own category takes the upper half of the range, so that scores fall with the rank.
            scores = (catalogue.popularity[candidates.items[first]] + np.sort(own)[::-1][: self._pool]) / 2
            listed = self._arranged(candidates, first[None], scores[None].astype(np.float32))
            columns, values = (np.broadcast_to(own, (len(group), own.shape[1])) for own in listed)
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
    return np.flatnonzero((published < at) & ((published >= oldest) | (published == UNDATED)))


def _candidates_of(recommender: Recommender, items: Array, at: int) -> Candidates:
    """Return the candidates among the items of one brand at a time (seconds since 1970)."""
    catalogue, params = recommender.catalogue, recommender.params
    general = params.popularity * catalogue.popularity[items]
    if params.freshness:
        age_days = (at - catalogue.published[items].astype(np.float64)) / DAY_SECONDS
        general += params.freshness * np.exp2(-age_days / params.freshness_half_life_days)
    parts = [general[None]]
    if params.content:
        parts.insert(0, params.content * catalogue.content[items].T)
    if params.als:
        parts.insert(0, params.als * recommender.factors[items].T)
    used = np.concatenate(parts).astype(np.float32)
    matrix = np.zeros((len(used), padded(len(items))), np.float32)
    matrix[:, : len(items)] = used
    return Candidates(
        items,
        matrix,
        (recommender.nearest[:, items] * np.float32(params.neighbours)).tocsr() if params.neighbours else None,
        np.lexsort((-catalogue.published[items], -catalogue.popularity[items])),
        _groups(catalogue.categories[items], catalogue.category_ids),
        _groups(catalogue.authors[items], catalogue.author_ids),
    )


def _groups(numbers: Array, names: pa.Array) -> Array:
    """Return the numbers of groups, with -1 for the group without a name."""
    return np.where(numbers == pc.index(names, "").as_py(), -1, numbers)
