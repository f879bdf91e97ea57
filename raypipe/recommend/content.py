"""What items are about: a vector each, from category, author and other words; a product of two is their similarity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.recommend.interactions import positions_of

Array = npt.NDArray[Any]

# Rarer words of a brand are left out: two articles seldom share one, and the projection works on words × words.
LARGEST_VOCABULARY = 2_000


def content_vectors(brands: Array, fields: Mapping[str, pa.Array], weights: Mapping[str, float], width: int) -> Array:
    """Vectors whose products are the items' tf-idf cosine similarity within a brand.

    Each field's value is a word of its item; '' and NULL are none. A word weighs ln(1 + items / items with it)
    times its field's weight, an item's words together have length 1. Where a brand has more words than `width`, the
    vectors are projected on the directions that keep most of the products (latent semantic analysis, Deerwester
    et al. 1990). Products of items of two brands mean nothing.

    Args:
        brands: (items,), the number of the item's brand, from 0.
        fields: by name one array of strings each, (items,).
        weights: of each field.
        width: the length of the vectors.

    Returns:
        (items, width), float32; zeros for an item without words.
    """
    from scipy.sparse import csr_matrix

    vectors = np.zeros((len(brands), width), np.float32)
    rows, words, counts = _words(fields, weights)
    if not width or not len(rows):
        return vectors
    used = csr_matrix((counts, (rows, words)), shape=(len(brands), int(words.max()) + 1))
    order = np.argsort(brands, kind="stable")
    for of_brand in np.split(order, np.flatnonzero(np.diff(brands[order])) + 1):
        vectors[of_brand] = _brand_vectors(used[of_brand], width)
    return vectors


def _words(fields: Mapping[str, pa.Array], weights: Mapping[str, float]) -> tuple[Array, Array, Array]:
    """Item, number and field weight of every word, the fields' vocabularies one after another."""
    found, known = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))], 0
    for name, field in fields.items():
        vocabulary = pc.unique(field)
        vocabulary = vocabulary.filter(pc.and_(pc.is_valid(vocabulary), pc.not_equal(vocabulary, "")))
        codes = positions_of(field, vocabulary)
        items = np.flatnonzero(codes >= 0)
        if weights[name]:
            found.append((items, codes[items] + known, np.full(len(items), weights[name], np.float32)))
        known += len(vocabulary)
    rows, words, counts = (np.concatenate(column) for column in zip(*found, strict=True))
    return rows, words, counts


def _brand_vectors(used: Any, width: int) -> Array:
    """The vectors of one brand's items from its (items, words) matrix of field weights."""
    frequency = np.bincount(used.indices, minlength=used.shape[1])
    kept = np.flatnonzero(frequency)
    if len(kept) > LARGEST_VOCABULARY:
        kept = np.sort(np.argsort(-frequency, kind="stable")[:LARGEST_VOCABULARY])
    weights = np.log1p(used.shape[0] / frequency[kept]).astype(np.float32) if len(kept) else np.empty(0, np.float32)
    weighted = used[:, kept].multiply(weights[None, :]).tocsr() if len(kept) else used[:, kept].tocsr()
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1))).ravel()
    inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    weighted = weighted.multiply(inverse[:, None]).tocsr()
    vectors = np.zeros((used.shape[0], width), np.float32)
    if len(kept) <= width:
        vectors[:, : len(kept)] = weighted.toarray()
        return vectors
    _, directions = np.linalg.eigh((weighted.T @ weighted).toarray().astype(np.float64))
    vectors[:] = weighted @ directions[:, -width:]
    return vectors
