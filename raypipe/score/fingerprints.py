"""Keep fingerprints of a sample of the rows that a run reads, to compare them with a later read.

The sample is every n-th key, those with the smallest hashes: 1,000 to 1,600 entities, or all of fewer than 2,048. An
entity has 16 bits per column, which depend on its key and the column's value alone, not on the order of rows or slices.
A digest per column would be smaller, but a single new row would change each of them. These say which entities are new
or gone, and in how many of the others a column changed. They take about 150 kB per run with 60 columns.

Equal values: a NaN equals any NaN, -0.0 equals 0.0, and NULL equals only NULL. Floats are compared as Float32, because
ClickHouse's threads add numbers up in another order each time.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.artifact.contract import KEY_HASH, MATRIX, Matrix, matrix

SAMPLE = 1024
LARGEST = (1 << 64) - 1
# The constants of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
_SPREAD, _FIRST, _SECOND = (np.uint64(text) for text in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_NULL = np.uint64(0x6E756C6C6E756C6C)

Hashes = npt.NDArray[np.uint64]
Marks = npt.NDArray[np.uint16]
Rows = npt.NDArray[np.intp]


def spacing(rows: int) -> int:
    """Return the n of "every n-th key" for a population."""
    return max(1, rows // SAMPLE)


def condition(every: int) -> str:
    """Return the SQL condition that selects the sample from a compiled features query."""
    return f"ifNull({KEY_HASH}, 0) <= {LARGEST // every}"


@dataclass(frozen=True)
class Fingerprints:
    """The fingerprints of a sample.

    Attributes:
        every: the sample is every n-th key.
        matrix: the columns of the feature matrix.
        plain: the columns that are carried to publishing or read by the model unchanged.
        keys: (rows,), the hash of each key.
        marks: (rows, columns), the columns of the matrix first.
    """

    every: int
    matrix: tuple[str, ...]
    plain: tuple[str, ...]
    keys: Hashes
    marks: Marks

    @property
    def columns(self) -> tuple[str, ...]:
        """Name the columns of `marks`."""
        return (*self.matrix, *self.plain)

    def shared(self, other: Fingerprints) -> tuple[Rows, Rows]:
        """Return the rows of the keys that both have, in these fingerprints and in the others."""
        _, own, others = np.intersect1d(self.keys, other.keys, assume_unique=True, return_indices=True)
        return own, others

    def to_json(self) -> dict[str, Any]:
        """Return the fingerprints as JSON-ready values."""
        return {
            "every": self.every,
            "matrix": list(self.matrix),
            "plain": list(self.plain),
            "keys": _text(self.keys.astype("<u8")),
            "marks": _text(self.marks.astype("<u2")),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Fingerprints:
        """Read the document of `to_json`."""
        matrix, plain = tuple(document["matrix"]), tuple(document["plain"])
        keys = np.frombuffer(base64.b64decode(document["keys"]), "<u8").astype(np.uint64)
        marks = np.frombuffer(base64.b64decode(document["marks"]), "<u2").astype(np.uint16)
        return cls(document["every"], matrix, plain, keys, marks.reshape(len(keys), len(matrix) + len(plain)))


class Sampler:
    """Take the fingerprints of the sampled rows of many batches.

    Args:
        every: the sample is every n-th key.
        matrix: the columns of the feature matrix, in order.
        plain: other columns of the batches; a column of the matrix, or of a type without fingerprints, is left out.
    """

    def __init__(self, every: int, matrix: Sequence[str], plain: Sequence[str]) -> None:
        self._every = every
        self._matrix = tuple(matrix)
        self._plain = tuple(name for name in dict.fromkeys(plain) if name not in self._matrix)
        self._parts: list[tuple[Hashes, Matrix, pa.RecordBatch]] = []

    def add(self, batch: pa.RecordBatch, x: Matrix) -> None:
        """Add the rows of a batch that belong to the sample, with their matrix (rows, features)."""
        hashes = batch.column(KEY_HASH)
        keys = (pc.fill_null(hashes, 0) if hashes.null_count else hashes).to_numpy()
        rows = np.flatnonzero(keys <= np.uint64(LARGEST // self._every))
        if len(rows):
            # Mixed together at the end: the calls for a few rows would cost more than the rows.
            self._parts.append((keys[rows], x[rows], batch.select([KEY_HASH, *self._plain]).take(pa.array(rows))))

    def fingerprints(self) -> Fingerprints | None:
        """Return the fingerprints of all sampled rows so far; None without one."""
        if not self._parts:
            return None
        keys, matrices, batches = zip(*self._parts, strict=True)
        table = pa.Table.from_batches(batches).combine_chunks()
        plain = tuple(name for name in self._plain if _has_fingerprint(table.schema.field(name).type))
        others = [_bits(table.column(name).chunk(0))[:, np.newaxis] for name in plain]
        hashes = np.concatenate(keys)
        marks = _mixed(np.hstack([_float_bits(np.concatenate(matrices)), *others]), hashes[:, np.newaxis])
        return combined([Fingerprints(self._every, self._matrix, plain, hashes, marks)])

    def to_json(self) -> dict[str, Any]:
        """Return the fingerprints so far as JSON-ready values; empty without a sampled row."""
        known = self.fingerprints()
        return known.to_json() if known else {}


def combined(parts: Iterable[Fingerprints]) -> Fingerprints | None:
    """Return the fingerprints of several parts, by ascending key; those of a repeated key are added up."""
    known = list(parts)
    if not known:
        return None
    first = known[0]
    keys, places = np.unique(np.concatenate([part.keys for part in known]), return_inverse=True)
    marks = np.zeros((len(keys), len(first.columns)), np.uint16)
    np.add.at(marks, places, np.concatenate([part.marks for part in known]))
    return Fingerprints(first.every, first.matrix, first.plain, keys, marks)


def taken(rows: pa.Table, like: Fingerprints) -> Fingerprints:
    """Return the fingerprints of all rows of a compiled features query, in the columns of earlier fingerprints."""
    sampler = Sampler(1, like.matrix, like.plain)
    for batch in rows.to_batches():
        sampler.add(batch, matrix(batch.column(MATRIX), len(like.matrix)))
    return sampler.fingerprints() or replace(like, keys=like.keys[:0], marks=like.marks[:0])


def _mixed(bits: Hashes, keys: Hashes) -> Marks:
    """Mix the bits of values with the hash of their key, and return the 16 upper bits."""
    mixed = bits * _SPREAD ^ keys
    mixed = (mixed ^ mixed >> np.uint64(30)) * _FIRST
    mixed = (mixed ^ mixed >> np.uint64(27)) * _SECOND
    return (mixed >> np.uint64(48)).astype(np.uint16)


def _bits(column: pa.Array) -> Hashes:
    """Return 64 bits per value: the value itself, or a hash of a text, a decimal or a list."""
    kind = column.type
    if pa.types.is_temporal(kind):
        column = column.view(pa.int32() if kind.bit_width == 32 else pa.int64())
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    if pa.types.is_floating(kind):
        bits = _float_bits(pc.fill_null(column, 0).to_numpy(zero_copy_only=False))
    elif pa.types.is_integer(column.type):
        bits = pc.fill_null(column, 0).to_numpy(zero_copy_only=False).astype(np.uint64)
    else:
        values = column.cast(_readable(kind)).to_pylist()
        bits = np.fromiter((_hashed(value) for value in values), np.uint64, len(values))
    missing = pc.is_null(column).to_numpy(zero_copy_only=False)
    return np.where(missing, _NULL, bits)


def _float_bits(values: npt.NDArray[Any]) -> Hashes:
    with np.errstate(over="ignore"):
        # Adding zero turns -0.0 into 0.0.
        numbers = values.astype(np.float32) + np.float32(0)
    numbers[np.isnan(numbers)] = np.nan
    return numbers.view(np.uint32).astype(np.uint64)


def _hashed(value: object) -> int:
    data = value if isinstance(value, bytes) else json.dumps(value, default=str).encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _readable(kind: pa.DataType) -> pa.DataType:
    """Return the type with bytes in place of text, which may be any bytes in ClickHouse, and with Float32."""
    if pa.types.is_list(kind):
        return pa.list_(_readable(kind.value_type))
    if pa.types.is_floating(kind):
        return pa.float32()
    return pa.binary() if pa.types.is_string(kind) else kind


def _has_fingerprint(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return _has_fingerprint(kind.value_type)
    kinds = (pa.types.is_string, pa.types.is_binary, pa.types.is_fixed_size_binary, pa.types.is_decimal)
    return pa.types.is_primitive(kind) or any(is_kind(kind) for is_kind in kinds)


def _text(values: npt.NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()
