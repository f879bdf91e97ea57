"""Test the judgement of a version: baselines, halves of readers, and what is promoted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from raypipe.errors import UsageError
from raypipe.evaluation.challenges import ALPHA
from raypipe.recommend import fit
from raypipe.recommend.backtest import Backtest, Judged, judge
from raypipe.recommend.evaluation import at_random
from raypipe.recommend.parameters import PARTS, HybridParameters
from raypipe.recommend.sources import _readers
from tests.unit.recommend.readers import AT, PARAMS, read_catalogue, read_interactions

NOISE = dict.fromkeys(PARTS, 0.0)


class Recipe:
    """The parts of a recipe that a judgement reads."""

    resamples = 100

    class shares:  # noqa: N801 it stands for an attribute
        seed = 3


RECIPE = cast(Any, Recipe)


def backtest(params: HybridParameters = PARAMS) -> Backtest:
    catalogue, held = read_catalogue(params), at_random(read_interactions(), 0.2, seed=1)
    return Backtest(AT, held, catalogue, _readers(held, catalogue))


def judged(params: HybridParameters) -> Judged:
    return judge(backtest(params), RECIPE, params)


@pytest.fixture(scope="module")
def good() -> Judged:
    return judged(PARAMS)


def test_a_version_is_measured_beside_popularity_and_the_newest(good: Judged) -> None:
    assert good.metrics.keys() == {"model", "popularity", "the newest"}
    for measured in good.metrics.values():
        assert {"precision", "ndcg", "coverage", "diversity", "age_days"} <= measured.keys()
    newest, model = good.metrics["the newest"], good.metrics["model"]
    assert newest["age_days"]["value"] < model["age_days"]["value"]
    assert newest["diversity"]["value"] > model["diversity"]["value"]


def test_a_first_version_above_the_strongest_baseline_is_promoted(good: Judged) -> None:
    decision = fit._decide(good, None, RECIPE, ALPHA)
    assert (decision.promote, decision.provisional) == (True, False)
    assert "above the strongest baseline" in decision.reason


def test_a_first_version_that_is_not_shown_to_be_above_is_provisional() -> None:
    # It is the strongest baseline but for the order of two parts of a list.
    alike = judged(PARAMS.weighed({**NOISE, "popularity": 1.0, "content": 0.001}))
    decision = fit._decide(alike, None, RECIPE, ALPHA)
    assert (decision.promote, decision.provisional) == (True, True)
    assert decision.warnings == (decision.reason,)
    assert decision.low is not None
    assert decision.low <= 0


def test_a_first_version_below_the_strongest_baseline_is_refused(good: Judged) -> None:
    swapped = {**good.lists, "model": good.lists["the newest"], "popularity": good.lists["model"]}
    measured = {**good.metrics, "model": good.metrics["the newest"], "popularity": good.metrics["model"]}
    decision = fit._decide(replace(good, lists=swapped, metrics=measured), None, RECIPE, ALPHA)
    assert (decision.promote, decision.provisional) == (False, False)
    assert "below the strongest baseline" in decision.reason


def test_a_champion_with_other_settings_must_be_beaten_on_the_same_reads(good: Judged) -> None:
    weak = PARAMS.weighed({**NOISE, "freshness": 1.0})
    assert fit._decide(good, weak, RECIPE, ALPHA).promote
    equal = fit._decide(good, PARAMS, RECIPE, ALPHA)
    assert not equal.promote
    assert equal.reason.startswith("not better by more than noise")


def test_a_repeated_challenge_needs_more(good: Judged) -> None:
    weak = PARAMS.weighed({**NOISE, "popularity": 1.0})
    once, often = (fit._decide(good, weak, RECIPE, error) for error in (ALPHA, ALPHA / 1000))
    assert once.low is not None
    assert often.low is not None
    assert often.low < once.low
    assert often.level > once.level


def test_readers_are_judged_by_weights_that_others_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = []

    def best(self: Any, rows: np.ndarray) -> HybridParameters:
        chosen.append(rows)
        return PARAMS.weighed({**NOISE, "freshness": 1.0} if rows[0] == 1 else {**NOISE, "popularity": 1.0})

    monkeypatch.setattr("raypipe.recommend.choice.Choice.best", best)
    found = judged(replace(PARAMS, chosen=("content",)))
    lists = found.lists
    # The even readers have the weights that the odd ones chose, and the other way round.
    assert np.array_equal(lists["model"][::2], lists["the newest"][::2])
    assert np.array_equal(lists["model"][1::2], lists["popularity"][1::2])
    assert [rows[0] for rows in chosen] == [1, 0, 0]


def test_without_dates_there_is_no_newest() -> None:
    catalogue = read_catalogue(PARAMS)
    undated = replace(catalogue, published=np.zeros_like(catalogue.published))
    found = judge(replace(backtest(), catalogue=undated), RECIPE, PARAMS)
    assert found.metrics.keys() == {"model", "popularity"}


def test_popularity_counts_the_readers_of_the_reads_that_are_known() -> None:
    catalogue = replace(read_catalogue(PARAMS), popularity=np.empty(0, np.float32))
    found = judge(replace(backtest(), catalogue=catalogue), RECIPE, PARAMS)
    read = np.bincount(found.backtest.held.train.items, minlength=len(catalogue))
    assert np.argmax(found.backtest.catalogue.popularity[:80]) == np.argmax(read[:80])


def test_two_configurations_with_other_reads_are_not_compared(good: Judged) -> None:
    fit._require_same_reads(good, judged(PARAMS.weighed({"content": 0.0})))
    other = replace(good.backtest, held=at_random(read_interactions(), 0.3, seed=2))
    with pytest.raises(UsageError, match="do not have the same reads"):
        fit._require_same_reads(good, replace(good, backtest=other))


def test_lists_of_some_readers_are_theirs(good: Judged) -> None:
    rows = pa.array([3, 1]).to_numpy()
    from raypipe.recommend.recommender import fit_recommender

    model = fit_recommender(good.backtest.held.train, good.backtest.catalogue, PARAMS)
    assert np.array_equal(good.backtest.lists(model, PARAMS, rows), good.lists["model"][rows])
