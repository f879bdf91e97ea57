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
    ("family", "params", "kind", "unknown"),
    [
        (XGBOOST, {"max_dept": 4}, "binary", "max_dept"),
        (XGBOOST, {"booster": "gblinear", "max_depth": 4}, "number", "max_depth"),
        (f"{SKLEARN}:LogisticRegression", {"c": 1.0}, "binary", "c"),
        (f"{SKLEARN}:RandomForest", {"max_dept": 4}, "number", "max_dept"),
        (f"{SKLEARN}:MLP", {"early_stopping": True}, "binary", "early_stopping"),
        (KMEANS, {"clusters": [2, 3], "n_inits": 4}, "none", "n_inits"),
        (HYBRID, {"test_days": 2, "popularty": 1.0}, "none", "popularty"),
    ],
)
def test_an_unknown_parameter_is_refused_with_its_name(
    family: str, params: Mapping[str, Any], kind: str, unknown: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_family(family).check(params, kind)
    assert unknown in str(refused.value)


@pytest.mark.parametrize(
    ("family", "params", "kind", "named"),
    [
        (XGBOOST, {"objective": "reg:squarederror"}, "binary", "reg:squarederror"),
        (XGBOOST, {"objective": "binary:logitraw"}, "binary", "binary:logitraw"),
        (XGBOOST, {"objective": "rank:pairwise"}, "binary", "rank:pairwise"),
        (XGBOOST, {"objective": "binary:logistic"}, "number", "binary:logistic"),
        (XGBOOST, {}, "none", "none"),
        (f"{SKLEARN}:LogisticRegression", {}, "number", "number"),
        (f"{SKLEARN}:Ridge", {}, "binary", "binary"),
        (f"{SKLEARN}:MLP", {}, "none", "none"),
    ],
)
def test_a_model_that_contradicts_the_label_is_refused(
    family: str, params: Mapping[str, Any], kind: str, named: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_family(family).check(params, kind)
    assert named in str(refused.value.found)
    assert refused.value.allowed
    assert refused.value.next_step


@pytest.mark.parametrize(
    ("family", "params", "kind"),
    [
        (XGBOOST, {}, "binary"),
        (XGBOOST, {}, "number"),
        (XGBOOST, {"objective": "binary:logistic", "eta": 0.1, "eval_metric": ["auc", "logloss"]}, "binary"),
        # Two rows do not suit this objective; its names are known all the same.
        (XGBOOST, {"objective": "reg:gamma", "max_depth": 4}, "number"),
        (XGBOOST, {"objective": "count:poisson"}, "number"),
        (XGBOOST, {"objective": "reg:logistic", "tree_method": "approx", "max_bin": 64}, "binary"),
        (f"{SKLEARN}:RandomForest", {"max_depth": 4}, "number"),
        (KMEANS, {"clusters": [2, 3], "words": {"sessions": ["few", "many"]}, "n_init": 4}, "none"),
        (HYBRID, {"test_days": 2, "popularity": 1.0}, "none"),
    ],
)
def test_a_known_parameter_is_accepted(family: str, params: Mapping[str, Any], kind: str) -> None:
    load_family(family).check(params, kind)


@pytest.mark.parametrize("pipeline", ["churn", "conversion", "engagement", "clicks", "segmentation", "recommendation"])
def test_the_parameters_of_the_shipped_pipelines_are_known(pipeline: str) -> None:
    config = load_pipeline(pipeline, shipped() / "configs", environ={}).config
    load_family(config.model.class_path).check(config.model.params, config.label.kind if config.label else "none")


@pytest.mark.parametrize(
    "override", ["model.params.objective=reg:squarederror", "model.class=raypipe.models.sklearn:Ridge"]
)
def test_a_fit_refuses_a_model_without_probabilities_before_it_asks_the_database(override: str) -> None:
    loaded = load_pipeline("churn", shipped() / "configs", [override], environ={})
    nobody = cast(Any, None)
    with pytest.raises(ConfigError, match="label") as refused:
        recipe_of(nobody, loaded, None)
    assert "binary" in str(refused.value.found)


def test_a_fit_refuses_a_misspelt_parameter_before_it_asks_the_database() -> None:
    loaded = load_pipeline("churn", shipped() / "configs", ["model.params.max_dept=4"], environ={})
    nobody = cast(Any, None)
    with pytest.raises(ConfigError, match="parameter") as refused:
        recipe_of(nobody, loaded, None)
    assert "max_dept" in str(refused.value.found)
