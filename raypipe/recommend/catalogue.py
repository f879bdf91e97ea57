"""The catalogue of items that can be recommended: brand, category, time of publication, popularity and content."""

from __future__ import annotations

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

Array = npt.NDArray[Any]

COLUMNS = ("article_id", "brand_id", "category_id", "published_at")


@dataclass(frozen=True)
class Catalogue:
    """Items by position.

    Attributes:
        ids: (items,), strings, each once.
        brand_ids: the distinct brands, strings.
        brands: (items,), int32, the position of the item's brand in `brand_ids`.
        category_ids: the distinct categories, strings; '' is none.
        categories: (items,), int32, the position of its category.
        published: (items,), int64, seconds since 1970.
        popularity: (items,), float32, from 0 to 1, the logarithm of its use over that of the brand's most used item.
        content: (items, width), float32, see `content_vectors`.
    """

    ids: pa.Array
    brand_ids: pa.Array
    brands: Array
    category_ids: pa.Array
    categories: Array
    published: Array
    popularity: Array
    content: Array

    def __len__(self) -> int:
        return len(self.ids)


def read(
    table: pa.Table, *, content: Mapping[str, float] | None = None, width: int = 0, use: Array | None = None
) -> Catalogue:
    """The catalogue in a table of items.

    Args:
        table: article_id, brand_id, category_id, published_at (a timestamp in UTC or seconds since 1970) and, unless
            `use` is given, popularity: how much an item is used, such as its recent views.
        content: the columns, strings, whose values say what an item is about, and how much each of them counts.
        width: the length of the content vectors.
        use: (items,), instead of the column popularity; an evaluation counts the training interactions alone.

    Raises:
        DataError: a column is missing, an id is empty or stands twice, or there are no items.
    """
    fields = content or {}
    wanted = (*COLUMNS, *fields, *(() if use is not None else ("popularity",)))
    absent = sorted({name for name in wanted if name not in table.column_names})
    if absent:
        raise DataError("The catalogue lacks a column", found=", ".join(absent), next_step="select it in articles.sql")
    if not table.num_rows:
        raise DataError("The catalogue is empty", next_step="check the dates and the table of articles")
    ids = _text(table, "article_id")
    distinct = pc.count_distinct(ids).as_py()
    if distinct != len(ids) or pc.any(pc.equal(ids, "")).as_py():
        raise DataError(
            "An article stands in the catalogue twice, or without an id",
            found=f"{distinct} ids in {len(ids)} rows",
            next_step="read the table of articles FINAL",
        )
    brand_ids, brands = _coded(_text(table, "brand_id"))
    category_ids, categories = _coded(_text(table, "category_id"))
    used = numbers(table.column("popularity"), np.float64) if use is None else np.asarray(use, np.float64)
    return Catalogue(
        ids,
        brand_ids,
        brands,
        category_ids,
        categories,
        seconds_of(table.column("published_at")),
        relative_popularity(used, brands),
        content_vectors(brands, {name: _text(table, name) for name in fields}, fields, width),
    )


def relative_popularity(use: Array, brands: Array) -> Array:
    """ln(1 + use) over its largest value in the brand, (items,), float32; 0 where nothing was used."""
    logarithm = np.log1p(np.maximum(np.nan_to_num(use), 0.0))
    largest = np.zeros(int(brands.max(initial=-1)) + 1)
    np.maximum.at(largest, brands, logarithm)
    of_brand = largest[brands]
    relative: Array = np.divide(logarithm, of_brand, out=np.zeros_like(logarithm), where=of_brand > 0)
    return relative.astype(np.float32)


def _text(table: pa.Table, name: str) -> pa.Array:
    """A column as one array of strings; NULL becomes ''."""
    column = pc.fill_null(pc.cast(table.column(name), pa.string()), "")
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _coded(values: pa.Array) -> tuple[pa.Array, Array]:
    distinct = pc.unique(values)
    return distinct, positions_of(values, distinct).astype(np.int32)
