"""Compile the feature contract, frozen at fit time, to one SELECT.

Training and scoring run the same projection, so there is no second encoder that could differ. The
features arrive as one `Array(Float32)` column `x`. Its values buffer in Arrow is the row-major matrix.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier, literal
from raypipe.errors import DataError, ModelError

Matrix = npt.NDArray[np.float32]
Missing = int | float | str
Types = Mapping[str, str]

MATRIX = "x"
KEY_HASH = "key_hash"
RESERVED = {MATRIX, KEY_HASH, "label", "score", "slice", "chunk", "attempt"}


@dataclass(frozen=True)
class FrozenFeature:
    """One declared feature with everything that the compiled query needs.

    Attributes:
        type: the column's ClickHouse type at fit time.
        encode: for a category, `onehot` (a matrix column per value) or `ordinal` (one column of codes).
        vocabulary: a category's known values, most frequent first; other values count as missing.
        missing: values that stand for "not known".
        default: the replacement of a missing value; None is NaN.
        monotone: -1, 0 or 1, the direction in which a model may use the feature.
    """

    name: str
    kind: str
    type: str
    encode: str = "ordinal"
    vocabulary: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    default: float | None = None
    monotone: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Name the matrix columns that this feature fills."""
        if self.kind == "category" and self.encode == "onehot":
            return tuple(f"{self.name}={value}" for value in self.vocabulary)
        return (self.name,)

    def expressions(self) -> list[str]:
        """Return a Float32 expression for each of `columns`."""
        column = identifier(self.name)
        absent = "toFloat32(nan)" if self.default is None else f"toFloat32({literal(float(self.default))})"
        unusable = self._unusable(column)
        # Each branch is cast by itself: an Int64 or a Decimal beside a float has no common type.
        known = [f"toFloat32({text})" for text in self._known(column, absent)]
        return [f"if({unusable}, {absent}, {text})" for text in known] if unusable else known

    def _known(self, column: str, absent: str) -> list[str]:
        value = f"assumeNotNull({column})" if _is_nullable(self.type) else column
        if self.kind != "category":
            return [value]
        text = f"toString({value})"
        words = f"[{', '.join(literal(word) for word in self.vocabulary)}]"
        if self.encode == "onehot":
            return [f"if(has({words}, {text}), toFloat32({text} = {literal(w)}), {absent})" for w in self.vocabulary]
        codes = ", ".join(f"toFloat32({code})" for code in range(len(self.vocabulary)))
        return [f"transform({text}, {words}, [{codes}], {absent})"]

    def _unusable(self, column: str) -> str:
        """Return a condition that holds for NULL, and for a number also at a sentinel, NaN or an infinity."""
        tests = [f"isNull({column})"] if _is_nullable(self.type) else []
        if self.kind == "category":
            return " OR ".join(tests)
        if self.missing:
            # 0.1 as a Float32 differs from 0.1 as a Float64, so a sentinel takes the column's own precision.
            cast = "toFloat32({})" if "Float32" in self.type else "{}"
            tests.append(f"{column} IN ({', '.join(cast.format(literal(value)) for value in self.missing)})")
        if "Float" in self.type or "256" in self.type or "Decimal" in self.type:
            # One infinity makes a model's whole batch fail. A number beyond Float32 becomes an infinity.
            tests.append(f"NOT isFinite(toFloat32({column}))")
        return " OR ".join(tests)


@dataclass(frozen=True)
class Contract:
    """The columns that a model reads: entity keys, columns carried to publishing, and the feature matrix.

    Attributes:
        inputs: columns that the model reads unchanged, beside the matrix.
        parameters: the values of the config's `parameters` at the fit.
    """

    keys: tuple[str, ...]
    key_types: tuple[str, ...]
    carry: tuple[str, ...]
    carry_types: tuple[str, ...]
    features: tuple[FrozenFeature, ...]
    inputs: tuple[str, ...] = ()
    input_types: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Name the matrix columns, in order."""
        return tuple(name for feature in self.features for name in feature.columns)

    def only(self, names: Collection[str]) -> Contract:
        """Return the contract with the named features alone."""
        return replace(self, features=tuple(feature for feature in self.features if feature.name in names))

    @property
    def monotone(self) -> tuple[int, ...]:
        """Return the monotone constraint of each matrix column."""
        return tuple(feature.monotone for feature in self.features for _ in feature.columns)

    @property
    def sha256(self) -> str:
        """Return the contract's identity, a hash of its canonical JSON."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def matrix_expression(self) -> str:
        """Return the `Array(Float32)` expression of one row of the feature matrix."""
        return f"[{', '.join(text for feature in self.features for text in feature.expressions())}]"

    def key_expression(self) -> str:
        """Return the UInt64 hash of the entity key; checksums are sums of it."""
        return key_hash(self.keys)

    def select(self, features_sql: str) -> str:
        """Compile the query of keys, carried columns, inputs, the key's hash and the matrix `x`.

        Args:
            features_sql: the pipeline's features query, with its `{slice}` filled in.
        """
        # A column that is both carried and an input is read once.
        plain = ", ".join(identifier(name) for name in dict.fromkeys((*self.keys, *self.carry, *self.inputs)))
        return (
            f"SELECT {plain}, {self.key_expression()} AS {KEY_HASH}, {self.matrix_expression()} AS {MATRIX}\n"
            f"FROM (\n{features_sql}\n)"
        )

    @property
    def schema(self) -> dict[str, str]:
        """Return the columns that the model reads of a features query, with their ClickHouse types."""
        plain = dict(zip((*self.keys, *self.carry), (*self.key_types, *self.carry_types), strict=True))
        plain |= dict(zip(self.inputs, self.input_types, strict=True))
        return plain | {feature.name: feature.type for feature in self.features}

    def check(self, types: Types) -> None:
        """Refuse a features query that lacks a column of the fit or has another type for it.

        A query may have more columns than the model reads. Where a column is missing, the additional columns are listed
        as well: it may have been renamed.
        """
        expected = self.schema
        if any(types.get(name) != wanted for name, wanted in expected.items()):
            raise DataError(
                "The features query does not yield the columns that the model was fitted on",
                found="; ".join(difference(expected, types)),
                next_step="restore the columns, or fit a new version with `raypipe fit --changed-contract`",
            )

    def to_json(self) -> dict[str, Any]:
        """Return the contract as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Contract:
        """Read the contract that `to_json` wrote."""
        try:
            features = tuple(
                FrozenFeature(**{**item, "vocabulary": tuple(item["vocabulary"]), "missing": tuple(item["missing"])})
                for item in document["features"]
            )
            names = ("keys", "key_types", "carry", "carry_types", "inputs", "input_types")
            columns = {name: tuple(document[name]) for name in names}
            return cls(**columns, features=features, parameters=document["parameters"])
        except (KeyError, TypeError) as error:
            raise ModelError("The model's contract.json cannot be read by this raypipe", found=repr(error)) from error


def difference(expected: Types, actual: Types) -> list[str]:
    """List the columns with another type, then the missing ones, then the additional ones."""
    changed = [
        f"{name}: {actual[name]} instead of {wanted}"
        for name, wanted in expected.items()
        if name in actual and actual[name] != wanted
    ]
    missing = [f"{name}: missing instead of {wanted}" for name, wanted in expected.items() if name not in actual]
    added = [f"{name}: added, {kind}" for name, kind in actual.items() if name not in expected]
    return [*changed, *missing, *added]


def key_hash(keys: Sequence[str]) -> str:
    """Return the SQL of the entity key's hash, which keeps ('a', 'bc') and ('ab', 'c') apart."""
    return f"cityHash64({', '.join(f'toString({identifier(name)})' for name in keys)})"


def describe_query(client: Client, sql: str, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the names and ClickHouse types of a query's columns without running it."""
    return {row[0]: row[1] for row in client.rows(f"DESCRIBE TABLE (\n{sql}\n)", parameters)}


def require_columns(types: Types, wanted: Sequence[str], role: str, source: str) -> None:
    """Refuse a query that lacks a column, and name the columns with the most similar names."""
    for name in wanted:
        if name not in types:
            near = difflib.get_close_matches(name, types, n=3)
            raise DataError(
                f"The {role} {name!r} is not a column of {source}",
                found=", ".join(types),
                allowed=f"did you mean {', '.join(near)}?" if near else None,
                next_step=f"add it to the SELECT in {source}, or remove it from the pipeline's config",
            )


def matrix(column: pa.Array | pa.ChunkedArray, width: int | None = None) -> Matrix:
    """Return the feature matrix of a list column, without a copy where it has a single chunk.

    Args:
        column: `list<float32>`, one list per row of the matrix, none of them null.
        width: the number of features; needed only where there may be no rows.

    Returns:
        float32 of shape (rows, features).
    """
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [_chunk_matrix(chunk, width) for chunk in chunks if len(chunk)]
    if not parts:
        return np.empty((0, width or 0), dtype=np.float32)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _chunk_matrix(chunk: pa.ListArray, width: int | None) -> Matrix:
    # `flatten` keeps to the slice's own rows, and copies nothing where no row is null.
    values = chunk.flatten().to_numpy(zero_copy_only=True)
    rows = len(chunk)
    if values.dtype != np.float32 or values.size % rows or (width is not None and values.size != rows * width):
        raise DataError(
            "A feature matrix has the wrong shape",
            found=f"{values.size} values of {values.dtype} in {rows} rows",
            allowed=f"float32, {width} per row" if width is not None else "float32, the same number per row",
        )
    shaped: Matrix = values.reshape(rows, -1)
    return shaped


def _is_nullable(type_name: str) -> bool:
    return type_name.startswith(("Nullable(", "LowCardinality(Nullable("))
