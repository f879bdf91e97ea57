"""Answer each user's history with a list of articles: the recommender as a model family."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.errors import ModelError
from raypipe.models.model import Answer, FloatArray, Rows
from raypipe.models.protocol import Family
from raypipe.recommend.histories import HISTORY, INPUTS, Users
from raypipe.recommend.parameters import TEST_DAYS, HybridParameters
from raypipe.recommend.ranker import Ranker
from raypipe.recommend.recommender import Recommender, from_files, to_files


class HybridRecommender(Family):
    """A hybrid of ALS, neighbours, content, popularity and freshness; `HybridParameters` describes `model.params`."""

    framework = "implicit"
    algorithm = "implicit ALS and item neighbours with content, popularity and freshness"
    format = "arrow"
    fitter = "raypipe.recommend.fit"
    explains = False

    def check(self, params: Mapping[str, Any], kind: str) -> None:
        """Refuse parameters that the recommender does not take.

        Raises:
            ConfigError: a name is unknown, or a value cannot be used.
        """
        HybridParameters.from_mapping({name: value for name, value in params.items() if name != TEST_DAYS})

    def from_files(self, files: Mapping[str, bytes]) -> HybridModel:
        """Load the model in `items.arrow` and `recommender.json`."""
        return HybridModel(from_files(files))


class HybridModel:
    """A recommender that scores rows of users.

    Its answers have the columns `articles` (ids by rank), `scores` (falling with the rank) and `popular` (1 for a user
    without a history). A user's own score is the score of the first article, or 0 where no article can be recommended.
    """

    outputs: Mapping[str, str] = MappingProxyType(
        {"articles": "Array(String)", "scores": "Array(Float32)", "popular": "UInt8"}
    )
    values: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender
        self._threads = 1
        self._ranker: tuple[datetime, Ranker] | None = None

    def answer(self, rows: Rows) -> Answer:
        """Return lists as of the end of the day for users described by `inputs`; the matrix does not matter.

        Raises:
            ModelError: an input is missing.
        """
        users = _users(rows.inputs)
        count = len(users.brand_ids)
        ranked = self._at(rows.at).rank(users)
        ends = np.zeros(count + 1, np.int32)
        np.cumsum(np.bincount(ranked.users, minlength=count), out=ends[1:])
        offsets = pa.array(ends)
        articles = self.recommender.catalogue.ids.take(pa.array(ranked.items))
        first, popular = np.zeros(count, np.float32), np.zeros(count, np.uint8)
        first[ranked.users[ranked.ranks == 1]] = ranked.scores[ranked.ranks == 1]
        popular[ranked.users[ranked.popular]] = 1
        columns = {
            "articles": pa.ListArray.from_arrays(offsets, articles),
            "scores": pa.ListArray.from_arrays(offsets, pa.array(ranked.scores)),
            "popular": pa.array(popular),
        }
        return Answer(first, columns)

    def predict(self, x: FloatArray) -> FloatArray:
        """Refuse, since a matrix holds no histories."""
        raise ModelError("The recommender needs its users' histories, not a matrix")

    def explain(self, x: FloatArray) -> FloatArray:
        """Refuse, since recommendations have no additive explanations."""
        raise ModelError("Recommendations have no explanations")

    def importance(self) -> FloatArray:
        """Return no importance: the matrix only serves to measure drift."""
        return np.zeros(0, np.float32)

    def files(self) -> dict[str, bytes]:
        """Return `items.arrow` and `recommender.json`."""
        return to_files(self.recommender)

    def set_threads(self, threads: int) -> None:
        """Set the threads of `answer`; 0 means a single thread."""
        self._threads = max(1, threads)
        self._ranker = None

    def _at(self, moment: datetime) -> Ranker:
        if self._ranker is None or self._ranker[0] != moment:
            ranker = Ranker(self.recommender, at=moment, n=self.recommender.params.length, threads=self._threads)
            self._ranker = (moment, ranker)
        return self._ranker[1]


def _users(inputs: Mapping[str, pa.Array]) -> Users:
    """Return the users of a batch; tables without brands and categories have neither column."""
    missing = [name for name in HISTORY if name not in inputs]
    if missing:
        raise ModelError(
            "The recommender needs its users' histories",
            found=f"no {', '.join(missing)}",
            allowed=f"inputs: [{', '.join(INPUTS)}] in the pipeline's config; {', '.join(HISTORY)} are enough",
        )
    articles, weights = (inputs[name] for name in HISTORY)
    unnamed = pa.repeat(pa.scalar(""), len(articles))
    brands, categories = (inputs.get(name, unnamed) for name in INPUTS[:2])
    # Integers would be positions in the catalogue; a table's own numbers are ids.
    ids = pc.cast(articles, pa.list_(pa.string())) if pa.types.is_integer(articles.type.value_type) else articles
    return Users(brands, categories, ids, weights)
