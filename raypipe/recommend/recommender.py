"""Fit a recommender, and write and read its files: the items with their vectors as Arrow, the parameters as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.errors import ConfigError, ModelError
from raypipe.models.checks import required_file
from raypipe.recommend.als import item_factors
from raypipe.recommend.catalogue import UNDATED, Catalogue, coded, relative_popularity
from raypipe.recommend.interactions import DAY_SECONDS, Interactions
from raypipe.recommend.neighbours import nearest
from raypipe.recommend.parameters import PARTS, HybridParameters

Array = npt.NDArray[Any]

ITEMS = "items.arrow"
PARAMETERS = "recommender.json"
_SCALARS = {
    "article_id": pa.string(),
    "brand_id": pa.string(),
    "category_id": pa.string(),
    "author_id": pa.string(),
    "published": pa.int64(),
    "popularity": pa.float32(),
}
_VECTORS = ("factors", "content")
# The neighbours of an item as positions, with their nearness.
_NEAREST = {"neighbours": pa.list_(pa.int32()), "nearness": pa.list_(pa.float32())}


@dataclass(frozen=True)
class Recommender:
    """A fitted recommender. It holds no users, since their factors follow from their histories.

    Attributes:
        factors: (items, factors), float32; 0 for an item without readers.
        nearest: the nearness of each item's neighbours, a csr_matrix (items, items), float32.
    """

    params: HybridParameters
    catalogue: Catalogue
    factors: Array
    nearest: Any


def fit_recommender(
    interactions: Interactions,
    catalogue: Catalogue,
    params: HybridParameters,
    *,
    threads: int = 0,
    chosen: bool = False,
) -> Recommender:
    """Fit a recommender on pairs whose items are positions in the catalogue; 0 threads mean all cores.

    Parts without a weight are not fitted. Where the catalogue does not know the items' use, their readers are counted.

    Args:
        chosen: whether the weights are chosen already, so that only parts with a weight count.
    """
    if not len(catalogue.popularity):
        readers = np.bincount(interactions.items, minlength=len(catalogue))
        catalogue = replace(catalogue, popularity=relative_popularity(readers, catalogue.brands))
    parts = [part for part in PARTS if getattr(params, part) or (part in params.chosen and not chosen)]
    nobody = interactions.take(slice(0))
    factors = item_factors(interactions if "als" in parts else nobody, params.factorisation, threads)
    read = interactions if "neighbours" in parts else nobody
    return Recommender(params, catalogue, factors, nearest(read, _offered(catalogue, params), params.covisitation))


def _offered(catalogue: Catalogue, params: HybridParameters) -> Array:
    """Return a mask of the items that are young enough to be recommended at the time of the newest."""
    if not params.max_age_days:
        return np.ones(len(catalogue), np.bool_)
    oldest = catalogue.published.max() - params.max_age_days * DAY_SECONDS
    offered: Array = (catalogue.published >= oldest) | (catalogue.published == UNDATED)
    return offered


def to_files(recommender: Recommender) -> dict[str, bytes]:
    """Return `items.arrow`, with one row per item, and `recommender.json`."""
    catalogue, near = recommender.catalogue, recommender.nearest
    table = pa.table(
        {
            "article_id": catalogue.ids,
            "brand_id": catalogue.brand_ids.take(pa.array(catalogue.brands)),
            "category_id": catalogue.category_ids.take(pa.array(catalogue.categories)),
            "author_id": catalogue.author_ids.take(pa.array(catalogue.authors)),
            "published": pa.array(catalogue.published, pa.int64()),
            "popularity": pa.array(catalogue.popularity, pa.float32()),
            "factors": _lists(recommender.factors),
            "content": _lists(catalogue.content),
            "neighbours": _ragged(near.indptr, near.indices, np.int32),
            "nearness": _ragged(near.indptr, near.data, np.float32),
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
    ids, brands, categories, authors = (
        table.column(name).combine_chunks() for name in ("article_id", "brand_id", "category_id", "author_id")
    )
    catalogue = Catalogue(
        ids,
        *coded(brands),
        *coded(categories),
        *coded(authors),
        table.column("published").to_numpy(),
        _finite("popularity", table.column("popularity").to_numpy()),
        _matrix(table, "content", params.content_width),
    )
    factors = _matrix(table, "factors", params.factorisation.factors)
    return Recommender(params, catalogue, factors, _neighbours(table))


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
    expected = [*_SCALARS, *_VECTORS, *_NEAREST]
    if table.schema.names != expected:
        raise _broken(ITEMS, f"columns {', '.join(table.schema.names)} instead of {', '.join(expected)}")
    for name, kind in {**_SCALARS, **_NEAREST}.items():
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


def _ragged(ends: Array, values: Array, kind: npt.DTypeLike) -> pa.Array:
    """Return one list per row of a csr_matrix."""
    return pa.ListArray.from_arrays(pa.array(ends.astype(np.int32)), pa.array(values.astype(kind)))


def _neighbours(table: pa.Table) -> Any:
    """Return the nearness of the items' neighbours as a csr_matrix (items, items)."""
    from scipy.sparse import csr_matrix

    lists = [table.column(name).combine_chunks() for name in _NEAREST]
    lengths = [pc.list_value_length(column).to_numpy() for column in lists]
    items, near = (column.flatten() for column in lists)
    if not np.array_equal(*lengths) or items.null_count or near.null_count:
        raise _broken(ITEMS, "neighbours and nearness differ in number")
    positions, count = items.to_numpy(), table.num_rows
    if len(positions) and not 0 <= positions.min() <= positions.max() < count:
        raise _broken(ITEMS, "a neighbour is not an item of the file")
    ends = np.concatenate(([0], np.cumsum(lengths[0])))
    return csr_matrix((_finite("nearness", near.to_numpy()), positions, ends), (count, count))


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
