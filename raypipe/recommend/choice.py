"""Choose the weights of a score's parts by what readers read next."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.recommend.als import FoldIn
from raypipe.recommend.evaluation import Holdout, per_user
from raypipe.recommend.histories import Users
from raypipe.recommend.parameters import PARTS, HybridParameters
from raypipe.recommend.ranker import Ranker
from raypipe.recommend.recommender import Recommender

Array = npt.NDArray[Any]

METRIC = "ndcg"
# Weights to try, and how often each part's turn comes.
VALUES = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
PASSES = 3
# Enough readers to tell weights apart; each costs time for every weight that is tried.
MOST_READERS = 2_000


@dataclass
class Choice:
    """The search for the weights of the parts that the parameters leave to the fit.

    One part after the other gets its best weight, until none changes (coordinate ascent). A weight is only changed for
    a gain above its standard error, so that nights alike choose alike.

    Attributes:
        readers: the readers of `held`, described by their histories.
        k: the length of the lists.
    """

    recommender: Recommender
    held: Holdout
    readers: Users
    at: datetime
    k: int
    _tried: dict[tuple[float, ...], Array] = field(default_factory=dict)
    _folded: dict[bytes, Array] = field(default_factory=dict)

    def best(self, rows: Array) -> HybridParameters:
        """Return the parameters with the chosen weights, by the readers at some positions."""
        params = self.recommender.params
        for _ in range(PASSES if len(rows) > 1 else 0):
            before = params
            for part in params.chosen:
                params = self._better(params, part, rows)
            if params == before:
                break
        return params

    def tried(self) -> list[Mapping[str, float]]:
        """Return the weights that were tried with their NDCG for all readers, best first."""
        values = [
            {**dict(zip(PARTS, weights, strict=True)), METRIC: round(float(values.mean()), 6)}
            for weights, values in self._tried.items()
        ]
        return sorted(values, key=lambda entry: -entry[METRIC])

    def _better(self, params: HybridParameters, part: str, rows: Array) -> HybridParameters:
        """Return the parameters with the best weight of one part, or unchanged parameters."""
        own = self._values(params)[rows]
        options = [params.weighed({part: value}) for value in VALUES if value != getattr(params, part)]
        gains = [self._values(option)[rows] - own for option in options]
        best = int(np.argmax([gain.mean() for gain in gains]))
        error = gains[best].std() / np.sqrt(len(own))
        return options[best] if gains[best].mean() > error else params

    def _values(self, params: HybridParameters) -> Array:
        """Return the NDCG of each reader's list."""
        key = tuple(getattr(params, part) for part in PARTS)
        if key not in self._tried:
            weighed = replace(self.recommender, params=params)
            ranker = Ranker(weighed, at=self.at, n=self.k, fold_in=self._fold_in)
            lists = ranker.rank(self.readers).lists(len(self.readers.brand_ids), self.k)
            self._tried[key] = per_user(lists, self.held, self.k)[METRIC]
        return self._tried[key]

    def _fold_in(self, histories: Any) -> Array:
        """Return the factors of histories, which are the same for all weights."""
        key = histories.indices.tobytes() + histories.data.tobytes()
        if key not in self._folded:
            params = self.recommender.params.factorisation
            self._folded[key] = FoldIn(self.recommender.factors, params)(histories)
        return self._folded[key]
