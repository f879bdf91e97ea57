"""Which clusters take over: the first with any structure, then all that are not worse by more than noise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from raypipe.errors import ConfigError
from raypipe.fit import clusters
from raypipe.fit.fitting import fit_version, fitter
from raypipe.fit.recipe import Recipe

RNG = np.random.default_rng(5)
GOOD = RNG.normal(0.3, 0.1, 2_000)


def recipe(**params: Any) -> Recipe:
    shares = SimpleNamespace(seed=7)
    return cast(Recipe, SimpleNamespace(resamples=200, shares=shares, params=params))


def test_a_family_says_what_fits_it() -> None:
    assert fitter("raypipe.models.kmeans:KMeans") is clusters.fit_version
    assert fitter("raypipe.models.xgboost:XGBoost") is fit_version


def test_the_first_clusters_are_promoted_when_they_show_structure() -> None:
    assert clusters._decide(GOOD, None, recipe()).promote
    none = clusters._decide(GOOD - 0.5, None, recipe())
    assert not none.promote
    assert "no structure" in none.reason


def test_the_same_clusters_take_over_and_worse_ones_do_not() -> None:
    again = clusters._decide(GOOD, GOOD, recipe())
    assert (again.promote, again.difference) == (True, 0.0)
    noise = clusters._decide(GOOD + RNG.normal(0, 0.1, len(GOOD)), GOOD, recipe())
    assert noise.promote
    worse = clusters._decide(GOOD - 0.05, GOOD, recipe())
    assert (worse.promote, worse.rival) == (False, "champion")
    assert "worse than the champion" in worse.reason


@pytest.mark.parametrize("given", [None, 1, "many", [], [3, 1], [2.5], True])
def test_what_is_no_number_of_clusters_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"model\.params\.clusters") as refused:
        clusters._wanted(recipe(clusters=given))
    assert repr(given) in str(refused.value)


def test_k_is_one_number_or_several() -> None:
    assert clusters._wanted(recipe(clusters=4)) == [4]
    assert clusters._wanted(recipe(clusters=[3, 5])) == [3, 5]
