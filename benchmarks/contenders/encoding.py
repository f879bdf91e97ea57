"""The feature matrix from plain Arrow columns, as a careful program without compiled features makes it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.data.contract import Contract, FrozenFeature


def encode(contract: Contract, rows: pa.Table) -> npt.NDArray[np.float32]:
    """(rows, features), in the contract's order; what is not known is NaN."""
    x = np.empty((rows.num_rows, len(contract.columns)), np.float32)
    at = 0
    for feature in contract.features:
        width = len(feature.columns)
        column = rows[feature.name].combine_chunks()
        if feature.kind != "category":
            x[:, at] = _numbers(feature, column)
        elif feature.encode == "onehot":
            codes = _codes(feature, column)
            x[:, at : at + width] = codes[:, None] == np.arange(width)
            x[codes < 0, at : at + width] = np.nan
        else:
            codes = _codes(feature, column)
            x[:, at] = np.where(codes < 0, np.nan, codes)
        at += width
    return x


def _codes(feature: FrozenFeature, column: pa.Array) -> npt.NDArray[np.int32]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    known = pc.index_in(column.cast(pa.string()), value_set=pa.array(feature.vocabulary, pa.string()))
    codes: npt.NDArray[np.int32] = pc.fill_null(known, -1).to_numpy(zero_copy_only=False)
    return codes


def _numbers(feature: FrozenFeature, column: pa.Array) -> npt.NDArray[np.float32]:
    numbers = pc.fill_null(column.cast(pa.float32(), safe=False), np.nan).to_numpy(zero_copy_only=False).copy()
    for value in feature.missing:
        numbers[numbers == np.float32(value)] = np.nan
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers
