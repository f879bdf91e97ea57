"""Test each rule of the configuration schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator
from pydantic import BaseModel, ValidationError

from raypipe.config import Loaded, json_schema
from raypipe.config.features import Feature
from raypipe.config.fields import Section
from raypipe.config.model import ModelConfig
from raypipe.config.schema import PipelineConfig
from raypipe.errors import ConfigError

Load = Callable[..., Loaded]
NUMBER = ("evaluate.metric=rmse", "label.kind=number")


def models(base: type[BaseModel] = Section) -> Iterator[type[BaseModel]]:
    """Every section, as all of them are imported with the pipeline's configuration."""
    for model in base.__subclasses__():
        yield model
        yield from models(model)


def refused(load: Load, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*overrides)
    return str(caught.value)


@pytest.mark.parametrize("model", list(models()), ids=lambda model: model.__name__)
def test_every_field_is_described(model: type[BaseModel]) -> None:
    assert model.__doc__
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_a_bare_name_is_a_number(load: Load) -> None:
    assert load().config.features[0] == Feature(name="sessions", kind="number")


def test_the_models_class_is_written_class(load: Load) -> None:
    assert load("model.class=my.package:Model").config.model.class_path == "my.package:Model"


def test_the_models_parameters_pass_through_as_they_are(load: Load) -> None:
    params = load("model.params={eta: 1e-3, eval_metric: [auc, logloss], max_depth: 6}").config.model.params
    assert params == {"eta": 0.001, "eval_metric": ["auc", "logloss"], "max_depth": 6}


def test_parameters_pass_through_as_they_are(load: Load) -> None:
    assert load("parameters={days: 30, kind: a}").config.parameters == {"days": 30, "kind": "a"}


@pytest.mark.parametrize("name", ["date", "until", "timezone", "slice_lower_0"])
def test_what_raypipe_binds_is_no_parameter_of_a_pipeline(load: Load, name: str) -> None:
    assert f"parameters.{name} is bound by raypipe itself" in refused(load, f"parameters={{{name}: 1}}")


def test_a_pipeline_without_a_label_is_for_a_family_that_needs_none(load: Load) -> None:
    assert load("label=null").config.label is None


def test_a_configuration_cannot_be_changed(load: Load) -> None:
    with pytest.raises(ValidationError):
        load().config.model.rounds = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("evaluate.threshold=youden", "youden"),
        ("evaluate.threshold={precision: 0.8}", {"precision": 0.8}),
        ("evaluate.threshold={recall: 0.9}", {"recall": 0.9}),
    ],
)
def test_the_threshold_is_a_rule_or_a_goal(load: Load, override: str, value: object) -> None:
    assert load(override).config.evaluate.threshold == value


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), "evaluate.persistence needs a label that is a number"),
        (("label=null",), "evaluate.persistence needs a label that is a number"),
        (NUMBER, "evaluate.persistence is not a feature of kind number"),
    ],
)
def test_persistence_is_a_number_that_the_model_sees(load: Load, overrides: tuple[str, ...], expected: str) -> None:
    assert expected in refused(load, *overrides, "evaluate.persistence=tier")
    assert load(*NUMBER, "evaluate.persistence=sessions").config.evaluate.persistence == "sessions"


@pytest.mark.parametrize(
    "url", ["chdb:/data/clickhouse", "http://localhost:8123/db", "https://me@ch.example:8443/news"]
)
def test_an_address_is_a_server_or_an_embedded_path(load: Load, url: str) -> None:
    assert load(url=url).config.connection.url == url


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("features=[sessions, sessions]", "features.1 names a feature twice"),
        ("entity.keys=[user_id, user_id]", "entity.keys repeats a value"),
        ("entity.id=account_id", "entity.id is not one of entity.keys"),
        ("carry=[tier, user_id]", "carry.1 names a key"),
        ("features=[]", "features must not be empty"),
        ("publish=[]", "publish must not be empty"),
        ("label.never_features=[sessions]", "features.0 leaks the label"),
        ("features=[label]", "features.0 leaks the label"),
        ("label.horizon_days=null", "label.horizon_days is required, as source.date_column is set"),
        ("label.range=[0, 1]", "label.range applies only to numbers"),
        ("label={kind: number, range: [5, 5]}", "label.range is empty"),
        ("label={kind: number, range: [5]}", "label.range must"),
        ("source.date_column=null", "label.horizon_days needs snapshots, but source.date_column is null"),
        ("levels.1.below=0.4", "levels.1.below is not above the level before it"),
        ("levels.1.below=0.9", "levels.1.below gives the highest scores no level"),
        ("levels.1.name=low", "levels gives two levels the same name"),
        (
            "split={test_share: 0.6, validation_share: 0.4}",
            "split.test_share and validation_share leave no training rows",
        ),
        ("split.test_share=0", "split.test_share must be greater than 0"),
        ("features.1.monotone=1", "features.1.monotone applies only to numbers"),
        ("features.0={name: a, vocabulary: 5}", "features.0.vocabulary applies only to categories"),
        ("features.0={name: a, encode: ordinal}", "features.0.encode applies only to categories"),
        ("features.0={name: a, missing: [0, x]}", "features.0.missing.1 is not a number"),
        ("features.1.missing=[0]", "features.1.missing.0 is not a string"),
        ("features.0='a b'", "features.0 has the wrong form"),
        ("source.table=a.b.c", "source.table has the wrong form"),
        ("source.table='a; DROP TABLE b'", "source.table has the wrong form"),
        ("publish.0.sql=../secret.sql", "publish.0.sql has the wrong form"),
        ("publish.0.sql=/etc/x.sql", "publish.0.sql has the wrong form"),
        ("model.class=xgboost", "model.class has the wrong form"),
        ("evaluate.threshold={precision: 80}", "evaluate.threshold is not a way to choose a threshold"),
        ("ads={window_days: 7, test_days: 7}", "ads.test_days leaves no days to learn from"),
        ("ads.click=ad_impression", "ads.click equals ads.impression"),
        ("ads.context=[device, device]", "ads.context repeats a value"),
        ("ads.context=[]", "ads.context must not be empty"),
        ("ads.context=[hour]", "ads.context.0 is not a valid choice"),
        ("evaluate.metric=rmse", "evaluate.metric does not fit the label"),
        ("label={kind: classes, horizon_days: 7}", "label.classes needs at least two names"),
        ("label.classes=[a, b]", "label.classes applies only to classes"),
        ("label={kind: classes, horizon_days: 7, classes: [a, a]}", "label.classes repeats a value"),
        (
            "label={kind: classes, horizon_days: 7, classes: [a, b], range: [0, 1]}",
            "label.range applies only to numbers",
        ),
        ("label={kind: classes, horizon_days: 7, classes: [a, b]}", "levels divide a single score"),
        ("monitor.psi_alert=0.05", "monitor.psi_alert is not above psi_warning"),
        ("score.actors={max: 0}", "score.actors.max must be greater than or equal to 1"),
        ("score.chunk_rows=2000000", "score.chunk_rows must be less than or equal to 1000000"),
        ("score.max_rejected=.nan", "score.max_rejected must be a finite number"),
        ("timezone=Mars/Olympus", "timezone is not a known time zone"),
        ("connection.url=ftp://host/db", "connection.url is not a ClickHouse address"),
        ("connection.url=http://host:99999/db", "connection.url is not a ClickHouse address"),
        ("connection.url='chdb:'", "connection.url is not a ClickHouse address"),
    ],
)
def test_what_breaks_a_rule_is_refused(load: Load, override: str, expected: str) -> None:
    assert expected in refused(load, override)


def test_class_weights_need_classes(load: Load) -> None:
    message = refused(load, "label.kind=number", "evaluate.metric=rmse", "model.balance=scale_pos_weight")
    assert "model.balance needs a binary label" in message


def test_predictions_are_published_last(load: Load, pipeline: dict[str, Any]) -> None:
    pipeline["publish"].append({"target": "other", "sql": "visits/publish.sql"})
    assert "publish.0.target must come last" in refused(load)


@pytest.mark.parametrize("value", ["'5'", "5.5", "true"])
def test_a_value_of_another_type_is_not_converted(load: Load, value: str) -> None:
    assert "model.rounds must be a whole number" in refused(load, f"model.rounds={value}")


def test_alternatives_of_one_value_are_one_problem(load: Load) -> None:
    message = refused(load, "features.0={name: a, missing: [[1]]}")
    assert "has 1 problem\n" in message
    assert "features.0.missing.0 must be a whole number or a number or text" in message


def test_a_pipeline_does_not_take_the_name_of_raypipes_own_sql(load: Load, pipeline: dict[str, Any]) -> None:
    pipeline["pipeline"] = "shared"
    assert "is reserved by raypipe" in refused(load)


def test_python_code_names_the_class_by_its_field() -> None:
    assert ModelConfig(class_path="a:B").class_path == "a:B"


def test_the_schema_is_a_schema() -> None:
    Draft7Validator.check_schema(json_schema())


def test_the_schema_accepts_what_loads(pipeline: dict[str, Any]) -> None:
    assert list(Draft7Validator(json_schema()).iter_errors(pipeline)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"rounds": 1},
        {"model": {"roundz": 1}},
        {"model": {"class_path": "a:B"}},
        {"features": [{"name": "a", "kind": "word"}]},
        {"features": ["a b"]},
        {"evaluate": {"threshold": {"precision": 80}}},
        {"publish": []},
    ],
)
def test_the_schema_refuses_what_does_not_load(pipeline: dict[str, Any], change: dict[str, Any]) -> None:
    assert list(Draft7Validator(json_schema()).iter_errors({**pipeline, **change}))


def test_the_schema_asks_a_pipeline_for_what_it_must_have(pipeline: dict[str, Any]) -> None:
    del pipeline["entity"]
    assert [error.message for error in Draft7Validator(json_schema()).iter_errors(pipeline)] == [
        "'entity' is a required property"
    ]


def test_every_object_of_the_schema_is_closed_but_the_models_parameters() -> None:
    schema = json_schema()
    definitions = {"top": schema, **schema["$defs"]}
    assert [name for name, part in definitions.items() if part.get("additionalProperties") is not False] == []
    assert schema["$defs"]["ModelConfig"]["properties"]["params"]["additionalProperties"] is True
    assert PipelineConfig.__name__ not in schema["$defs"]


GROUPED = "features=[sessions, {name: topics, group: content}, {name: reads, group: content}]"


def test_a_group_of_features_can_be_left_out(load: Load) -> None:
    assert [feature.name for feature in load(GROUPED).config.used_features] == ["sessions", "topics", "reads"]
    config = load(GROUPED, "without=[content]").config
    assert [feature.name for feature in config.used_features] == ["sessions"]


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ((GROUPED, "without=[contents]"), "a group of the features: content"),
        (("without=[content]",), "none has a `group`"),
        (("features=[{name: reads, group: content}]", "without=[content]"), "leaves no feature"),
        ((*NUMBER, GROUPED, "levels=[]", "evaluate.persistence=reads", "without=[content]"), "evaluate.persistence"),
    ],
)
def test_a_group_that_cannot_be_left_out_is_refused(load: Load, overrides: tuple[str, ...], named: str) -> None:
    assert named in refused(load, *overrides)
