"""Which model a pipeline fits, and the simpler ones that a comparison sets beside another pipeline's champion."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from raypipe.config.fields import Breach, ClassPath, Items, Section, Slug, refuse, repeated

BALANCES = ("none", "scale_pos_weight")
# What else stands in a comparison of models.
COMPARED = ("champion", "prior", "one_feature", "persistence")


class ModelConfig(Section):
    """Which model is fitted, and how."""

    class_path: ClassPath = Field(
        default="raypipe.models.xgboost:XGBoost",
        validation_alias="class",
        serialization_alias="class",
        description="The model's class, as module:Class.",
    )
    params: dict[str, Any] = Field(default={}, description="Parameters of the library, passed on as they are.")
    rounds: int = Field(default=300, ge=1, description="Boosting rounds at most.")
    early_stopping_rounds: int = Field(
        default=20, ge=0, description="Stop after this many rounds without a better validation metric; 0: never."
    )
    balance: Literal["none", "scale_pos_weight"] = Field(
        default="none",
        description="scale_pos_weight weighs the rarer class up; none leaves the probabilities as they are in the "
        "data.",
    )
    workers: int = Field(
        default=0,
        ge=0,
        description="Ray Train workers; 0: Ray Train's local mode, the fastest where one node has the data.",
    )
    cpus_per_worker: int = Field(
        default=1, ge=1, description="CPUs reserved for each worker; leave the cluster some for the reads."
    )
    refit: Literal["once", "nightly"] = Field(
        default="once",
        description="When `raypipe run` fits: once, where there is no champion; or nightly, before every scoring.",
    )


class BaselineModel(ModelConfig):
    """A model that is fitted for comparison."""

    name: Slug = Field(description="What the comparison calls it; its versions end in this name.")


def _told_apart(models: tuple[BaselineModel, ...]) -> tuple[BaselineModel, ...]:
    names = [model.name for model in models]
    refuse(Breach("names two models alike", name, "each name once") for name in repeated(names))
    refuse(
        Breach("is what something else in the comparison is called", name, "another name", (position, "name"))
        for position, name in enumerate(names)
        if name in COMPARED
    )
    return models


class Baselines(Section):
    """Models fitted and judged on the rows of another pipeline, beside its champion, which they never replace."""

    of: Slug = Field(
        description="The pipeline whose champion they are compared with. All that its file says of rows, features, "
        "labels, split and evaluation holds here as well."
    )
    models: Annotated[Items[BaselineModel], AfterValidator(_told_apart)] = Field(
        min_length=1, description="The models, each as a pipeline's `model`, with a name."
    )
