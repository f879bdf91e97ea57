"""Judge recommenders on held-out reads: those after a date or, in a table without days, a random share."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.fit.recipe import Recipe
from raypipe.recommend import evaluation
from raypipe.recommend.catalogue import Catalogue
from raypipe.recommend.choice import METRIC, MOST_READERS, Choice
from raypipe.recommend.evaluation import Evaluation, Holdout
from raypipe.recommend.histories import Users
from raypipe.recommend.parameters import PARTS, HybridParameters, ListParameters
from raypipe.recommend.ranker import Ranker
from raypipe.recommend.recommender import Recommender, fit_recommender
from raypipe.registry.rows import unix_seconds

Array = npt.NDArray[Any]

K = 10
BASELINES: dict[str, dict[str, float]] = {
    "popularity": {**dict.fromkeys(PARTS, 0.0), "popularity": 1.0},
    "the newest": {**dict.fromkeys(PARTS, 0.0), "freshness": 1.0},
}


@dataclass(frozen=True)
class Backtest:
    """The knowledge at the end of a day, and the articles read on the days after it.

    Attributes:
        at: the end of the day.
        readers: the users of `held`, described by their histories.
    """

    at: datetime
    held: Holdout
    catalogue: Catalogue
    readers: Users

    def lists(self, recommender: Recommender, params: HybridParameters, rows: Array | None = None) -> Array:
        """Return lists for all readers or some of them, (users, K), by a recommender with other weights."""
        readers = self.readers if rows is None else self.readers.take(rows)
        ranker = Ranker(replace(recommender, params=params), at=self.at, n=K)
        return ranker.rank(readers).lists(len(readers.brand_ids), K)


@dataclass(frozen=True)
class Judged:
    """A recommender of the backtest, judged.

    Attributes:
        params: the parameters, with the weights that all readers chose.
        lists: the readers' lists, (users, K), of the `model` and of each baseline.
        metrics: the evaluation of each of these.
        tried: the weights that were tried, best first; empty without a choice.
    """

    backtest: Backtest
    params: HybridParameters
    lists: Mapping[str, Array]
    metrics: Mapping[str, Evaluation]
    tried: list[Mapping[str, float]]

    def gain(self, other: Array, recipe: Recipe, error: float) -> tuple[float, float | None, float | None]:
        """Return the model's gain over other lists in the metric, with its interval."""
        return evaluation.gain(
            self.lists["model"],
            other,
            self.backtest.held,
            metric=METRIC,
            error=error,
            k=K,
            resamples=recipe.resamples,
            seed=recipe.shares.seed,
        )


def judge(backtest: Backtest, recipe: Recipe, params: HybridParameters) -> Judged:
    """Fit a recommender on the earlier reads, choose its weights, and judge it beside the baselines."""
    recommender = fit_recommender(backtest.held.train, backtest.catalogue, params)
    backtest = replace(backtest, catalogue=recommender.catalogue)
    chosen, model, tried = _chosen(backtest, recommender)
    # Baselines know no rules.
    lists, plain = {"model": model}, replace(params, chosen=(), lists=ListParameters())
    for name, weights in BASELINES.items():
        if name != "the newest" or len(np.unique(backtest.catalogue.published)) > 1:
            lists[name] = backtest.lists(recommender, plain.weighed(weights))
    return Judged(
        backtest, chosen, lists, {name: _metrics(backtest, own, recipe) for name, own in lists.items()}, tried
    )


def _chosen(backtest: Backtest, recommender: Recommender) -> tuple[HybridParameters, Array, list[Mapping[str, float]]]:
    """Return the chosen parameters, the lists that judge the choice, and the weights that were tried.

    Half of the readers get lists with the weights that the other half chose, so no reader judges an own choice.
    """
    if not recommender.params.chosen:
        return recommender.params, backtest.lists(recommender, recommender.params), []
    held = backtest.held.first(MOST_READERS)
    some = np.arange(len(held.users))
    choice = Choice(recommender, held, backtest.readers.take(some), backtest.at, K)
    halves = [choice.best(some[1 - half :: 2]) for half in (0, 1)]
    lists = np.empty((len(backtest.readers.brand_ids), K), np.int64)
    for half, params in enumerate(halves):
        rows = np.arange(half, len(lists), 2)
        lists[rows] = backtest.lists(recommender, params, rows)
    return choice.best(some), lists, choice.tried()


def _metrics(backtest: Backtest, lists: Array, recipe: Recipe) -> Evaluation:
    return evaluation.evaluate(
        lists,
        backtest.held,
        len(backtest.catalogue),
        k=K,
        resamples=recipe.resamples,
        seed=recipe.shares.seed,
        variety=evaluation.variety(lists, backtest.catalogue, unix_seconds(backtest.at), K),
    )
