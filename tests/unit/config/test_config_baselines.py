"""A comparison's configuration: what it shares with the pipeline that it names, and what it cannot name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from raypipe.config import Loaded, json_schema, load_pipeline
from raypipe.errors import ConfigError

Compare = Callable[..., Loaded]
MODELS = [{"name": "forest", "class": "raypipe.models.sklearn:RandomForest", "rounds": 5}]


@pytest.fixture
def compare(configs: Path) -> Compare:
    """Loads a comparison with the pipeline `visits`, as the test has changed it."""

    def loaded(*overrides: str, of: str = "visits", models: Any = MODELS, **more: Any) -> Loaded:
        document = {"pipeline": "simple", "baselines": {"of": of, "models": models}, **more}
        (configs / "simple.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        return load_pipeline("simple", configs, overrides, {})

    return loaded


def refused(compare: Compare, *overrides: str, **document: Any) -> str:
    with pytest.raises(ConfigError) as refusal:
        compare(*overrides, **document)
    return str(refusal.value)


def test_rows_features_and_labels_are_those_of_the_pipeline_that_is_named(compare: Compare, configs: Path) -> None:
    shared, own = compare(), load_pipeline("visits", configs, (), {})
    for name in ("entity", "source", "label", "features", "levels", "publish", "split", "evaluate"):
        assert getattr(shared.config, name) == getattr(own.config, name)
    assert shared.sources["features.0.name"] == own.sources["features.0.name"] == "configs/visits.yaml:14"


def test_name_order_and_model_are_its_own(compare: Compare, configs: Path) -> None:
    text = (configs / "visits.yaml").read_text()
    (configs / "visits.yaml").write_text(f"{text}enabled: false\nafter: [other]\nmodel: {{rounds: 9}}\n")
    config = compare(after=["visits"]).config
    assert (config.pipeline, config.enabled, config.after) == ("simple", True, ("visits",))
    assert config.model.rounds != 9
    assert config.baselines is not None
    (model,) = config.baselines.models
    assert (model.name, model.rounds, model.class_path) == ("forest", 5, "raypipe.models.sklearn:RandomForest")


def test_the_command_line_outweighs_the_pipeline_that_is_named_and_may_name_another(
    compare: Compare, configs: Path
) -> None:
    other = yaml.safe_load((configs / "visits.yaml").read_text())
    other |= {"pipeline": "other", "source": {"table": "other_days", "date_column": "day"}}
    (configs / "other.yaml").write_text(yaml.safe_dump(other))
    config = compare("baselines.of=other", "label.horizon_days=3", "baselines.models.0.rounds=7").config
    assert (config.source.table, config.label.horizon_days) == ("other_days", 3)
    assert config.baselines is not None
    assert config.baselines.models[0].rounds == 7


def test_a_pipeline_that_does_not_exist_is_named_with_its_line(compare: Compare) -> None:
    message = refused(compare, of="visit")
    assert "has 1 problem\n" in message
    assert "configs/simple.yaml:3  baselines.of names a pipeline that does not exist" in message
    assert "found: 'visit'" in message
    assert "allowed: visits" in message


def test_a_comparison_is_not_compared_with_itself(compare: Compare) -> None:
    assert "baselines.of names a pipeline that does not exist" in refused(compare, of="simple")


@pytest.mark.parametrize("section", ["ads: {}", "baselines: {of: visits, models: [{name: a}]}"])
def test_a_pipeline_without_labelled_rows_is_refused(compare: Compare, configs: Path, section: str) -> None:
    text = (configs / "visits.yaml").read_text().replace("pipeline: visits", "pipeline: special")
    (configs / "special.yaml").write_text(f"{text}{section}\n")
    assert "baselines.of names a pipeline without labels to fit on" in refused(compare, of="special")


@pytest.mark.parametrize(
    ("models", "problem"),
    [
        ([], "baselines.models must not be empty"),
        ([*MODELS, *MODELS], "baselines.models gives two models the same name"),
        ([{"name": "champion"}], "baselines.models.0.name is the name of another entry in the comparison"),
        ([{"class": "a:B"}], "baselines.models.0.name is required"),
        ([{"name": "a", "roundz": 3}], "baselines.models.0.roundz is an unknown key; did you mean rounds?"),
    ],
)
def test_models_that_cannot_be_told_apart_are_refused(compare: Compare, models: Any, problem: str) -> None:
    assert problem in refused(compare, models=models)


def test_what_is_wrong_with_the_pipeline_that_is_named_is_told_with_its_line(compare: Compare, configs: Path) -> None:
    text = (configs / "visits.yaml").read_text()
    (configs / "visits.yaml").write_text(text.replace("horizon_days: 7", "horizon_days: soon"))
    assert "configs/visits.yaml:12  label.horizon_days must be a whole number" in refused(compare)


def test_the_schema_asks_a_comparison_for_no_more_than_its_models() -> None:
    document = {"pipeline": "simple", "baselines": {"of": "visits", "models": MODELS}}
    assert list(Draft7Validator(json_schema()).iter_errors(document)) == []
    assert list(Draft7Validator(json_schema()).iter_errors({**document, "baselines": {"of": "visits"}}))
