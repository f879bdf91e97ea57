"""Test the rules for a search space and a matrix of sweeps."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from raypipe.config import Loaded, as_yaml, json_schema, load_pipeline
from raypipe.config.matrix import MOST_CELLS, load_matrix
from raypipe.errors import ConfigError, UsageError
from raypipe.models.protocol import load_family
from raypipe.project import shipped

Load = Callable[..., Loaded]

SPACE = {
    "model.params.max_depth": {"int": [2, 8]},
    "model.params.eta": {"log": [0.01, 0.3]},
    "model.rounds": {"log_int": [50, 500]},
    "model.balance": {"choice": ["none", "scale_pos_weight"]},
    "features.drop": {"subset": ["tier"]},
    "parameters.window": {"choice": [7, 28]},
}


@pytest.fixture
def searched(pipeline: dict[str, Any]) -> dict[str, Any]:
    """The pipeline with a space, for a test to change."""
    pipeline["parameters"] = {"window": 28}
    pipeline["sweep"] = {"space": dict(SPACE)}
    return pipeline


def test_a_space_comes_through_as_it_is_written(load: Load, searched: dict[str, Any]) -> None:
    assert load().config.sweep.space == SPACE


def test_a_configuration_with_a_space_is_written_and_read_again(
    load: Load, searched: dict[str, Any], configs: Path
) -> None:
    written = as_yaml(load())
    (configs / "visits.yaml").write_text(written)
    assert load_pipeline("visits", configs, environ={}).config == load().config


def test_an_editor_knows_a_space(searched: dict[str, Any]) -> None:
    validator = Draft7Validator(json_schema())
    assert list(validator.iter_errors(searched)) == []
    searched["sweep"]["space"]["model.params.eta"] = {"logarithmic": [0.1, 1]}
    assert len(list(validator.iter_errors(searched))) == 1


@pytest.mark.parametrize(
    ("key", "dimension", "expected"),
    [
        ("model.params.eta", 0.1, "is not a range of values"),
        ("model.params.eta", {"uniform": [0, 1]}, "is not a range of values"),
        ("model.params.eta", {"log": [0.1, 1], "int": [1, 2]}, "is not a range of values"),
        ("model.params.eta", {"float": [0.3, 0.1]}, "the lowest first"),
        ("model.params.eta", {"float": [0.3]}, "two numbers"),
        ("model.params.eta", {"log": [0, 0.3]}, "a lowest above 0"),
        ("model.params.eta", {"float": [0, math.inf]}, "finite numbers"),
        ("model.params.eta", {"float": [math.nan, 1]}, "finite numbers"),
        ("model.params.depth", {"choice": [2, math.inf]}, "finite numbers"),
        ("model.params.depth", {"int": [2, 10**400]}, "finite numbers"),
        ("model.params.depth", {"int": [2.5, 8]}, "two whole numbers"),
        ("model.params.depth", {"choice": [2]}, "at least two values"),
        ("model.params.depth", {"choice": [2, 2]}, "each once"),
        ("model.params.depth", {"subset": ["a", "b"]}, "a subset only for features.drop"),
        ("model.rounds", {"float": [10, 20]}, "whole numbers of at least 1"),
        ("model.balance", {"choice": ["none", "all"]}, "a choice of none, scale_pos_weight"),
        ("model.workers", {"int": [1, 4]}, "cannot be varied by a sweep"),
        ("model.params.", {"int": [1, 4]}, "cannot be varied by a sweep"),
        ("features.drop", {"int": [1, 4]}, "subset"),
        ("features.drop", {"subset": ["sesions"]}, "names an unknown feature"),
        ("features.drop", {"subset": ["sessions", "tier"]}, "could drop every feature"),
        ("parameters.months", {"int": [1, 4]}, "is not a parameter of features.sql"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_where_it_stands(
    load: Load, searched: dict[str, Any], key: str, dimension: object, expected: str
) -> None:
    searched["sweep"]["space"] = {key: dimension}
    with pytest.raises(ConfigError) as caught:
        load()
    message = str(caught.value)
    assert expected in message
    assert f"sweep.space.{key} " in message
    assert "configs/visits.yaml:" in message


def test_a_number_has_no_classes_that_a_sweep_could_balance(load: Load, searched: dict[str, Any]) -> None:
    searched["sweep"]["space"] = {"model.balance": {"choice": ["none", "scale_pos_weight"]}}
    with pytest.raises(ConfigError, match=r"sweep\.space\.model\.balance needs a binary label"):
        load("label.kind=number", "evaluate.metric=rmse", "sweep.metric=rmse")


def test_a_parameter_that_raypipe_binds_itself_is_refused(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"parameters\.until is bound by raypipe itself"):
        load("parameters.until=2026-01-01")


def written(folder: Path, **content: Any) -> Path:
    path = folder / "matrix.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_matrix_crosses_its_axes(tmp_path: Path) -> None:
    path = written(tmp_path, pipelines=["churn", "conversion"], brands=["b1", "b2"], horizons=[14])
    cells = load_matrix(path)
    assert [cell.label for cell in cells] == [
        "churn × b1 × 14 days",
        "churn × b2 × 14 days",
        "conversion × b1 × 14 days",
        "conversion × b2 × 14 days",
    ]
    assert cells[0].overrides == ("label.horizon_days=14",)


def test_a_model_of_a_matrix_replaces_the_parameters_of_the_pipelines_own(configs: Path) -> None:
    forest = {"model.class": "raypipe.models.sklearn:RandomForest", "model.params": {"min_samples_leaf": 20}}
    path = written(configs.parent, pipelines=["visits"], models={"forest": forest}, set={"sweep.trials": 3})
    (cell,) = load_matrix(path)
    loaded = load_pipeline("visits", configs, ["model.params={eta: 0.1}", *cell.overrides], environ={})
    assert loaded.config.model.params == {"min_samples_leaf": 20}
    assert loaded.config.model.class_path == "raypipe.models.sklearn:RandomForest"
    assert loaded.config.sweep.trials == 3


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"brands": ["b1"]}, "pipelines is required"),
        ({"pipelines": ["churn", "churn"]}, "repeats a value"),
        ({"pipelines": ["churn"], "brand": ["b1"]}, "did you mean brands"),
        ({"pipelines": ["churn"], "horizons": [0]}, "horizons.0"),
    ],
)
def test_a_matrix_that_cannot_be_used_is_refused(tmp_path: Path, content: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_matrix(written(tmp_path, **content))
    assert expected in str(caught.value)


def test_a_matrix_of_too_many_cells_is_refused(tmp_path: Path) -> None:
    days = list(range(1, MOST_CELLS + 1))
    assert len(load_matrix(written(tmp_path, pipelines=["churn"], horizons=days))) == MOST_CELLS
    with pytest.raises(UsageError, match="too many cells"):
        load_matrix(written(tmp_path, pipelines=["churn"], horizons=[*days, MOST_CELLS + 1]))


def test_a_matrix_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    written(tmp_path, pipelines=["churn"])
    with pytest.raises(UsageError, match="does not exist") as caught:
        load_matrix(tmp_path / "martix.yaml")
    assert "matrix.yaml" in str(caught.value)


@pytest.mark.parametrize("path", sorted((shipped() / "configs" / "sweeps").glob("*.yaml")), ids=lambda path: path.name)
def test_a_shipped_matrix_can_be_used(path: Path) -> None:
    for cell in load_matrix(path):
        config = load_pipeline(cell.pipeline, shipped() / "configs", cell.overrides, environ={}).config
        assert config.sweep.space or load_family(config.model.class_path).space
