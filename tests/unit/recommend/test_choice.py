"""Test the choice of weights: what readers read next decides, and noise does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from raypipe.recommend.choice import VALUES, Choice
from raypipe.recommend.evaluation import Holdout, at_random
from raypipe.recommend.parameters import HybridParameters
from raypipe.recommend.recommender import fit_recommender
from raypipe.recommend.sources import _readers
from tests.unit.recommend.readers import AT, PARAMS, read_catalogue, read_interactions

START = replace(PARAMS, als=0.0, content=0.1, popularity=3.2, freshness=3.2)


def choice(params: HybridParameters, held: Holdout | None = None) -> Choice:
    held = held or at_random(read_interactions(), 0.2, seed=1)
    recommender = fit_recommender(held.train, read_catalogue(params), params, threads=1)
    return Choice(recommender, held, _readers(held, recommender.catalogue), AT, 10)


def everybody(search: Choice) -> np.ndarray:
    return np.arange(len(search.held.users))


def test_readers_with_a_topic_choose_the_parts_that_know_it() -> None:
    search = choice(replace(START, chosen=("content", "popularity", "freshness")))
    found = search.best(everybody(search))
    assert found.content > found.popularity
    assert found.als == 0
    tried = search.tried()
    assert tried[0]["ndcg"] > tried[-1]["ndcg"]
    own = {part: getattr(found, part) for part in ("content", "popularity", "freshness")}
    assert any(own.items() <= entry.items() for entry in tried[: len(tried) // 2])


def test_a_weight_that_changes_nothing_stays() -> None:
    # There is no content.
    bare = replace(PARAMS, content_width=0, content=0.8, chosen=("content",))
    search = choice(bare)
    assert search.best(everybody(search)) == bare
    assert len(search.tried()) == len(VALUES)


def test_the_choice_of_some_readers_does_not_look_at_the_others() -> None:
    search = choice(replace(START, chosen=("content", "popularity")))
    half = everybody(search)[::2]
    before = search.best(half)
    others = np.setdiff1d(everybody(search), half)
    rng = np.random.default_rng(0)
    for values in search._tried.values():
        values[others] = rng.random(len(others))
    assert search.best(half) == before


def test_equal_settings_are_equal_whatever_was_chosen() -> None:
    one = HybridParameters.from_mapping({"content": 1.0, "als": None})
    assert one.chosen == ("als", "neighbours", "popularity", "freshness")
    assert one.same_settings(one.weighed({"als": 3.2, "freshness": 0.0}))
    assert not one.same_settings(one.weighed({"content": 2.0}))
    assert not one.same_settings(replace(one, chosen=("als",)))


def test_readers_can_be_taken() -> None:
    search = choice(replace(START, chosen=("content",)))
    rows = np.array([4, 2])
    assert search.readers.take(rows).items.to_pylist() == [search.readers.items[int(row)].as_py() for row in rows]
