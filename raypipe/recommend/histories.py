"""Turn the histories of a batch of users into a sparse matrix over the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.errors import DataError
from raypipe.recommend.catalogue import Catalogue
from raypipe.recommend.interactions import numbers, positions_of

Array = npt.NDArray[Any]

# The columns of features.sql that describe a user's history.
HISTORY = ("read_articles", "read_weights")
INPUTS = ("brand_id", "category_id", *HISTORY)


@dataclass(frozen=True)
class Users:
    """A batch of users in the order of `INPUTS`.

    Attributes:
        brand_ids: (users,), strings.
        category_ids: (users,), strings, the preferred category; '' or NULL if unknown.
        items: (users,), lists of read articles: ids, or positions in the catalogue as integers.
        weights: (users,), lists of the articles' weights, of the same lengths.
    """

    brand_ids: pa.Array
    category_ids: pa.Array
    items: pa.Array
    weights: pa.Array

    def take(self, rows: Array) -> Users:
        """Return the users at some positions."""
        at = pa.array(rows)
        columns = (self.brand_ids, self.category_ids, self.items, self.weights)
        return Users(*(column.take(at) for column in columns))


@dataclass(frozen=True)
class Histories:
    """A batch of users by position.

    Attributes:
        brands: (users,), the position of the brand in the catalogue's brands; -1 for an unknown brand.
        categories: (users,), the position of the category; -1 for an unknown category.
        weights: a csr_matrix (users, items), float32, of each user's articles of the own brand.
    """

    brands: Array
    categories: Array
    weights: Any


def histories_of(users: Users, catalogue: Catalogue) -> Histories:
    """Find users' brands, categories and articles in the catalogue.

    Articles of other brands, articles that the catalogue lacks and weights that are not above 0 are left out.

    Raises:
        DataError: a user has more or fewer weights than articles.
    """
    from scipy.sparse import csr_matrix

    lengths = _lengths(users.items)
    if not np.array_equal(lengths, _lengths(users.weights)):
        at = int(np.flatnonzero(lengths != _lengths(users.weights))[0])
        raise DataError(
            "A user's articles and weights differ in number",
            found=f"row {at}: {lengths[at]} and {_lengths(users.weights)[at]}",
            next_step="build both arrays from the same rows in features.sql",
        )
    brands = positions_of(users.brand_ids, catalogue.brand_ids)
    known = positions_of(users.category_ids, catalogue.category_ids)
    named = numbers(pc.fill_null(pc.not_equal(users.category_ids, ""), False), np.bool_)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    items = _positions(users.items.flatten(), catalogue)
    weights = numbers(users.weights.flatten(), np.float32)
    kept = (items >= 0) & (weights > 0) & np.isfinite(weights)
    kept[kept] = catalogue.brands[items[kept]] == brands[rows[kept]]
    starts = np.concatenate(([0], np.cumsum(np.bincount(rows[kept], minlength=len(lengths)))))
    shape = (len(lengths), len(catalogue))
    matrix = csr_matrix((weights[kept], items[kept].astype(np.int32), starts.astype(np.int32)), shape=shape)
    # An article that occurs twice in a history has one confidence, not two.
    matrix.sum_duplicates()
    return Histories(brands, np.where(named, known, -1), matrix)


def _positions(items: pa.Array, catalogue: Catalogue) -> Array:
    if not pa.types.is_integer(items.type):
        return positions_of(items, catalogue.ids)
    positions = numbers(pc.fill_null(items, -1), np.int64)
    return np.where(positions < len(catalogue), positions, -1)


def _lengths(lists: pa.Array) -> Array:
    return numbers(pc.fill_null(pc.list_value_length(lists), 0), np.int64)
