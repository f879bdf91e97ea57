"""Who read what: an Arrow table of interactions as one weighted pair per user and item, and as a sparse matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.errors import DataError, UsageError

Array = npt.NDArray[Any]

DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Interactions:
    """Weighted pairs of a user and an item, each pair once, ordered by user and item.

    Attributes:
        users: (pairs,), the number of the user, from 0.
        items: (pairs,), the position of the item in the catalogue.
        weights: (pairs,), float32, above 0.
        times: (pairs,), seconds since 1970 of the pair's last event; 0 where the table had no times.
        user_count: users with a pair, here or in a table that was read together with this one.
        item_count: items in the catalogue, read or not.
        dropped: rows of the table that are not here: an item that the catalogue lacks, or no weight above 0.
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

    def take(self, pairs: Array) -> Interactions:
        """The pairs that a mask or positions select; users keep their numbers."""
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
        """The weights as a `scipy.sparse.csr_matrix` of shape (users, items)."""
        from scipy.sparse import csr_matrix

        ends = np.cumsum(np.bincount(self.users, minlength=self.user_count))
        starts = np.concatenate(([0], ends)).astype(np.int32 if len(self) < 2**31 else np.int64)
        return csr_matrix((self.weights, self.items, starts), shape=(self.user_count, self.item_count))

    def popularity(self, as_of: datetime | None = None, half_life_days: float = 0.0) -> Array:
        """How many users each item has, (items,), float64, each halved every `half_life_days` before `as_of`."""
        decay = None
        if as_of is not None and half_life_days:
            decay = np.exp2((self.times - epoch(as_of)) / (DAY_SECONDS * half_life_days))
        counted: Array = np.bincount(self.items, weights=decay, minlength=self.item_count).astype(np.float64)
        return counted


def read(
    table: pa.Table,
    item_ids: pa.Array,
    *,
    keys: Sequence[str],
    item: str = "article_id",
    weight: str = "weight",
    time: str | None = "last_interaction_at",
) -> Interactions:
    """Puts the rows of a table together by user and item: weights are added, the last time counts.

    Args:
        table: one row per event or per pair.
        item_ids: the catalogue's ids, each once; a row with another id is dropped.
        keys: the columns that name a user together.
        item: the column with the item's id.
        weight: the column with the weight of a row.
        time: the column with its time, a timestamp in UTC or seconds since 1970; None where there is none.

    Raises:
        DataError: a column is missing.
    """
    return read_together([table], item_ids, keys=keys, item=item, weight=weight, time=time)[0]


def read_together(
    tables: Sequence[pa.Table],
    item_ids: pa.Array,
    *,
    keys: Sequence[str],
    item: str = "article_id",
    weight: str = "weight",
    time: str | None = "last_interaction_at",
) -> list[Interactions]:
    """What `read` gives for each table, with the same numbers for the same users in all of them."""
    wanted = (*keys, item, weight, *([time] if time else []))
    rows = pa.concat_tables([_selected(table, wanted) for table in tables])
    positions = positions_of(rows.column(item), item_ids)
    weights = numbers(rows.column(weight), np.float64)
    seconds = seconds_of(rows.column(time)) if time else np.zeros(len(rows), np.int64)
    kept = (positions >= 0) & (weights > 0) & np.isfinite(weights)
    users = np.zeros(len(rows), np.int64)
    users[kept], user_count = _codes(rows.filter(pa.array(kept)), keys)
    found, start = [], 0
    for table in tables:
        own = start + np.flatnonzero(kept[start : start + len(table)])
        pairs = users[own] * len(item_ids) + positions[own]
        found.append(_paired(pairs, weights[own], seconds[own], user_count, len(item_ids), len(table) - len(own)))
        start += len(table)
    return found


def _selected(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    absent = [name for name in columns if name not in table.column_names]
    if absent:
        raise DataError(
            "The interactions lack a column", found=", ".join(absent), next_step="select it in interactions.sql"
        )
    return table.select(list(columns))


def _paired(
    pairs: Array, weights: Array, seconds: Array, user_count: int, item_count: int, dropped: int
) -> Interactions:
    """Interactions from rows whose pair is user · items + item."""
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


def weigh(
    event_types: pa.ChunkedArray | pa.Array,
    times: pa.ChunkedArray | pa.Array,
    *,
    event_weights: Mapping[str, float],
    half_life_days: float,
    as_of: datetime,
) -> Array:
    """What each event counts: its type's weight, halved every `half_life_days` before `as_of`.

    interactions.sql computes the same inside ClickHouse; this is for events from elsewhere.

    Args:
        event_types: (events,), strings; a type that `event_weights` does not name counts nothing.
        times: (events,), timestamps in UTC or seconds since 1970; an event after `as_of` counts nothing.
        event_weights: by event type.
        half_life_days: 0 for no decay.
        as_of: the end of the window, with its zone.

    Returns:
        (events,), float64.

    Raises:
        UsageError: the half-life is negative, or `as_of` has no zone.
    """
    if half_life_days < 0:
        raise UsageError("A half-life cannot be negative", found=half_life_days, allowed="days, or 0 for no decay")
    names = pa.array(list(event_weights), pa.string())
    of_type = np.append(np.array(list(event_weights.values()), np.float64), 0.0)[positions_of(event_types, names)]
    age = (epoch(as_of) - seconds_of(times)) / DAY_SECONDS
    decay = np.exp2(-np.maximum(age, 0) / half_life_days) if half_life_days else 1.0
    counted: Array = np.where(age >= 0, of_type * decay, 0.0)
    return counted


def positions_of(ids: pa.ChunkedArray | pa.Array, among: pa.Array) -> Array:
    """The position of each id in `among`, (ids,), int64; -1 for one that is not there."""
    found = pc.index_in(ids, value_set=among)
    return numbers(pc.fill_null(found, -1), np.int64)


def numbers(column: pa.ChunkedArray | pa.Array, dtype: npt.DTypeLike) -> Array:
    """A column as a numpy array; NULL becomes NaN, so integers must have none."""
    return np.asarray(column.to_numpy(), dtype) if isinstance(column, pa.ChunkedArray) else _flat(column, dtype)


def seconds_of(column: pa.ChunkedArray | pa.Array) -> Array:
    """Times in whole seconds since 1970, (rows,), int64; NULL becomes 0."""
    if pa.types.is_timestamp(column.type):
        column = pc.cast(pc.cast(column, pa.timestamp("s", tz=column.type.tz), safe=False), pa.int64())
    return numbers(pc.fill_null(pc.cast(column, pa.int64()), 0), np.int64)


def epoch(moment: datetime) -> int:
    """Whole seconds since 1970.

    Raises:
        UsageError: the time has no zone.
    """
    if moment.tzinfo is None:
        raise UsageError("A time without a zone is ambiguous", found=moment.isoformat(), allowed="a time in UTC")
    return int(moment.astimezone(UTC).timestamp())


def _flat(column: pa.Array, dtype: npt.DTypeLike) -> Array:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype)


def _codes(table: pa.Table, columns: Sequence[str]) -> tuple[Array, int]:
    """A number from 0 for each distinct combination of the columns, in their order, and how many there are."""
    codes = np.zeros(table.num_rows, np.int64)
    for name in columns:
        # In order, since the server promises none of its rows: the same pairs have to give the same model.
        distinct = pc.unique(table.column(name)).sort()
        codes = codes * (len(distinct) + 1) + positions_of(table.column(name), distinct)
        # Compressed after each column, so that the product of their sizes cannot overflow.
        codes = np.unique(codes, return_inverse=True)[1]
    return codes, int(codes.max()) + 1 if len(codes) else 0
