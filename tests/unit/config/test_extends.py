"""One file that several pipelines extend, and features that are defined once and then only named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from raypipe.config import Loaded, as_yaml, json_schema, load_pipeline, load_shared, show
from raypipe.errors import ConfigError

Load = Callable[..., Loaded]

SHARED = """\
carry: [account]
source: {table: other, date_column: other_day}
definitions:
  sessions: {unit: sessions, missing: [0], description: So far.}
  tier: {kind: category, vocabulary: 3}
  plan: {kind: category}
"""


@pytest.fixture
def shared(configs: Path, pipeline: dict[str, Any]) -> Path:
    """A file that the pipeline extends."""
    (configs / "shared").mkdir()
    path = configs / "shared" / "days.yaml"
    path.write_text(SHARED)
    pipeline["extends"] = "shared/days.yaml"
    return path


def refused(load: Load) -> str:
    with pytest.raises(ConfigError) as caught:
        load()
    return str(caught.value)


def test_what_a_file_extends_counts_where_it_says_nothing_itself(load: Load, shared: Path, configs: Path) -> None:
    (configs / "base.yaml").write_text("carry: [b]\ntimezone: Europe/Helsinki")
    loaded = load()
    assert loaded.config.carry == ("account",)
    assert (loaded.config.source.table, loaded.config.source.date_column) == ("user_days", "day")
    assert loaded.config.timezone == "Europe/Helsinki"
    assert loaded.sources["carry.0"] == "configs/shared/days.yaml:1"


def test_a_feature_takes_its_definition_and_keeps_what_is_its_own(
    load: Load, shared: Path, pipeline: dict[str, Any]
) -> None:
    pipeline["features"] = ["sessions", {"name": "tier", "vocabulary": 5}, "unheard_of"]
    sessions, tier, other = load().config.features
    assert (sessions.unit, sessions.missing, sessions.description) == ("sessions", (0,), "So far.")
    assert (tier.kind, tier.vocabulary) == ("category", 5)
    assert (other.kind, other.unit) == ("number", None)


def test_every_value_of_a_defined_feature_is_shown_with_its_own_source(load: Load, shared: Path) -> None:
    rows = {path: (value, source) for path, value, source in show(load())}
    assert rows["features.0.name"] == ("sessions", "configs/visits.yaml:14")
    assert rows["features.0.unit"] == ("sessions", "configs/shared/days.yaml:4")
    assert rows["features.0.monotone"] == (0, "default")
    assert not [path for path in rows if path.startswith(("extends", "definitions"))]


def test_an_override_reaches_a_defined_feature(load: Load, shared: Path) -> None:
    loaded = load("features.0.monotone=1")
    assert loaded.config.features[0].monotone == 1
    assert loaded.config.features[0].unit == "sessions"


def test_the_yaml_of_the_whole_needs_no_other_file(load: Load, shared: Path, configs: Path) -> None:
    loaded = load()
    shared.unlink()
    (configs / "visits.yaml").write_text(as_yaml(loaded))
    assert load_pipeline("visits", configs, environ={}).config == loaded.config


def test_a_file_extends_one_that_extends_another(load: Load, shared: Path, configs: Path) -> None:
    (configs / "shared" / "far.yaml").write_text("carry: [far]\ndescription: From afar.")
    shared.write_text(f"extends: shared/far.yaml\n{SHARED}")
    assert (load().config.carry, load().config.description) == (("account",), "From afar.")


def test_the_projects_file_outweighs_the_one_that_comes_with_raypipe(
    load: Load, configs: Path, pipeline: dict[str, Any]
) -> None:
    pipeline["extends"] = "shared/users.yaml"
    del pipeline["entity"]
    assert load().config.entity.keys == ("company_id", "brand_id", "user_id")
    (configs / "shared").mkdir()
    (configs / "shared" / "users.yaml").write_text("entity: {type: user, keys: [user_id], id: user_id}")
    assert load().config.entity.keys == ("user_id",)


def test_definitions_may_stand_in_base(load: Load, configs: Path) -> None:
    (configs / "base.yaml").write_text("definitions: {sessions: {unit: visits}}")
    assert load().config.features[0].unit == "visits"
    assert load_shared(configs, None, {}).timezone == "UTC"


def test_base_extends_nothing(load: Load, shared: Path, configs: Path) -> None:
    (configs / "base.yaml").write_text("timezone: UTC\nextends: shared/days.yaml")
    assert "configs/base.yaml:2  extends cannot be set here" in refused(load)


def test_a_null_extends_nothing(load: Load, pipeline: dict[str, Any]) -> None:
    pipeline["extends"] = None
    assert load().config.extends is None


def test_a_circle_is_told_with_its_way(load: Load, shared: Path, configs: Path) -> None:
    (configs / "shared" / "far.yaml").write_text("extends: shared/days.yaml")
    shared.write_text("extends: shared/far.yaml")
    message = refused(load)
    assert "configs/shared/far.yaml:1  extends goes in a circle" in message
    assert "shared/days.yaml → configs/shared/far.yaml → configs/shared/days.yaml" in message


@pytest.mark.parametrize(
    "path", ["shared/nowhere.yaml", "../days.yaml", "/etc/days.yaml", "days.yaml", 5, ["a/b.yaml"]]
)
def test_a_file_that_cannot_be_extended_is_told(load: Load, shared: Path, pipeline: dict[str, Any], path: Any) -> None:
    pipeline["extends"] = path
    message = refused(load)
    assert "configs/visits.yaml:25  extends" in message
    assert "does not exist" in message if path == "shared/nowhere.yaml" else "cannot be used" in message


@pytest.mark.parametrize(
    ("definitions", "expected"),
    [
        (
            "{tier: {vocab: 3}}",
            "configs/shared/days.yaml:1  features.1.vocab is an unknown key; did you mean vocabulary?",
        ),
        ("{plan: {vocab: 3}}", "definitions.plan.vocab is an unknown key"),
        ("{plan: {kind: word}}", "definitions.plan.kind is not a valid choice"),
        ("{plan: category}", "definitions.plan must be a mapping"),
        ("[plan]", "definitions must be a mapping of features"),
    ],
)
def test_a_mistaken_definition_is_told_used_or_not(load: Load, shared: Path, definitions: str, expected: str) -> None:
    shared.write_text(f"definitions: {definitions}")
    assert expected in refused(load)


def test_an_editor_asks_for_less_of_a_file_that_extends_another(pipeline: dict[str, Any]) -> None:
    validator = Draft7Validator(json_schema())
    del pipeline["entity"]
    assert list(validator.iter_errors(pipeline))
    assert not list(validator.iter_errors({**pipeline, "extends": "shared/users.yaml"}))
    assert list(validator.iter_errors({**pipeline, "extends": "users.yaml"}))
    assert list(validator.iter_errors({"definitions": {"a": {"vocab": 1}}}))
    assert not list(validator.iter_errors({"definitions": {"a": {"vocabulary": 1}}}))
