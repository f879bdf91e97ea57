"""Cut a query's rows into slices: disjoint ranges of a table's sorting key that together cover all rows.

Boundaries come from the primary index, which answers in milliseconds without a scan. ClickHouse does not
prune by tuple comparisons, so a range over several key columns is written out:
`(a > x) OR (a = x AND b > y) OR (a = x AND b = y AND c >= z)`.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier, without_comments
from raypipe.clickhouse.tables import Table, describe, locate, split_expressions
from raypipe.data.bounds import bound_texts, bound_types, orders, plain_types
from raypipe.data.slice_count import slices_of
from raypipe.errors import UsageError

# Every slice reads about one granule per part beyond its share. With this many granules per slice, all slices
# together read at most a tenth more than the table in one piece.
GRANULES_PER_SLICE = 12
SAMPLED_KEYS = 20_000
# The server's default.
GRANULE_ROWS = 8192
EVERYTHING = "1"
SLICE_PLACEHOLDER = re.compile(r"\{slice(?::([A-Za-z_][A-Za-z0-9_]*))?\}")

Key = tuple[str, ...]


@dataclass(frozen=True)
class Slice:
    """A part of a query's rows: `lower <= key < upper`, or a bucket of a hash.

    Bounds are the values as text; None is open. Only hash slices have a `bucket`. On a cluster, `shard` is the place of
    the rows' shard among the shards, from 0.
    """

    index: int
    lower: Key | None = None
    upper: Key | None = None
    bucket: int | None = None
    shard: int = 0


@dataclass(frozen=True)
class Slicing:
    """The slices of a table, frozen in a run's manifest.

    Attributes:
        method: `index`, `quantiles`, `hash` or `whole`.
        columns: the key columns of the bounds.
        types: the ClickHouse types of the bound values: the columns' types, with instants in UTC.
        rows: the number of rows by the index; None if unknown.
    """

    method: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    slices: tuple[Slice, ...]
    rows: int | None = None

    def predicate(self, piece: Slice, alias: str = "") -> str:
        """Return the SQL condition of a slice, with bound parameters; `alias` qualifies the columns."""
        names = [f"{identifier(alias)}.{identifier(name)}" if alias else identifier(name) for name in self.columns]
        if piece.bucket is not None:
            parts = ", ".join(f"ifNull(toString({name}), '')" for name in names)
            buckets = sum(other.shard == piece.shard for other in self.slices)
            return f"cityHash64({parts}) % {buckets} = {piece.bucket}"
        bounds = []
        if piece.lower is not None:
            bounds.append(self._bound(names, "slice_lower", ">", ">="))
        if piece.upper is not None:
            bounds.append(self._bound(names, "slice_upper", "<", "<"))
        return " AND ".join(bounds) or EVERYTHING

    def parameters(self, piece: Slice) -> dict[str, str]:
        """Return the values of the parameters that `predicate` binds."""
        return {
            f"{name}_{position}": value
            for name, bound in (("slice_lower", piece.lower), ("slice_upper", piece.upper))
            for position, value in enumerate(bound or ())
        }

    def _bound(self, names: Sequence[str], parameter: str, beyond: str, last: str) -> str:
        values = [f"{{{parameter}_{position}:{type_name}}}" for position, type_name in enumerate(self.types)]
        chains = []
        for position, name in enumerate(names):
            equal = [f"{names[i]} = {values[i]}" for i in range(position)]
            comparison = last if position == len(names) - 1 else beyond
            chains.append("(" + " AND ".join([*equal, f"{name} {comparison} {values[position]}"]) + ")")
        return "(" + " OR ".join(chains) + ")"


def has_place(sql: str) -> bool:
    """Return whether the query has a place for a slice's predicate outside comments."""
    return SLICE_PLACEHOLDER.search(without_comments(sql)) is not None


def place(sql: str, slicing: Slicing, piece: Slice) -> str:
    """Restrict the query to a slice: its predicate replaces each `{slice}` or `{slice:alias}`."""
    return SLICE_PLACEHOLDER.sub(lambda match: f"({slicing.predicate(piece, match[1] or '')})", sql)


def unsliced(sql: str) -> str:
    """Return the query over all slices at once."""
    return SLICE_PLACEHOLDER.sub(EVERYTHING, sql)


def sampled(sql: str, every: int) -> str:
    """Return the query over every n-th granule of its MergeTree table; the server skips the others unread.

    The granules lie in the order of the key, so that each part of its range has its share.
    """

    def condition(match: re.Match[str]) -> str:
        offset = f"{identifier(match[1])}._part_offset" if match[1] else "_part_offset"
        return f"intDiv({offset}, {GRANULE_ROWS}) % {every} = 0"

    return SLICE_PLACEHOLDER.sub(condition, sql)


def together(slicings: Sequence[Slicing]) -> Slicing:
    """Return the slices of all shards as one slicing.

    Args:
        slicings: of the tables of the shards, which have one definition.
    """
    several = [slicing for slicing in slicings if len(slicing.slices) > 1] or slicings
    located = (replace(piece, shard=shard) for shard, slicing in enumerate(slicings) for piece in slicing.slices)
    slices = tuple(replace(piece, index=index) for index, piece in enumerate(located))
    known = [slicing.rows for slicing in slicings if slicing.rows is not None]
    rows = sum(known) if len(known) == len(slicings) else None
    return replace(several[0], slices=slices, rows=rows)


def cut(
    client: Client,
    table: str,
    *,
    slice_rows: int | None,
    pinned: Mapping[str, object] | None = None,
    keys: Sequence[str] = (),
) -> Slicing:
    """Cut a table into slices of about `slice_rows` rows.

    Args:
        table: the base table of the query, `table` or `database.table`.
        slice_rows: the desired rows per slice, None for those that suit the table; slices get larger if all together
            would read a tenth more than one.
        pinned: columns that the query fixes to a value, such as the snapshot's date.
        keys: the entity key, for a table whose sorting key does not help.

    Raises:
        UsageError: the table does not exist.
    """
    if slice_rows is not None and slice_rows < 1:
        raise UsageError("A slice needs at least one row", found=slice_rows, allowed="slice_rows >= 1")
    described = describe(client, table)
    if described is None:
        raise UsageError(
            f"The base table {table} does not exist in {client.endpoint.database}",
            next_step="create it, or name another table in the pipeline's source.table",
        )
    pinned = dict(pinned or {})
    for name in pinned:
        if described.column(name) is None:
            raise UsageError(
                f"The table {table} has no pinned column {name}",
                found=name,
                allowed=", ".join(column.name for column in described.columns),
                next_step="correct source.date_column, or the pinned column",
            )
    index = _index(client, table, described)
    columns = _range_columns(described, index, pinned)
    if columns:
        within = {name: pinned[name] for name in index if name in pinned}
        leading = {name: pinned[name] for name in itertools.takewhile(lambda name: name in pinned, index)}
        # ClickHouse leaves later columns out of the index if the first columns are almost unique.
        marks = _marks(client, table, described, columns, within) or _marks(client, table, described, columns, leading)
        if any(mark[3] for mark in marks):
            return _from_marks(columns, bound_types(described, columns), marks, slice_rows)
    return _without_index(client, table, described, keys, pinned, slice_rows)


def _index(client: Client, table: str, described: Table) -> tuple[str, ...]:
    """Return the columns of the primary index: the sorting key, or the part of it that PRIMARY KEY names."""
    if not described.engine.endswith("MergeTree"):
        return ()
    database, name = locate(client, table)
    primary = client.value(
        "SELECT primary_key FROM system.tables WHERE database = {database:String} AND name = {name:String}",
        {"database": database, "name": name},
    )
    return described.sorting_key[: len(split_expressions(primary))]


def _range_columns(table: Table, index: Sequence[str], pinned: Mapping[str, object]) -> tuple[str, ...]:
    """Return the index columns behind the pinned ones that a range can use: plain, never NULL or NaN."""
    unpinned = itertools.dropwhile(lambda name: name in pinned, index)
    usable = itertools.takewhile(lambda name: name not in pinned and orders(table, name), unpinned)
    return tuple(usable)


def _marks(
    client: Client, table: str, described: Table, columns: Sequence[str], pinned: Mapping[str, object]
) -> list[tuple[Key, int, str, bool]]:
    """Return the entries of the primary index, in the order of the key.

    An entry is the key at a granule's start, the granule's rows, its part, and whether the key can be bound
    as text: a String may contain any bytes.
    """
    database, name = locate(client, table)
    condition, values = _pinned_condition(described, pinned)
    texts = bound_texts(described, columns)
    order = ", ".join(identifier(column) for column in columns)
    rows = client.rows(
        f"SELECT {texts}, rows_in_granule, part_name, isValidUTF8(concat({texts}, ''))"
        " FROM mergeTreeIndex({index_database:String}, {index_table:String})"
        f" WHERE {condition} AND rows_in_granule > 0 ORDER BY {order}",
        {"index_database": database, "index_table": name, **values},
    )
    return [(tuple(row[: len(columns)]), row[-3], row[-2], bool(row[-1])) for row in rows]


def _from_marks(
    columns: tuple[str, ...], types: tuple[str, ...], marks: list[tuple[Key, int, str, bool]], slice_rows: int | None
) -> Slicing:
    rows = sum(mark[1] for mark in marks)
    parts = len({mark[2] for mark in marks})
    count = max(1, min(slices_of(rows, slice_rows), len(marks) // (GRANULES_PER_SLICE * parts)))
    bounds: list[Key] = []
    passed = 0
    for key, granule, _, is_text in marks:
        is_due = is_text and len(bounds) < count - 1 and passed >= rows * (len(bounds) + 1) / count
        # Rows with the same key stay in one slice.
        if is_due and key != (bounds[-1] if bounds else marks[0][0]):
            bounds.append(key)
        passed += granule
    return _ranges("index" if bounds else "whole", columns, types, bounds, rows)


def _ranges(
    method: str, columns: tuple[str, ...], types: tuple[str, ...], bounds: Sequence[Key], rows: int | None
) -> Slicing:
    edges: list[Key | None] = [None, *bounds, None]
    slices = tuple(Slice(i, lower, upper) for i, (lower, upper) in enumerate(itertools.pairwise(edges)))
    return Slicing(method, columns, types, slices, rows)


def _without_index(
    client: Client,
    table: str,
    described: Table,
    keys: Sequence[str],
    pinned: Mapping[str, object],
    slice_rows: int | None,
) -> Slicing:
    """Cut by quantiles of the entity key, or by its hash if it cannot be compared."""
    where, values = _pinned_condition(described, pinned)
    rows = int(client.value(f"SELECT count() FROM {identifier(table)} WHERE {where}", values))
    count = slices_of(rows, slice_rows)
    names = tuple(keys)
    if count <= 1 or not names:
        return Slicing("whole", (), (), (Slice(0),), rows)
    if all(orders(described, name) for name in names):
        bounds = _sampled_bounds(client, table, bound_texts(described, names), names, where, values, rows, count)
        if bounds:
            return _ranges("quantiles", names, bound_types(described, names), bounds, rows)
    return Slicing("hash", names, ("String",) * len(names), tuple(Slice(i, bucket=i) for i in range(count)), rows)


def _pinned_condition(table: Table, pinned: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    conditions = [f"{identifier(name)} = {{pin_{i}:{plain_types(table, [name])[0]}}}" for i, name in enumerate(pinned)]
    return " AND ".join(conditions) or EVERYTHING, {f"pin_{i}": value for i, value in enumerate(pinned.values())}


def _sampled_bounds(
    client: Client,
    table: str,
    texts: str,
    names: Key,
    where: str,
    values: Mapping[str, object],
    rows: int,
    count: int,
) -> list[Key]:
    order = ", ".join(identifier(name) for name in names)
    every = max(1, rows // SAMPLED_KEYS)
    sample = client.rows(
        f"SELECT DISTINCT {texts}, {order} FROM {identifier(table)} WHERE {where} AND cityHash64({texts}) % {every} = 0"
        f" AND isValidUTF8(concat({texts}, ''))"
        f" ORDER BY {order}",
        values,
    )
    keys: list[Key] = [tuple(row[: len(names)]) for row in sample]
    step = len(keys) / count
    picked = [keys[int(i * step)] for i in range(1, count)] if step >= 1 else []
    return list(dict.fromkeys(picked))
