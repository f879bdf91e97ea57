"""Read one entity of a published run by its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.column_types import bare
from raypipe.clickhouse.statements import identifier, literal
from raypipe.clickhouse.tables import describe
from raypipe.data.slices import EVERYTHING, SLICE_PLACEHOLDER, unsliced
from raypipe.errors import UsageError
from raypipe.proof.published import Published
from raypipe.score.manifest import Manifest

# Enough to see that a part of a key fits several entities.
MOST_ROWS = 11
_TEXT = "raypipe_text_"


@dataclass(frozen=True)
class Key:
    """A key, or a part of it, as text by column."""

    values: Mapping[str, str]
    types: Mapping[str, str]

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.values.items())

    @property
    def parameters(self) -> dict[str, str]:
        """Return the values that the conditions bind."""
        return {f"key_{name}": value for name, value in self.values.items()}

    def condition(self, columns: Sequence[str], alias: str = "") -> str:
        """Return the SQL condition that columns, qualified by an alias, have the key's values."""
        prefix = f"{identifier(alias)}." if alias else ""
        parts = [f"{prefix}{identifier(name)} = {self._cast(name)}" for name in self.values if name in columns]
        return " AND ".join(parts) or EVERYTHING

    def _cast(self, name: str) -> str:
        return f"CAST({{key_{name}:String}}, {literal(self.types[name])})"


@dataclass(frozen=True)
class Row:
    """A row of the features query.

    Attributes:
        table: the row as the compiled query yields it.
        texts: keys and carried columns as text; None is NULL.
    """

    table: pa.Table
    texts: Mapping[str, str | None]


def parse(client: Client, words: Sequence[str], manifest: Manifest) -> Key:
    """Read a key from the command line.

    A word is `column=value`, or a bare value: the entity id where it is alone, else the key's values in their order.

    Raises:
        UsageError: there are more or fewer values than the key has, or a value is not of its column's type.
    """
    named = dict(word.split("=", 1) for word in words if word.partition("=")[0] in manifest.keys and "=" in word)
    values = [word for word in words if word.partition("=")[0] not in manifest.keys or "=" not in word]
    others = [name for name in manifest.keys if name not in named]
    names = [manifest.entity_id] if len(values) == 1 and manifest.entity_id in others else others
    if values and len(values) != len(names):
        raise UsageError(
            f"This is not a key of {manifest.pipeline}",
            found=" ".join(words),
            allowed=f"{manifest.entity_id} alone, {' '.join(manifest.keys).upper()}, or column=value for some of them",
            next_step="put a value in quotes if it has spaces",
        )
    types = dict(zip(manifest.keys, map(bare, manifest.key_types), strict=True))
    key = Key({**named, **dict(zip(names, values, strict=True))} if values else named, types)
    _require_types(client, key)
    return key


def _require_types(client: Client, key: Key) -> None:
    tests = [f"isNull(accurateCastOrNull({{key_{name}:String}}, {literal(key.types[name])}))" for name in key.values]
    (failed,) = client.rows(f"SELECT {', '.join(tests)}", key.parameters)
    for (name, value), is_unreadable in zip(key.values.items(), failed, strict=True):
        if is_unreadable:
            raise UsageError(
                f"The key column {name} cannot have this value",
                found=value,
                allowed=f"a value of {key.types[name]}",
                next_step=f"correct the value, or name its column: {name}=VALUE",
            )


def rows(client: Client, published: Published, key: Key, table: str) -> list[Row]:
    """Return the rows of a key in the source now, at most eleven.

    The key's condition takes the place of `{slice}`, so that ClickHouse reads a few granules of the base table. What a
    query joins or aggregates beside it is computed for every entity.

    Args:
        table: the base table of the features query.
    """
    base = describe(client, table)
    kinds = {column.name: bare(column.type) for column in base.columns} if base else {}
    columns = [name for name in key.values if kinds.get(name) == key.types[name]]
    placed = SLICE_PLACEHOLDER.sub(lambda match: f"({key.condition(columns, match[1] or '')})", published.select)
    with published.reading():
        # A query may yield another value under the name of a column of its base table.
        return _read(client, published, key, placed) or _read(client, published, key, unsliced(published.select))


def _read(client: Client, published: Published, key: Key, select: str) -> list[Row]:
    manifest = published.manifest
    plain = tuple(dict.fromkeys((*manifest.keys, *manifest.carry)))
    texts = ", ".join(f"toString({identifier(name)}) AS {_TEXT}{position}" for position, name in enumerate(plain))
    sql = f"SELECT *, {texts} FROM (\n{select}\n) WHERE {key.condition(manifest.keys)} LIMIT {MOST_ROWS}"
    table = client.table(sql, {**published.parameters, **key.parameters})
    names = [f"{_TEXT}{position}" for position in range(len(plain))]
    values = [[_decoded(value) for value in table.column(name).cast(pa.binary()).to_pylist()] for name in names]
    return [
        Row(table.slice(position, 1).drop_columns(names), dict(zip(plain, row, strict=True)))
        for position, row in enumerate(zip(*values, strict=True))
    ]


def _decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", errors="backslashreplace")
