"""Test content vectors and the catalogue: similarity within a brand, any vocabulary, and refusals."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from raypipe.errors import DataError
from raypipe.recommend import catalogue as catalogues
from raypipe.recommend.catalogue import relative_popularity
from raypipe.recommend.content import content_vectors
from tests.unit.recommend.readers import articles

BRANDS = np.array([0, 0, 0, 1])


def vectors(width: int, *fields: list[str]) -> np.ndarray:
    return in_brands(BRANDS, width, *(pa.array(field, pa.string()) for field in fields))


def in_brands(brands: np.ndarray, width: int, *fields: pa.Array) -> np.ndarray:
    """The vectors of fields that count alike."""
    named = {str(number): field for number, field in enumerate(fields)}
    return content_vectors(brands, named, dict.fromkeys(named, 1.0), width)


def test_equal_items_are_alike_and_items_without_a_common_word_are_not() -> None:
    products = vectors(8, ["news", "news", "sport", "news"], ["ann", "ann", "bob", "ann"])
    products = products @ products.T
    np.testing.assert_allclose(products[0, 1], 1.0, atol=1e-6)
    np.testing.assert_allclose(products[0, 2], 0.0, atol=1e-6)


def test_a_rare_word_in_common_counts_more_than_a_frequent_one() -> None:
    brands = np.zeros(10, int)
    category = ["news"] * 8 + ["sport"] * 2
    author = ["ann", *[f"author {n}" for n in range(8)], "ann"]
    found = in_brands(brands, 16, pa.array(category), pa.array(author))
    assert found[0] @ found[9] > found[0] @ found[1] > 0


def test_a_field_that_counts_more_decides_more() -> None:
    fields = {"category": pa.array(["a", "a", "b", "b"]), "author": pa.array(["x", "y", "x", "y"])}
    brands = np.zeros(4, int)
    found = content_vectors(brands, fields, {"category": 2.0, "author": 1.0}, 8)
    assert found[0] @ found[1] == pytest.approx(0.8)
    assert found[0] @ found[2] == pytest.approx(0.2)
    alone = content_vectors(brands, fields, {"category": 1.0, "author": 0.0}, 8)
    assert alone[0] @ alone[2] == 0


def test_an_item_without_an_author_still_has_a_category() -> None:
    found = vectors(8, ["news", "news", "", "news"], ["", "ann", "", "ann"])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 0, 1], atol=1e-6)
    assert found[0] @ found[1] > 0


def test_a_large_vocabulary_is_projected_and_keeps_its_similarities() -> None:
    rng = np.random.default_rng(0)
    topic = rng.integers(0, 6, 400)
    fields = [pa.array([f"topic {t}" for t in topic]), pa.array([f"author {t} {rng.integers(9)}" for t in topic])]
    brands = np.zeros(400, int)
    whole, projected = in_brands(brands, 64, *fields), in_brands(brands, 24, *fields)
    assert np.count_nonzero(np.abs(whole).sum(axis=0)) > 24
    assert np.corrcoef((whole @ whole.T).ravel(), (projected @ projected.T).ravel())[0, 1] > 0.9


def test_without_fields_or_width_there_is_no_content() -> None:
    assert not vectors(4).any()
    assert vectors(0, ["a", "b", "c", "d"]).shape == (4, 0)


def test_popularity_is_relative_to_the_brand() -> None:
    found = relative_popularity(np.array([0.0, np.e - 1, np.e**2 - 1, 5.0]), BRANDS)
    np.testing.assert_allclose(found, [0, 0.5, 1, 1], atol=1e-6)


def test_a_brand_that_nobody_read_has_no_popularity() -> None:
    assert relative_popularity(np.array([1.0, 1.0, 1.0, 0.0]), BRANDS).tolist() == [1, 1, 1, 0]


def test_an_article_that_stands_twice_is_refused() -> None:
    with pytest.raises(DataError, match="twice"):
        catalogues.read(pa.concat_tables([articles(), articles().slice(0, 1)]))


def test_an_empty_catalogue_and_a_missing_column_are_refused() -> None:
    with pytest.raises(DataError, match="empty"):
        catalogues.read(articles().slice(0, 0))
    with pytest.raises(DataError, match="author_name"):
        catalogues.read(articles(), content={"author_name": 1.0})
