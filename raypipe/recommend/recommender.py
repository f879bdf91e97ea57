"""Fit a recommender, and write and read its files: the items with their vectors as Arrow, the parameters as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.errors import ConfigError, ModelError
from raypipe.models.checks import required_file
from raypipe.recommend.als import item_factors
from raypipe.recommend.catalogue import Catalogue, coded
from raypipe.recommend.interactions import Interactions
from raypipe.recommend.parameters import HybridParameters

Array = npt.NDArray[Any]

ITEMS = "items.arrow"
PARAMETERS = "recommender.json"
_SCALARS = {
    "article_id": pa.string(),
    "brand_id": pa.string(),
    "category_id": pa.string(),
    "published": pa.int64(),
    "popularity": pa.float32(),
}
_VECTORS = ("factors", "content")


@dataclass(frozen=True)
class Recommender:
    """A fitted recommender. It holds no users, since their factors follow from their histories.

    Attributes:
        factors: (items, factors), float32; 0 for an item without readers.
    """

    params: HybridParameters
    catalogue: Catalogue
    factors: Array


def fit_recommender(
    interactions: Interactions, catalogue: Catalogue, params: HybridParameters, *, threads: int = 0
) -> Recommender:
    """Fit a recommender on pairs whose items are positions in the catalogue; 0 threads mean all cores."""
    return Recommender(params, catalogue, item_factors(interactions, params.factorisation, threads))


def to_files(recommender: Recommender) -> dict[str, bytes]:
    """Return `items.arrow`, with one row per item, and `recommender.json`."""
    catalogue = recommender.catalogue
    table = pa.table(
        {
            "article_id": catalogue.ids,
            "brand_id": catalogue.brand_ids.take(pa.array(catalogue.brands)),
            "category_id": catalogue.category_ids.take(pa.array(catalogue.categories)),
            "published": pa.array(catalogue.published, pa.int64()),
            "popularity": pa.array(catalogue.popularity, pa.float32()),
            "factors": _lists(recommender.factors),
            "content": _lists(catalogue.content),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return {
        ITEMS: bytes(sink.getvalue().to_pybytes()),
        PARAMETERS: json.dumps({"params": asdict(recommender.params)}, indent=1, sort_keys=True).encode(),
    }


def from_files(files: Mapping[str, bytes]) -> Recommender:
    """Load the recommender that `to_files` wrote.

    Raises:
        ModelError: a file is missing or broken, or the two do not belong together.
    """
    table = _items(required_file(files, ITEMS))
    params = _parameters(required_file(files, PARAMETERS))
    ids, brands, categories = (
        table.column(name).combine_chunks() for name in ("article_id", "brand_id", "category_id")
    )
    catalogue = Catalogue(
        ids,
        *coded(brands),
        *coded(categories),
        table.column("published").to_numpy(),
        _finite("popularity", table.column("popularity").to_numpy()),
        _matrix(table, "content", params.content_width),
    )
    return Recommender(params, catalogue, _matrix(table, "factors", params.factorisation.factors))


def _parameters(content: bytes) -> HybridParameters:
    try:
        return HybridParameters.from_mapping(json.loads(content)["params"])
    except (ConfigError, ValueError, TypeError, KeyError) as error:
        raise _broken(PARAMETERS, str(error)) from error


def _items(content: bytes) -> pa.Table:
    try:
        table = pa.ipc.open_file(pa.BufferReader(content)).read_all()
        # Lengths and offsets are checked before they are used.
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
        raise _broken(ITEMS, "an article occurs twice")
    return table


def _lists(matrix: Array) -> pa.Array:
    if not matrix.shape[1]:
        # The number of lists cannot follow from their values where a list has none.
        return pa.array([[]] * len(matrix), pa.list_(pa.float32()))
    values = pa.array(np.ascontiguousarray(matrix, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(values, matrix.shape[1])


def _matrix(table: pa.Table, name: str, width: int) -> Array:
    column = table.column(name).combine_chunks()
    if not width:
        return np.zeros((table.num_rows, 0), np.float32)
    kind = pa.list_(pa.float32(), width)
    if column.type != kind:
        raise _broken(ITEMS, f"{name} is {column.type} instead of {kind}, as {PARAMETERS} says")
    values = column.flatten()
    if values.null_count:
        raise _broken(ITEMS, f"missing values in {name}")
    return _finite(name, values.to_numpy().reshape(-1, width))


def _finite(name: str, values: Array) -> Array:
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise _broken(ITEMS, f"{bad} values of {name} are not finite")
    return values


def _broken(file: str, reason: str) -> ModelError:
    return ModelError(
        f"{file} is not a recommender's file",
        found=reason,
        next_step="restore the artifact, or fit a new version",
    )
