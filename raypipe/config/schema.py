"""The configuration of a pipeline: configs/base.yaml and configs/<pipeline>.yaml together."""

from collections.abc import Iterator
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from raypipe.config.ads import Ads
from raypipe.config.evaluate import METRICS, Evaluate
from raypipe.config.expect import Expect
from raypipe.config.features import Definition, Entity, Feature, FeatureEntry, Label, Source
from raypipe.config.fields import Breach, Column, Columns, Items, Slug, YamlPath, refuse
from raypipe.config.model import BALANCES, Baselines, ModelConfig, ModelEntry
from raypipe.config.monitor import Monitor
from raypipe.config.publishing import Level, Levels, Targets
from raypipe.config.shared import SharedConfig
from raypipe.config.sweep import Parameters, Sweep, space_breaches
from raypipe.project import RESERVED_NAMES

# Parameters that raypipe binds itself.
BOUND = (
    *("brand", "date", "run_at", "until", "timezone", "part", "keep", "parts"),
    *("split_seed", "test_share", "held_share", "snapshot_date"),
)


class PipelineConfig(SharedConfig):
    """A pipeline: its population, features, target, model and published tables."""

    # A check between sections belongs to the later field and sees only the fields above it: the order matters.
    pipeline: Slug = Field(description="The pipeline's name: its file is configs/NAME.yaml, its SQL is in sql/NAME/.")
    # Both are resolved before the check, so here they are always empty.
    extends: YamlPath | None = Field(
        default=None,
        exclude=True,
        description="A file with further values: a path in the configs folder, or in raypipe's.",
    )
    definitions: dict[Column, Definition] = Field(
        default={}, exclude=True, description="Features by name, so that `features` may list the bare name."
    )
    description: str = Field(default="", description="The prediction and its subject, in one sentence.")
    enabled: bool = Field(default=True, description="Whether `raypipe nightly` runs it.")
    after: Items[Slug] = Field(
        default=(), description="Pipelines whose rows it reads, or `features`; `raypipe nightly` runs them first."
    )
    entity: Entity = Field(description="The subject of a row of the population.")
    source: Source = Field(description="The table of the population.")
    expect: Expect = Field(default=Expect(), description="Conditions of the input, checked before anything is scored.")
    carry: Columns = Field(default=(), description="Columns of features.sql that publish.sql needs besides the keys.")
    inputs: Columns = Field(
        default=(), description="Columns of features.sql that the model gets unchanged, beside the feature matrix."
    )
    label: Label | None = Field(
        default=None, description="The target of the prediction; none if the model learns without labels."
    )
    features: Items[FeatureEntry] = Field(
        min_length=1, description="The features in matrix order; a bare name is in `definitions`, or a number."
    )
    without: Items[Slug] = Field(
        default=(), description="Groups of features that the model does not get; compare `--set without=[content]`."
    )
    model: ModelEntry = Field(
        default=ModelConfig(),
        description="The model to fit, and how to fit it; without it, a model whose settings follow from the rows. "
        "`auto` searches better settings for some minutes first.",
    )
    levels: Levels = Field(
        default=(), description="Named ranges of the score, with ascending bounds, the last above 1; empty: none."
    )
    publish: Targets = Field(
        min_length=1, description="The tables that a run publishes to, in this order, ml_model_predictions last."
    )
    parameters: Parameters = Field(
        default={}, description="Values that the SQL binds as {name:Type}; a version keeps those of its fit."
    )
    sweep: Sweep = Field(default=Sweep(), description="The search of `raypipe sweep`.")
    ads: Ads | None = Field(
        default=None, description="The bandit over ad arms; with it the pipeline learns and scores at once."
    )
    baselines: Baselines | None = Field(
        default=None, description="Models to compare with another champion; such a pipeline publishes nothing."
    )

    @property
    def used_features(self) -> tuple[Feature, ...]:
        """Return the features that the model gets, in matrix order."""
        return tuple(feature for feature in self.features if feature.group not in self.without)

    @field_validator("pipeline")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name in RESERVED_NAMES:
            refuse(Breach("is reserved by raypipe", name, f"any name except {', '.join(RESERVED_NAMES)}"))
        return name

    @field_validator("extends", "definitions")
    @classmethod
    def _resolved_before(cls, value: Any, info: ValidationInfo) -> Any:
        # A value left here would have no effect: --set comes too late, and base.yaml is below every file.
        where = {"extends": "a pipeline's file, or a file that it extends", "definitions": "a YAML file"}
        refuse(*([Breach("cannot be set here", allowed=f"in {where[str(info.field_name)]}")] if value else []))
        return value

    @field_validator("carry")
    @classmethod
    def _keys_are_carried_anyway(cls, carry: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        entity = info.data.get("entity")
        keys = entity.keys if entity else ()
        allowed = "columns other than entity.keys, which are always carried"
        keys_named = ((position, name) for position, name in enumerate(carry) if name in keys)
        refuse(*(Breach("names a key", name, allowed, (position,)) for position, name in keys_named))
        return carry

    @field_validator("parameters")
    @classmethod
    def _not_bound_by_raypipe(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        reserved = [name for name in parameters if name in BOUND or name.startswith("slice_")]
        allowed = f"any name except {', '.join(BOUND)}, slice_…"
        refuse(*(Breach("is bound by raypipe itself", name, allowed, (name,)) for name in reserved))
        return parameters

    @field_validator("label")
    @classmethod
    def _fits_source_and_metric(cls, label: Label | None, info: ValidationInfo) -> Label | None:
        if label is not None:
            refuse(*_label_breaches(label, info.data.get("source"), info.data.get("evaluate")))
        return label

    @field_validator("features")
    @classmethod
    def _distinct_and_honest(cls, features: tuple[Feature, ...], info: ValidationInfo) -> tuple[Feature, ...]:
        refuse(*_feature_breaches(features, info.data.get("label")))
        refuse(*_trust_breaches(features, info.data.get("evaluate")))
        refuse(*_persistence_breaches(features, info.data.get("label"), info.data.get("evaluate")))
        refuse(*_monitor_breaches(features, info.data.get("monitor")))
        return features

    @field_validator("without")
    @classmethod
    def _names_groups(cls, without: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        refuse(*_without_breaches(without, info.data.get("features", ()), info.data.get("evaluate")))
        return without

    @field_validator("model")
    @classmethod
    def _balance_needs_classes(cls, model: ModelConfig, info: ValidationInfo) -> ModelConfig:
        label = info.data.get("label")
        if label and label.kind != "binary" and model.balance != "none":
            found = f"{model.balance}, with label.kind {label.kind}"
            refuse(Breach("needs a binary label", found, "none", ("balance",)))
        return model

    @field_validator("levels")
    @classmethod
    def _levels_need_a_single_score(cls, levels: tuple[Level, ...], info: ValidationInfo) -> tuple[Level, ...]:
        label = info.data.get("label")
        if label and label.kind == "classes" and levels:
            names = ", ".join(level.name for level in levels)
            refuse(Breach("divide a single score", f"{names}, with label.kind classes", "[]: each class is a level"))
        return levels

    @field_validator("sweep")
    @classmethod
    def _can_be_searched(cls, sweep: Sweep, info: ValidationInfo) -> Sweep:
        names = tuple(feature.name for feature in info.data.get("features", ()))
        label = info.data.get("label")
        balances = BALANCES if label is None or label.kind == "binary" else ()
        refuse(*(space_breaches(sweep, names, info.data.get("parameters", {}), balances) if names else ()))
        return sweep


def _label_breaches(label: Label, source: Source | None, evaluate: Evaluate | None) -> Iterator[Breach]:
    at = ("horizon_days",)
    if source and source.date_column and label.horizon_days is None:
        allowed = "the days after a snapshot that decide the label"
        yield Breach("is required, as source.date_column is set", "null", allowed, at)
    if source and source.date_column is None and label.horizon_days is not None:
        yield Breach("needs snapshots, but source.date_column is null", str(label.horizon_days), "null", at)
    if evaluate and evaluate.metric and evaluate.metric not in METRICS[label.kind]:
        found, allowed = f"{evaluate.metric}, with label.kind {label.kind}", ", ".join(METRICS[label.kind])
        yield Breach("does not fit the label", found, allowed, ("evaluate", "metric"), top=True)


def _feature_breaches(features: tuple[Feature, ...], label: Label | None) -> Iterator[Breach]:
    leaks = {"label", *(label.never_features if label else ())}
    seen: set[str] = set()
    for position, feature in enumerate(features):
        if feature.name in seen:
            yield Breach("names a feature twice", feature.name, "each feature once", (position,))
        if feature.monotone and label and label.kind == "classes":
            found = f"{feature.monotone}, with label.kind classes"
            yield Breach("needs a label with a single score", found, "0", (position, "monotone"))
        if feature.name in leaks:
            allowed = "features that are known before the label; label.never_features lists those that reveal it"
            yield Breach("leaks the label", feature.name, allowed, (position,))
        seen.add(feature.name)


def _trust_breaches(features: tuple[Feature, ...], evaluate: Evaluate | None) -> Iterator[Breach]:
    names = [feature.name for feature in features]
    for position, name in enumerate(evaluate.trusted if evaluate else ()):
        if name not in names:
            yield Breach("is not a feature", name, "names of `features`", ("evaluate", "trusted", position), top=True)


def _without_breaches(
    without: tuple[str, ...], features: tuple[Feature, ...], evaluate: Evaluate | None
) -> Iterator[Breach]:
    if not features:
        # The features have a problem of their own.
        return
    groups = {feature.group for feature in features if feature.group}
    for position, name in enumerate(without):
        if name not in groups:
            allowed = f"a group of the features: {', '.join(sorted(groups)) or 'none has a `group`'}"
            yield Breach("names no group", name, allowed, (position,))
    left = {feature.name for feature in features if feature.group not in without}
    if not left:
        yield Breach("leaves no feature", ", ".join(without), "fewer groups")
    elif evaluate and evaluate.persistence and evaluate.persistence not in left:
        yield Breach("leaves out evaluate.persistence", evaluate.persistence, "other groups, or no persistence")


def _persistence_breaches(
    features: tuple[Feature, ...], label: Label | None, evaluate: Evaluate | None
) -> Iterator[Breach]:
    if evaluate is None or evaluate.persistence is None:
        return
    at = ("evaluate", "persistence")
    if label is None or label.kind != "number":
        kind = label.kind if label else "none"
        yield Breach("needs a label that is a number", f"label.kind {kind}", "null", at, top=True)
    elif evaluate.persistence not in [feature.name for feature in features if feature.kind != "category"]:
        yield Breach("is not a feature of kind number", evaluate.persistence, "a name of `features`", at, top=True)


def _monitor_breaches(features: tuple[Feature, ...], monitor: Monitor | None) -> Iterator[Breach]:
    known = [*(feature.name for feature in features), "score"]
    for name in monitor.features if monitor else ():
        if name not in known:
            yield Breach("is not a feature", name, ", ".join(known), ("monitor", "features", name), top=True)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of configs/*.yaml, base.yaml included; draft 7, which editors know."""
    schema = PipelineConfig.model_json_schema(by_alias=True, mode="validation")
    required = schema.pop("required")
    for section in ("Entity", "Source"):
        # A pipeline may set some keys of a section and take the others from the file that it extends.
        schema["$defs"][section].pop("required", None)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **schema,
        "title": "raypipe configuration",
        # A pipeline's own keys may be missing in base.yaml, which names no pipeline, in a pipeline that extends a file,
        # and in a comparison.
        "if": {
            "required": ["pipeline"],
            "not": {"anyOf": [{"required": ["extends"]}, {"required": ["baselines"]}]},
        },
        "then": {"required": required},
    }
