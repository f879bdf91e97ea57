"""Find the value of a slice column in every row of a scoring pass, from what the pass reads anyway."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.artifact.contract import Contract, Matrix

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Slicer:
    """A slice column: a key or carried column of the batch, or a category of the matrix.

    Attributes:
        positions: the matrix columns of the category; empty for a column of the batch.
        vocabulary: the category's values. A missing or unknown value is the empty string.
        is_coded: whether one matrix column has the value's place in the vocabulary.
    """

    name: str
    positions: tuple[int, ...] = ()
    vocabulary: tuple[str, ...] = ()
    is_coded: bool = False

    @property
    def is_plain(self) -> bool:
        """Return whether the values are in a column of the batch."""
        return not self.positions

    def words(self, rows: Matrix, table: pa.Table | None) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Return the distinct values, and the position of each row's value among them."""
        if self.is_plain:
            return _encoded(table.column(self.name)) if table is not None else ([], np.empty(0, np.int64))
        values, size = rows[:, list(self.positions)], len(self.vocabulary)
        if self.is_coded:
            codes = values[:, 0]
            codes = np.where((codes >= 0) & (codes < size), codes, size)
        else:
            codes = np.where((values == 1).any(axis=1), (values == 1).argmax(axis=1), size)
        return [*self.vocabulary, ""], codes.astype(np.int64)


def _encoded(column: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int64]]:
    encoded = pc.dictionary_encode(pc.fill_null(column.cast(pa.string()), "")).combine_chunks()
    encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def watched(contract: Contract, names: Sequence[str]) -> tuple[str, ...]:
    """Return the slice columns of a config that a scoring pass of this version reads, and warn of the others.

    A version may have been fitted without a feature that the config lists, such as by a sweep.
    """
    categories = (feature.name for feature in contract.features if feature.kind == "category")
    known = dict.fromkeys([*contract.keys, *contract.carry, *categories])
    for name in names:
        if name not in known:
            allowed = ", ".join(known)
            log.warning(
                "monitor.slices: this version does not read %s, so it is not watched; it reads %s", name, allowed
            )
    return tuple(name for name in names if name in known)


def slicers(contract: Contract, names: Sequence[str]) -> list[Slicer]:
    """Return the slice columns with these names, of those that `watched` returns."""
    if not names:
        return []
    found, first = {name: Slicer(name) for name in names}, 0
    for feature in contract.features:
        positions = tuple(range(first, first + len(feature.columns)))
        first += len(positions)
        if feature.kind == "category" and feature.name in found:
            is_coded = feature.encode == "ordinal"
            found[feature.name] = Slicer(feature.name, positions, feature.vocabulary, is_coded)
    return list(found.values())
