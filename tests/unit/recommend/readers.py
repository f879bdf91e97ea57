"""Create a synthetic audience: readers of two brands, each with one of four favourite topics."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from raypipe.recommend import catalogue as catalogues
from raypipe.recommend import interactions
from raypipe.recommend.catalogue import Catalogue
from raypipe.recommend.histories import Users
from raypipe.recommend.interactions import Interactions
from raypipe.recommend.parameters import AlsParameters, HybridParameters
from raypipe.recommend.recommender import Recommender, fit_recommender

AT = datetime(2026, 1, 31, tzinfo=UTC)
NOW = int(AT.timestamp())
DAY = 86_400
BRANDS, ARTICLES, TOPICS, READERS = 2, 80, 4, 300
CONTENT = {"category_id": 1.0, "author_id": 1.0}
KEYS = ("company_id", "brand_id", "user_id")
PARAMS = HybridParameters(
    als=1.0,
    content=0.5,
    popularity=0.5,
    freshness=0.1,
    max_age_days=0,
    factorisation=AlsParameters(factors=8, iterations=8, regularization=0.1),
)


def articles() -> pa.Table:
    """80 articles a brand, twenty of each topic, one published every six hours."""
    numbers = np.arange(BRANDS * ARTICLES)
    return pa.table(
        {
            "article_id": [f"a{number}" for number in numbers],
            "brand_id": [f"brand {number // ARTICLES}" for number in numbers],
            "category_id": [f"topic {number % TOPICS}" for number in numbers],
            "author_id": [f"author {number % 7}" if number % 5 else "" for number in numbers],
            "published_at": pa.array(NOW - (numbers % ARTICLES + 1) * DAY // 4, pa.int64()),
            "popularity": pa.array(100.0 / (1 + numbers % ARTICLES)),
        }
    )


def events(seed: int = 0) -> pa.Table:
    """Twelve reads of each reader, nine in ten of them of the favourite topic."""
    rng = np.random.default_rng(seed)
    reader = np.repeat(np.arange(READERS), 12)
    brand = reader % BRANDS
    own = rng.random(len(reader)) < 0.9
    topic = np.where(own, reader // BRANDS % TOPICS, rng.integers(0, TOPICS, len(reader)))
    number = brand * ARTICLES + rng.integers(0, ARTICLES // TOPICS, len(reader)) * TOPICS + topic
    return pa.table(
        {
            "company_id": ["c"] * len(reader),
            "brand_id": [f"brand {b}" for b in brand],
            "user_id": [f"u{r}" for r in reader],
            "article_id": [f"a{n}" for n in number],
            "weight": np.ones(len(reader), np.float32),
            "last_interaction_at": pa.array(NOW - rng.integers(1, 20 * DAY, len(reader)), pa.int64()),
        }
    )


def read_catalogue(params: HybridParameters = PARAMS) -> Catalogue:
    return catalogues.read(articles(), content=CONTENT, width=params.content_width)


def read_interactions(table: pa.Table | None = None) -> Interactions:
    return interactions.read(events() if table is None else table, read_catalogue().ids, keys=KEYS)


def fitted(params: HybridParameters = PARAMS) -> Recommender:
    return fit_recommender(read_interactions(), read_catalogue(params), params, threads=1)


def users(*rows: tuple[str, str, dict[str, float]]) -> Users:
    """Users given as brand, category and history."""
    return Users(
        pa.array([brand for brand, _, _ in rows], pa.string()),
        pa.array([category for _, category, _ in rows], pa.string()),
        pa.array([list(history) for _, _, history in rows], pa.list_(pa.string())),
        pa.array([list(history.values()) for _, _, history in rows], pa.list_(pa.float32())),
    )
