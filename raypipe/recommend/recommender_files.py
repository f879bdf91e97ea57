"""A recommender as files that cannot run code: the items with their vectors as Arrow, the parameters as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.errors import ConfigError, ModelError
from raypipe.recommend.catalogue import Catalogue
from raypipe.recommend.interactions import positions_of
from raypipe.recommend.recommender import Hybrid, Recommender

Array = npt.NDArray[Any]

ITEMS = "items.arrow"
PARAMETERS = "recommender.json"
FORMAT = 1
_SCALARS = {
    "article_id": pa.string(),
    "brand_id": pa.string(),
    "category_id": pa.string(),
    "published": pa.int64(),
    "popularity": pa.float32(),
}
_VECTORS = ("factors", "content")


def to_files(recommender: Recommender) -> dict[str, bytes]:
    """`items.arrow`, one row for each item, and `recommender.json`."""
    catalogue = recommender.catalogue
    columns = {
        "article_id": catalogue.ids,
        "brand_id": catalogue.brand_ids.take(pa.array(catalogue.brands)),
        "category_id": catalogue.category_ids.take(pa.array(catalogue.categories)),
        "published": pa.array(catalogue.published, pa.int64()),
        "popularity": pa.array(catalogue.popularity, pa.float32()),
        "factors": _lists(recommender.factors),
        "content": _lists(catalogue.content),
    }
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    described = {"format": FORMAT, "params": asdict(recommender.params)}
    return {
        ITEMS: bytes(sink.getvalue().to_pybytes()),
        PARAMETERS: json.dumps(described, indent=1, sort_keys=True).encode(),
    }


def from_files(files: Mapping[str, bytes]) -> Recommender:
    """The recommender again, from what `to_files` gave.

    Raises:
        ModelError: a file is missing or broken, or the two do not belong together.
    """
    absent = [name for name in (ITEMS, PARAMETERS) if name not in files]
    if absent:
        raise ModelError(
            "The artifact does not hold a recommender",
            found=f"no {', '.join(absent)}",
            allowed=f"{ITEMS} and {PARAMETERS}",
        )
    params = _parameters(files[PARAMETERS])
    table = _items(files[ITEMS])
    ids, brands, categories = (
        table.column(name).combine_chunks() for name in ("article_id", "brand_id", "category_id")
    )
    brand_ids, category_ids = pc.unique(brands), pc.unique(categories)
    catalogue = Catalogue(
        ids,
        brand_ids,
        positions_of(brands, brand_ids).astype(np.int32),
        category_ids,
        positions_of(categories, category_ids).astype(np.int32),
        table.column("published").to_numpy(),
        _finite("popularity", table.column("popularity").to_numpy()),
        _matrix(table, "content", params.content_width),
    )
    return Recommender(params, catalogue, _matrix(table, "factors", params.factorisation.factors))


def _parameters(content: bytes) -> Hybrid:
    try:
        described = json.loads(content)
        found = described["format"]
        params = described["params"]
    except (ValueError, TypeError, KeyError) as error:
        raise _broken(PARAMETERS, str(error)) from error
    if found != FORMAT:
        raise ModelError(f"{PARAMETERS} has a format that this version cannot read", found=found, allowed=FORMAT)
    try:
        return Hybrid.from_mapping(params)
    except (ConfigError, TypeError, ValueError, AttributeError) as error:
        raise _broken(PARAMETERS, str(error)) from error


def _items(content: bytes) -> pa.Table:
    try:
        table = pa.ipc.open_file(pa.BufferReader(content)).read_all()
        # Lengths and offsets are checked before anything follows them.
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise _broken(ITEMS, str(error)) from error
    expected = [*_SCALARS, *_VECTORS]
    if table.schema.names != expected:
        raise _broken(ITEMS, f"columns {', '.join(table.schema.names)} instead of {', '.join(expected)}")
    for name, kind in _SCALARS.items():
        if table.schema.field(name).type != kind:
            raise _broken(ITEMS, f"{name} is {table.schema.field(name).type} instead of {kind}")
    holes = [name for name in expected if table.column(name).null_count]
    if holes or not table.num_rows:
        raise _broken(ITEMS, f"missing values in {', '.join(holes)}" if holes else "no items")
    if pc.count_distinct(table.column("article_id")).as_py() != table.num_rows:
        raise _broken(ITEMS, "an article stands twice")
    return table


def _lists(matrix: Array) -> pa.Array:
    values = pa.array(np.ascontiguousarray(matrix, np.float32).ravel())
    kind = pa.list_(pa.float32(), matrix.shape[1])
    # A width of 0 leaves nothing from which the number of lists could follow.
    return pa.FixedSizeListArray.from_arrays(values, type=kind) if matrix.shape[1] else _empty_lists(len(matrix))


def _empty_lists(rows: int) -> pa.Array:
    return pa.array([[]] * rows, pa.list_(pa.float32()))


def _matrix(table: pa.Table, name: str, width: int) -> Array:
    column = table.column(name).combine_chunks()
    if not width:
        return np.zeros((table.num_rows, 0), np.float32)
    kind = pa.list_(pa.float32(), width)
    if column.type != kind:
        raise _broken(ITEMS, f"{name} is {column.type} instead of {kind}, which {PARAMETERS} says")
    values = column.flatten()
    if values.null_count:
        raise _broken(ITEMS, f"missing values in {name}")
    return _finite(name, values.to_numpy().reshape(-1, width))


def _finite(name: str, values: Array) -> Array:
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise _broken(ITEMS, f"{bad} values of {name} are not finite")
    return values


def _broken(file: str, found: str) -> ModelError:
    return ModelError(
        f"{file} is not what a recommender stores",
        found=found,
        next_step="restore the artifact, or fit a new version",
    )
