"""Test the YAML files that ship with raypipe."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from jsonschema import Draft7Validator

from raypipe.config import json_schema, list_pipelines, load_pipeline, load_shared
from raypipe.config.shared import SharedConfig
from raypipe.models.model import Matrix
from raypipe.models.protocol import FitSpec, load_family
from raypipe.project import shipped
from raypipe.sweep.space import axes

CONFIGS = shipped() / "configs"
# A matrix of sweeps and an experiment are other kinds of documents.
FILES = sorted({*CONFIGS.glob("**/*.yaml")} - {*CONFIGS.glob("sweeps/*.yaml"), *CONFIGS.glob("experiments/*.yaml")})


def test_configs_and_sql_are_shipped_side_by_side() -> None:
    assert (shipped() / "configs" / "base.yaml").is_file()
    assert (shipped() / "sql" / "schema").is_dir()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_valid_for_an_editor(path: Path) -> None:
    assert list(Draft7Validator(json_schema()).iter_errors(yaml.safe_load(path.read_text()))) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_tells_the_editor_its_schema(path: Path) -> None:
    place = "schema.json" if path.parent == CONFIGS else "../schema.json"
    assert f"# yaml-language-server: $schema={place}\n" in path.read_text()


def test_the_schema_in_the_folder_is_the_present_one() -> None:
    assert json.loads((CONFIGS / "schema.json").read_text()) == json_schema(), (
        "write it again: raypipe config schema > configs/schema.json"
    )


@pytest.mark.parametrize("name", list_pipelines(CONFIGS))
def test_a_pipeline_loads(name: str) -> None:
    assert load_pipeline(name, CONFIGS, environ={}).config.pipeline == name


@pytest.mark.parametrize("name", list_pipelines(CONFIGS))
def test_a_pipeline_opens_with_the_command_that_runs_it(name: str) -> None:
    assert (CONFIGS / f"{name}.yaml").read_text().startswith(f"# raypipe run {name} --date latest\n")


@pytest.mark.parametrize("name", list_pipelines(CONFIGS))
def test_every_feature_of_a_pipeline_is_explained(name: str) -> None:
    features = load_pipeline(name, CONFIGS, environ={}).config.features
    assert [feature.name for feature in features if not feature.description] == []


SWEPT = [name for name in list_pipelines(CONFIGS) if load_pipeline(name, CONFIGS, environ={}).config.sweep.space]


@pytest.mark.parametrize("end", [0, 1], ids=["low", "high"])
@pytest.mark.parametrize("name", SWEPT)
def test_a_space_is_one_of_the_model_that_the_pipeline_has(name: str, end: int) -> None:
    config = load_pipeline(name, CONFIGS, environ={}).config
    assert config.label is not None
    known = axes(config.sweep.space)
    own = {axis.name: axis for axis in known if axis.name.startswith("model.params.")}
    ends = {
        name: json.loads(axis.words[-end]) if axis.words else (axis.low, axis.high)[end] for name, axis in own.items()
    }
    found = {name.removeprefix("model.params."): value for name, value in ends.items()}
    params = {name: value for name, value in {**config.model.params, **found}.items() if value is not None}
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 3)).astype(np.float32)
    # As the labels of a pipeline may be, none is negative.
    y = (x[:, 0] > 0) if config.label.kind == "binary" else np.abs(x[:, 0])
    rows = Matrix(x, y.astype(np.float32))
    spec = FitSpec(("a", "b", "c"), (0, 0, 0), params, 60, kind=config.label.kind)
    assert found
    assert np.isfinite(load_family(config.model.class_path).fit(rows, rows, spec)[0].predict(x)).all()
    dropped = {axis.name.partition(":")[2] for axis in known if ":" in axis.name}
    assert dropped <= {feature.name for feature in config.features}


def test_base_says_what_the_defaults_are() -> None:
    assert load_shared(CONFIGS, None, {}) == SharedConfig()


def test_churn_keeps_what_gives_its_label_away_out_of_the_features() -> None:
    never = load_pipeline("churn", CONFIGS, environ={}).config.label.never_features
    assert {"active_today", "active_last_30_days", "churn_risk_score", "churn_probability"} <= set(never)
