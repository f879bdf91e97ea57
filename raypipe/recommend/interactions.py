"""Turn an Arrow table of interactions into one weighted pair per user and item, and into a sparse matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.errors import DataError

Array = npt.NDArray[Any]

DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Interactions:
    """Weighted pairs of a user and an item, each pair once, ordered by user and item.

    Attributes:
        users: (pairs,), the number of the user, from 0.
        items: (pairs,), the position of the item in the catalogue.
        weights: (pairs,), float32, above 0.
        times: (pairs,), seconds since 1970 of the pair's last event.
        user_count: users with a pair, here or in a table that was read together with this table.
        item_count: items in the catalogue, read or not.
        dropped: rows left out, whose item is not in the catalogue or whose weight is not above 0.
    """

    users: Array
    items: Array
    weights: Array
    times: Array
    user_count: int
    item_count: int
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.users)

    def take(self, pairs: Array | slice) -> Interactions:
        """Return the pairs at a mask, positions or a slice; users keep their numbers."""
        return Interactions(
            self.users[pairs],
            self.items[pairs],
            self.weights[pairs],
            self.times[pairs],
            self.user_count,
            self.item_count,
            self.dropped,
        )

    def matrix(self) -> Any:
        """Return the weights as a `scipy.sparse.csr_matrix` (users, items)."""
        from scipy.sparse import csr_matrix

        ends = np.cumsum(np.bincount(self.users, minlength=self.user_count))
        starts = np.concatenate(([0], ends)).astype(np.int32 if len(self) < 2**31 else np.int64)
        return csr_matrix((self.weights, self.items, starts), shape=(self.user_count, self.item_count))


def read(table: pa.Table, item_ids: pa.Array, *, keys: Sequence[str]) -> Interactions:
    """Merge the rows of a table by user and item: weights add up, and the last time counts.

    Args:
        table: article_id, and where they are known weight (otherwise 1) and last_interaction_at (a timestamp in UTC or
            seconds since 1970), with one row per event or per pair.
        item_ids: the catalogue's distinct ids; rows with other ids are dropped.

    Raises:
        DataError: a column is missing.
    """
    return read_together([table], item_ids, keys=keys)[0]


def read_together(tables: Sequence[pa.Table], item_ids: pa.Array, *, keys: Sequence[str]) -> list[Interactions]:
    """Read several tables like `read`, with the same number for a user in all of them."""
    rows = pa.concat_tables([_selected(table, (*keys, "article_id")) for table in tables])
    positions = positions_of(rows.column("article_id"), pc.cast(item_ids, pa.string()))
    weights = numbers(rows.column("weight"), np.float64)
    seconds = seconds_of(rows.column("last_interaction_at"))
    kept = (positions >= 0) & (weights > 0) & np.isfinite(weights)
    users = np.zeros(len(rows), np.int64)
    users[kept], user_count = _codes(rows.filter(pa.array(kept)), keys)
    read, start = [], 0
    for table in tables:
        own = start + np.flatnonzero(kept[start : start + len(table)])
        pairs = users[own] * len(item_ids) + positions[own]
        read.append(_paired(pairs, weights[own], seconds[own], user_count, len(item_ids), len(table) - len(own)))
        start += len(table)
    return read


def _selected(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    absent = [name for name in columns if name not in table.column_names]
    if absent:
        raise DataError(
            "The interactions lack a column", found=", ".join(absent), next_step="select it in interactions.sql"
        )
    at = table.column_names.index("article_id")
    table = table.set_column(at, "article_id", pc.cast(table.column(at), pa.string()))
    for name, value in (("weight", pa.scalar(1.0, pa.float32())), ("last_interaction_at", pa.scalar(0, pa.int64()))):
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(value, table.num_rows))
    return table.select([*columns, "weight", "last_interaction_at"])


def _paired(
    pairs: Array, weights: Array, seconds: Array, user_count: int, item_count: int, dropped: int
) -> Interactions:
    """Return interactions from rows whose pair is encoded as user · items + item."""
    order = np.argsort(pairs, kind="stable")
    pairs = pairs[order]
    starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    if not len(starts):
        none = np.empty(0, np.int64)
        return Interactions(none, none, none.astype(np.float32), none, user_count, item_count, dropped)
    return Interactions(
        (pairs[starts] // item_count).astype(np.int32),
        (pairs[starts] % item_count).astype(np.int32),
        np.add.reduceat(weights[order], starts).astype(np.float32),
        np.maximum.reduceat(seconds[order], starts),
        user_count,
        item_count,
        dropped,
    )


def positions_of(ids: pa.ChunkedArray | pa.Array, among: pa.Array) -> Array:
    """Return the position of each id in `among`, (ids,), int64; -1 for an unknown id."""
    return numbers(pc.fill_null(pc.index_in(ids, value_set=among), -1), np.int64)


def numbers(column: pa.ChunkedArray | pa.Array, dtype: npt.DTypeLike) -> Array:
    """Return a column as a numpy array; NULL becomes NaN, so columns of integers must have no NULL."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype)


def seconds_of(column: pa.ChunkedArray | pa.Array) -> Array:
    """Return times in whole seconds since 1970, (rows,), int64; NULL becomes 0."""
    if pa.types.is_timestamp(column.type):
        column = pc.cast(pc.cast(column, pa.timestamp("s", tz=column.type.tz), safe=False), pa.int64())
    return numbers(pc.fill_null(pc.cast(column, pa.int64()), 0), np.int64)


def _codes(table: pa.Table, columns: Sequence[str]) -> tuple[Array, int]:
    """Number the distinct combinations of the columns from 0, in their order, and count them."""
    codes = np.zeros(table.num_rows, np.int64)
    for name in columns:
        # Sorted, since the order of the server's rows may vary and the same pairs must give the same model.
        distinct = pc.unique(table.column(name)).sort()
        codes = codes * (len(distinct) + 1) + positions_of(table.column(name), distinct)
        # Compressed after each column, so that the product of the columns' sizes cannot overflow.
        codes = np.unique(codes, return_inverse=True)[1]
    return codes, int(codes.max()) + 1 if len(codes) else 0
