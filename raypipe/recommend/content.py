"""Turn categories, authors and other words of items into vectors whose products are similarities."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.recommend.interactions import positions_of

Array = npt.NDArray[Any]

# Rarer words of a brand are left out: articles seldom share them, and the projection works on words × words.
LARGEST_VOCABULARY = 2_000


def content_vectors(brands: Array, fields: Mapping[str, pa.Array], weights: Mapping[str, float], width: int) -> Array:
    """Return vectors whose products are the items' tf-idf cosine similarities within a brand.

    The value of each field is a word of its item; '' and NULL are no word. The weight of a word is its field's weight
    times ln(1 + items / items with the word), and an item's words together have length 1. Where a brand has more words
    than `width`, the vectors are projected on the directions that keep most of the products (latent semantic analysis,
    Deerwester et al. 1990). Products across brands have no meaning.

    Args:
        brands: (items,), the number of the item's brand, from 0.
        fields: an array of strings (items,) per field.

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
    """Return item, number and field weight of every word, with the fields' vocabularies one after another."""
    parts, known = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))], 0
    for name, field in fields.items():
        vocabulary = pc.unique(field)
        vocabulary = vocabulary.filter(pc.and_(pc.is_valid(vocabulary), pc.not_equal(vocabulary, "")))
        codes = positions_of(field, vocabulary)
        items = np.flatnonzero(codes >= 0)
        if weights[name]:
            parts.append((items, codes[items] + known, np.full(len(items), weights[name], np.float32)))
        known += len(vocabulary)
    rows, words, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
    return rows, words, counts


def _brand_vectors(used: Any, width: int) -> Array:
    """Return the vectors of one brand's items from its (items, words) matrix of field weights."""
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
