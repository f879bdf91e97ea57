"""Parameters of a fit whose names the family does not know: they are refused before any row is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from raypipe.config.load import load_pipeline
from raypipe.errors import ConfigError
from raypipe.fit.recipe import recipe_of
from raypipe.models.protocol import load_family
from raypipe.project import shipped

XGBOOST, SKLEARN = "raypipe.models.xgboost:XGBoost", "raypipe.models.sklearn"
KMEANS, HYBRID = "raypipe.segment.kmeans:KMeans", "raypipe.recommend.hybrid:HybridRecommender"


@pytest.mark.parametrize(
    ("family", "params", "unknown"),
    [
        (XGBOOST, {"max_dept": 4}, "max_dept"),
        (XGBOOST, {"objective": "reg:squarederror", "booster": "gblinear", "max_depth": 4}, "max_depth"),
        (f"{SKLEARN}:LogisticRegression", {"c": 1.0}, "c"),
        (f"{SKLEARN}:RandomForest", {"task": "number", "max_dept": 4}, "max_dept"),
        (f"{SKLEARN}:Ridge", {"task": "binary"}, "binary"),
        (f"{SKLEARN}:MLP", {"early_stopping": True}, "early_stopping"),
        (KMEANS, {"clusters": [2, 3], "n_inits": 4}, "n_inits"),
        (HYBRID, {"test_days": 2, "popularty": 1.0}, "popularty"),
    ],
)
def test_an_unknown_parameter_is_refused_with_its_name(family: str, params: Mapping[str, Any], unknown: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_family(family).check(params)
    assert unknown in str(refused.value)


@pytest.mark.parametrize(
    ("family", "params"),
    [
        (XGBOOST, {}),
        (XGBOOST, {"objective": "binary:logistic", "eta": 0.1, "max_depth": 4, "eval_metric": ["auc", "logloss"]}),
        # Two rows do not suit this objective; its names are known all the same.
        (XGBOOST, {"objective": "rank:pairwise", "max_depth": 4}),
        (XGBOOST, {"objective": "binary:logistic", "tree_method": "approx", "max_bin": 64}),
        (f"{SKLEARN}:RandomForest", {"task": "number", "max_depth": 4}),
        (KMEANS, {"clusters": [2, 3], "words": {"sessions": ["few", "many"]}, "n_init": 4}),
        (HYBRID, {"test_days": 2, "popularity": 1.0}),
    ],
)
def test_a_known_parameter_is_accepted(family: str, params: Mapping[str, Any]) -> None:
    load_family(family).check(params)


@pytest.mark.parametrize("pipeline", ["churn", "conversion", "engagement", "clicks", "segmentation", "recommendation"])
def test_the_parameters_of_the_shipped_pipelines_are_known(pipeline: str) -> None:
    model = load_pipeline(pipeline, shipped() / "configs", environ={}).config.model
    load_family(model.class_path).check(model.params)


def test_a_fit_refuses_a_misspelt_parameter_before_it_asks_the_database() -> None:
    loaded = load_pipeline("churn", shipped() / "configs", ["model.params.max_dept=4"], environ={})
    nobody = cast(Any, None)
    with pytest.raises(ConfigError, match="parameter") as refused:
        recipe_of(nobody, loaded, None)
    assert "max_dept" in str(refused.value.found)
