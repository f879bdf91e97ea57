"""Read the catalogue of items: brand, category, author, time of publication, popularity and content."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.errors import DataError
from raypipe.recommend.content import content_vectors
from raypipe.recommend.interactions import numbers, positions_of, seconds_of
from raypipe.recommend.parameters import CONTENT_FIELDS

Array = npt.NDArray[Any]

# The time of publication of items without one. They are never too old, and never fresh.
UNDATED = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Catalogue:
    """Items by position.

    Attributes:
        ids: (items,), distinct strings.
        brand_ids: the distinct brands, strings.
        brands: (items,), int32, the position of the item's brand in `brand_ids`.
        category_ids: the distinct categories, strings; '' means no category.
        categories: (items,), int32, the position of the item's category in `category_ids`.
        author_ids: the distinct authors, strings; '' means no author.
        authors: (items,), int32, the position of the item's author in `author_ids`.
        published: (items,), int64, seconds since 1970, or UNDATED.
        popularity: (items,), float32, from 0 to 1, relative to the brand's most used item; empty if it is not known.
        content: (items, width), float32, from `content_vectors`.
    """

    ids: pa.Array
    brand_ids: pa.Array
    brands: Array
    category_ids: pa.Array
    categories: Array
    author_ids: pa.Array
    authors: Array
    published: Array
    popularity: Array
    content: Array

    def __len__(self) -> int:
        return len(self.ids)


def read(table: pa.Table, *, content: Mapping[str, float] | None = None, width: int = 0) -> Catalogue:
    """Read the catalogue from a table of items.

    Args:
        table: article_id, and where they are known brand_id, category_id, author_id, published_at (a timestamp in UTC
            or seconds since 1970) and popularity, a measure of an item's use such as its recent views.
        content: columns of strings that describe an item's content, with their weights. Absent columns are left out if
            they are the usual ones (`CONTENT_FIELDS`).

    Raises:
        DataError: a column is missing, an id is empty or occurs twice, or there are no items.
    """
    if "article_id" not in table.column_names:
        raise DataError("The catalogue lacks a column", found="article_id", next_step="select it in articles.sql")
    if not table.num_rows:
        raise DataError("The catalogue is empty", next_step="check the dates and the table of articles")
    fields = {name: weight for name, weight in (content or {}).items() if name in table.column_names}
    absent = sorted((content or {}).keys() - fields.keys() - CONTENT_FIELDS.keys())
    if absent:
        raise DataError("The catalogue lacks a column", found=", ".join(absent), next_step="select it in articles.sql")
    ids = _text(table, "article_id")
    distinct = pc.count_distinct(ids).as_py()
    if distinct != len(ids) or pc.any(pc.equal(ids, "")).as_py():
        raise DataError(
            "An article occurs twice in the catalogue, or has no id",
            found=f"{distinct} ids in {len(ids)} rows",
            next_step="read the table of articles FINAL",
        )
    brand_ids, brands = coded(_text(table, "brand_id"))
    known = table.column_names
    return Catalogue(
        ids,
        brand_ids,
        brands,
        *coded(_text(table, "category_id")),
        *coded(_text(table, "author_id")),
        seconds_of(table.column("published_at")) if "published_at" in known else np.full(len(ids), UNDATED),
        relative_popularity(numbers(table.column("popularity"), np.float64), brands)
        if "popularity" in known
        else np.empty(0, np.float32),
        content_vectors(brands, {name: _text(table, name) for name in fields}, fields, width),
    )


def relative_popularity(use: Array, brands: Array) -> Array:
    """Return ln(1 + use) divided by its largest value in the brand, (items,), float32; 0 in an unused brand."""
    logarithm = np.log1p(np.maximum(np.nan_to_num(use), 0.0))
    largest = np.zeros(int(brands.max(initial=-1)) + 1)
    np.maximum.at(largest, brands, logarithm)
    of_brand = largest[brands]
    relative: Array = np.divide(logarithm, of_brand, out=np.zeros_like(logarithm), where=of_brand > 0)
    return relative.astype(np.float32)


def _text(table: pa.Table, name: str) -> pa.Array:
    """Return a column as one array of strings; NULL and an absent column become ''."""
    if name not in table.column_names:
        return pa.array([""] * table.num_rows, pa.string())
    column = pc.fill_null(pc.cast(table.column(name), pa.string()), "")
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def coded(values: pa.Array) -> tuple[pa.Array, Array]:
    """Return the distinct values, and the position of each value among them, int32."""
    distinct = pc.unique(values)
    return distinct, positions_of(values, distinct).astype(np.int32)
