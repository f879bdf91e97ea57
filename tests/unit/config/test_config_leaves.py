from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from raypipe.config import Loaded, as_yaml, load_pipeline, show

Load = Callable[..., Loaded]


def shown(loaded: Loaded) -> dict[str, tuple[Any, str]]:
    return {path: (value, source) for path, value, source in show(loaded)}


def test_every_value_is_shown_with_its_source(load: Load, configs: Path) -> None:
    (configs / "base.yaml").write_text("\nscore:\n  slice_rows: 10\n")
    rows = shown(load("model.rounds=5", environ={"RAYPIPE_URL": "http://e:1"}))
    assert rows["score.slice_rows"] == (10, "configs/base.yaml:3")
    assert rows["pipeline"] == ("visits", "configs/visits.yaml:1")
    assert rows["model.rounds"] == (5, "--set")
    assert rows["connection.url"] == ("http://e:1", "RAYPIPE_URL")
    assert rows["split.seed"] == (7, "default")


def test_a_bare_feature_name_has_its_line_and_its_kind_is_a_default(load: Load) -> None:
    rows = shown(load())
    assert rows["features.0.name"] == ("sessions", "configs/visits.yaml:14")
    assert rows["features.0.kind"] == ("number", "default")


def test_an_empty_list_is_a_value(load: Load) -> None:
    assert shown(load())["carry"] == ([], "default")


def test_the_models_class_is_shown_as_it_is_written(load: Load) -> None:
    assert "model.class" in shown(load())


def test_keys_without_meaning_for_a_feature_are_not_shown(load: Load) -> None:
    rows = shown(load())
    assert "features.0.vocabulary" not in rows
    assert "features.1.monotone" not in rows


def test_what_is_shown_and_what_has_a_source_are_the_same(load: Load) -> None:
    loaded = load()
    assert set(shown(loaded)) == set(loaded.sources)


def test_the_yaml_of_a_configuration_loads_as_the_same(load: Load, configs: Path) -> None:
    loaded = load("model.params={eta: 1e-3, eval_metric: [auc]}", "evaluate.threshold={recall: 0.9}")
    (configs / "visits.yaml").write_text(as_yaml(loaded))
    assert load_pipeline("visits", configs, environ={}).config == loaded.config
