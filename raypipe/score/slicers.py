"""Find the value of a slice column in every row of a scoring pass, from what the pass reads anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.artifact.contract import Contract, Matrix
from raypipe.errors import ConfigError


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


def slicers(contract: Contract, names: Sequence[str]) -> list[Slicer]:
    """Return the slice columns that a config names.

    Raises:
        ConfigError: a name is neither a key, a carried column nor a category of the model.
    """
    if not names:
        return []
    places, first = {}, 0
    for feature in contract.features:
        places[feature.name] = (feature, tuple(range(first, first + len(feature.columns))))
        first += len(feature.columns)
    categories = [name for name, (feature, _) in places.items() if feature.kind == "category"]
    plain = [*contract.keys, *contract.carry]
    unknown = [name for name in names if name not in (*categories, *plain)]
    if unknown:
        raise ConfigError(
            "monitor.slices names columns that a scoring pass does not read as values",
            found=", ".join(unknown),
            allowed=", ".join(dict.fromkeys([*plain, *categories])),
            next_step="name another column, or add it to `carry` in the pipeline's config",
        )
    found = []
    for name in names:
        if name in categories:
            feature, positions = places[name]
            found.append(Slicer(name, positions, feature.vocabulary, feature.encode == "ordinal"))
        else:
            found.append(Slicer(name))
    return found
