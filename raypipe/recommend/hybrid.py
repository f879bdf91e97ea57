"""The recommender as a model family: it answers each user's history with a list of articles."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from raypipe.errors import ModelError
from raypipe.models.protocol import Answer, Family, FloatArray, Rows
from raypipe.recommend import recommender_files
from raypipe.recommend.histories import INPUTS, Users
from raypipe.recommend.ranker import Ranker
from raypipe.recommend.recommender import Hybrid, Recommender

# Of `model.params`: how many of the last days a version is judged by.
TEST_DAYS = "test_days"


class HybridRecommender(Family):
    """The family; `model.params` are those of `raypipe.recommend.recommender.Hybrid`."""

    framework = "implicit"
    algorithm = "implicit ALS with content, popularity and freshness"
    format = "arrow"
    fitter = "raypipe.recommend.fit"
    explains = False

    def check(self, params: Mapping[str, Any]) -> None:
        """Refuse parameters that the recommender does not take.

        Raises:
            ConfigError: a name is unknown, or a value cannot be used.
        """
        Hybrid.from_mapping({name: value for name, value in params.items() if name != TEST_DAYS})

    def from_files(self, files: Mapping[str, bytes]) -> Recommendations:
        """The model in `items.arrow` and `recommender.json`."""
        return Recommendations(recommender_files.from_files(files))


class Recommendations:
    """A recommender behind raypipe's protocol.

    Its answers have the columns `articles`, the ids by rank, `scores`, falling with the rank, and `popular`, 1 for a
    user without a history. The score of a user is that of the first article, 0 where nothing can be recommended.
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
        """Lists as of the end of the day, for users by their `inputs`; the matrix is not looked at.

        Raises:
            ModelError: an input is missing.
        """
        missing = [name for name in INPUTS if name not in rows.inputs]
        if missing:
            raise ModelError(
                "A recommender needs its users' histories",
                found=f"no {', '.join(missing)}",
                allowed=f"inputs: [{', '.join(INPUTS)}] in the pipeline's config",
            )
        users = Users(*(rows.inputs[name] for name in INPUTS))
        count = len(users.brand_ids)
        found = self._at(rows.at).rank(users)
        ends = np.zeros(count + 1, np.int32)
        np.cumsum(np.bincount(found.users, minlength=count), out=ends[1:])
        offsets = pa.array(ends)
        articles = self.recommender.catalogue.ids.take(pa.array(found.items))
        first, popular = np.zeros(count, np.float32), np.zeros(count, np.uint8)
        first[found.users[found.ranks == 1]] = found.scores[found.ranks == 1]
        popular[found.users[found.popular]] = 1
        columns = {
            "articles": pa.ListArray.from_arrays(offsets, articles),
            "scores": pa.ListArray.from_arrays(offsets, pa.array(found.scores)),
            "popular": pa.array(popular),
        }
        return Answer(first, columns)

    def predict(self, x: FloatArray) -> FloatArray:
        """A matrix says nothing of what a user read.

        Raises:
            ModelError: always.
        """
        raise ModelError("A recommender needs its users' histories, not a matrix")

    def explain(self, x: FloatArray) -> FloatArray:
        """Recommendations have no additive explanations.

        Raises:
            ModelError: always.
        """
        raise ModelError("Recommendations have no explanations")

    def importance(self) -> FloatArray:
        """No column of the matrix counts: it is there for the drift."""
        return np.zeros(0, np.float32)

    def files(self) -> dict[str, bytes]:
        """`items.arrow` and `recommender.json`."""
        return recommender_files.to_files(self.recommender)

    def set_threads(self, threads: int) -> None:
        """How many threads `answer` uses; 0 means one."""
        self._threads = max(1, threads)
        self._ranker = None

    def _at(self, moment: datetime) -> Ranker:
        if self._ranker is None or self._ranker[0] != moment:
            ranker = Ranker(self.recommender, at=moment, n=self.recommender.params.length, threads=self._threads)
            self._ranker = (moment, ranker)
        return self._ranker[1]
