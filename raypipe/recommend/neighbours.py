"""Find the items that are read shortly after one another, by many readers.

Two reads of a reader are together if few other reads lie between them, and less so the more time lies between them. The
nearness of an item j to an item i is their weight together, divided by readers(i)^0.5 · readers(j)^popular: item-item
collaborative filtering (Sarwar et al. 2001, "Item-based collaborative filtering recommendation algorithms") on the
reader's order of reading instead of the whole history.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.recommend.interactions import DAY_SECONDS, Interactions
from raypipe.recommend.parameters import CovisitParameters

Array = npt.NDArray[Any]

# More reads hardly change the counts. Readers are numbered at random, so the first are a sample.
MOST_READS = 1_000_000
# The rows of a matrix of items in memory at once.
BLOCK_ITEMS = 1_000
# The readers whose best nearness sets the unit, and the quantile that gets the value 1.
SCALED_READERS, UNIT_QUANTILE = 2_000, 0.9


def nearest(interactions: Interactions, offered: Array, params: CovisitParameters) -> Any:
    """Return the nearness of each item's neighbours, a csr_matrix (items, items), float32.

    The unit is such that the best item of one reader in ten is nearer than 1, summed over the reader's items.

    Args:
        offered: (items,), bool, the items that may be recommended; others are no neighbours.
    """
    from scipy.sparse import vstack

    pairs = _latest(interactions, params.longest)
    readers = np.bincount(pairs.items, minlength=pairs.item_count) + 1.0
    beside = offered * readers**-params.popular
    parts = []
    for start, together in _together(pairs, params):
        rows = start + _rows(together)
        together.data *= np.where(rows == together.indices, 0, readers[rows] ** -0.5 * beside[together.indices])
        parts.append(_strongest(together, params.count))
    near = vstack(parts, "csr")
    near.data /= _unit(pairs, near)
    return near


def known(histories: Any) -> Any:
    """Return histories with weights of at most 1, for products with `nearest`: rereading is no stronger sign."""
    bounded = histories.copy()
    bounded.data = np.minimum(bounded.data, 1)
    return bounded


def _latest(interactions: Interactions, longest: int) -> Interactions:
    """Return the latest pairs of each reader in their order, of readers with at most `MOST_READS` pairs."""
    some = interactions
    if len(some) > MOST_READS:
        some = some.take(slice(int(np.searchsorted(some.users, some.users[MOST_READS]))))
    users, times = some.users, some.times
    order = np.lexsort((times, users))
    ends = np.cumsum(np.bincount(users, minlength=interactions.user_count))
    return some.take(order[ends[users[order]] - np.arange(len(order)) <= longest])


def _together(pairs: Interactions, params: CovisitParameters) -> Iterator[tuple[int, Any]]:
    """Yield the weights of items read together, as blocks of rows (items, items) with their first row."""
    if pairs.times.any():
        yield 0, _soon(pairs, params)
        return
    # Without times there is no order: all items of a reader are together.
    read = pairs.matrix()
    read.data[:] = 1
    readers = read.T.tocsr()
    for start in range(0, pairs.item_count, BLOCK_ITEMS):
        yield start, (readers[start : start + BLOCK_ITEMS] @ read).tocsr()


def _soon(pairs: Interactions, params: CovisitParameters) -> Any:
    """Return the decayed weights of items between which a reader read few others, a csr_matrix (items, items)."""
    from scipy.sparse import coo_matrix, csr_matrix

    shape = (pairs.item_count, pairs.item_count)
    total = csr_matrix(shape, dtype=np.float32)
    for later in range(1, params.reads + 1):
        first = np.flatnonzero(pairs.users[later:] == pairs.users[:-later])
        second = first + later
        days = (pairs.times[second] - pairs.times[first]) / DAY_SECONDS
        weights = np.exp2(-days / params.half_life_days) if params.half_life_days else np.ones(len(days))
        total += coo_matrix((weights.astype(np.float32), (pairs.items[first], pairs.items[second])), shape).tocsr()
    return (total + total.T).tocsr()


def _strongest(matrix: Any, count: int) -> Any:
    """Keep the highest values above 0 of each row of a csr_matrix."""
    from scipy.sparse import csr_matrix

    rows = _rows(matrix)
    order = np.lexsort((-matrix.data, rows))
    kept = order[(np.arange(len(order)) - matrix.indptr[rows] < count) & (matrix.data[order] > 0)]
    return csr_matrix((matrix.data[kept], (rows[kept], matrix.indices[kept])), matrix.shape, np.float32)


def _rows(matrix: Any) -> Array:
    """Return the row of each value of a csr_matrix."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def _unit(pairs: Interactions, near: Any) -> float:
    """Return the nearness of the best item of a reader that only one reader in ten exceeds."""
    some = pairs.take(pairs.users < SCALED_READERS).matrix()[:SCALED_READERS]
    best = (known(some) @ near).max(axis=1).toarray().ravel()
    return float(np.quantile(best[best > 0], UNIT_QUANTILE)) if best.any() else 1.0
