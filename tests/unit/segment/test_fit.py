"""Test which clusters become champion: the first with structure, then any not worse by more than noise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.load import load_pipeline
from raypipe.errors import ConfigError
from raypipe.fit.fitted import fitter_of
from raypipe.fit.labelled import fit_version
from raypipe.fit.recipe import Recipe
from raypipe.models.protocol import History
from raypipe.project import shipped
from raypipe.segment import fit
from raypipe.segment.clusters import Clusters
from raypipe.sweep.sweep import sweep_pipeline

RNG = np.random.default_rng(5)
GOOD = RNG.normal(0.3, 0.1, 2_000)


def recipe(**params: Any) -> Recipe:
    shares = SimpleNamespace(seed=7)
    return cast(Recipe, SimpleNamespace(resamples=200, shares=shares, params=params))


def test_a_family_says_what_fits_it() -> None:
    assert fitter_of("raypipe.segment.kmeans:KMeans") is fit.fit_version
    assert fitter_of("raypipe.models.xgboost:XGBoost") is fit_version


def test_the_first_clusters_are_promoted_when_they_show_structure() -> None:
    assert fit._decide(GOOD, None, recipe()).promote
    none = fit._decide(GOOD - 0.5, None, recipe())
    assert not none.promote
    assert "no structure" in none.reason


def test_the_same_clusters_take_over_and_worse_ones_do_not() -> None:
    again = fit._decide(GOOD, GOOD, recipe())
    assert (again.promote, again.difference) == (True, 0.0)
    noise = fit._decide(GOOD + RNG.normal(0, 0.1, len(GOOD)), GOOD, recipe())
    assert noise.promote
    worse = fit._decide(GOOD - 0.05, GOOD, recipe())
    assert (worse.promote, worse.rival) == (False, "champion")
    assert "worse than the champion" in worse.reason
    none = fit._decide(GOOD - 0.5, GOOD - 0.5, recipe())
    assert not none.promote
    assert "no structure" in none.reason


@pytest.mark.parametrize("given", [None, 1, "many", [], [3, 1], [2.5], True])
def test_what_is_no_number_of_clusters_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"model\.params\.clusters") as refused:
        fit._candidates(recipe(clusters=given))
    assert repr(given) in str(refused.value)


def test_k_is_one_number_or_several_each_tried_once() -> None:
    assert fit._candidates(recipe(clusters=4)) == [4]
    assert fit._candidates(recipe(clusters=[5, 3, 5])) == [5, 3]


def tried(k: int, silhouettes: Any) -> fit.ClusterTrial:
    return fit.ClusterTrial(k, clustered(k), History(1, 1), silhouettes)


def clustered(k: int) -> Clusters:
    return Clusters(("x",), [0.0], [0.0], [1.0], [[float(at)] for at in range(k)], [1] * k, range(k))


def test_k_has_the_highest_silhouette_and_stays_while_that_may_be_noise() -> None:
    noise = RNG.normal(0, 0.1, len(GOOD))
    found = [tried(3, GOOD), tried(4, GOOD + noise - noise.mean() + 1e-4), tried(5, GOOD - 0.05)]
    assert fit._best(found, None, recipe()).k == 4
    assert fit._best(found, clustered(3), recipe()).k == 3
    # 5 is worse by more than noise, 6 is not tried any more.
    assert fit._best(found, clustered(5), recipe()).k == 4
    assert fit._best(found, clustered(6), recipe()).k == 4


@pytest.mark.parametrize(
    ("pipeline", "says"), [("segmentation", "model.params.clusters"), ("recommendation", "champion's")]
)
def test_a_sweep_without_a_label_is_refused_before_anything_is_asked_and_says_where_values_are_chosen(
    pipeline: str, says: str
) -> None:
    loaded = load_pipeline(pipeline, shipped() / "configs", environ={})
    with pytest.raises(ConfigError, match=f"{pipeline} has no label") as refused:
        sweep_pipeline(Endpoint.parse("http://127.0.0.1:1"), loaded, "nowhere", lambda *_: None)
    assert f"`raypipe fit {pipeline}`" in str(refused.value.next_step)
    assert says in str(refused.value.next_step)
