"""The sections `model` and `baselines`: the model of a pipeline, and the models of a comparison."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from raypipe.config.fields import Breach, ClassPath, Items, Section, Slug, refuse, repeated

# What `model: auto` stands for.
AUTO, AUTO_SECTION = "auto", {"search_minutes": 5}
BALANCES = ("none", "scale_pos_weight")
# The other names in a comparison of models.
COMPARED = ("champion", "prior", "one_feature", "persistence")


class ModelConfig(Section):
    """The model to fit, and how to fit it."""

    class_path: ClassPath = Field(
        default="raypipe.models.blend:Blend",
        validation_alias="class",
        serialization_alias="class",
        description="The model's class, as module:Class; the default chooses its settings by rows and columns.",
    )
    params: dict[str, Any] = Field(default={}, description="Parameters of the library, passed on unchanged.")
    rounds: int | None = Field(
        default=None, ge=1, description="Maximum number of rounds, such as boosted trees; null: the class's own."
    )
    early_stopping_rounds: int = Field(
        default=50, ge=0, description="Stop after this many rounds without a better validation metric; 0: never."
    )
    balance: Literal["none", "scale_pos_weight"] = Field(
        default="none", description="scale_pos_weight gives the rarer class more weight; none keeps the data's."
    )
    workers: int = Field(
        default=0, ge=0, description="Ray Train workers; 0: no Ray, the fastest if one node holds the data."
    )
    cpus_per_worker: int = Field(
        default=1, ge=1, description="CPUs reserved for each worker; leave the cluster some for the reads."
    )
    search_minutes: float | None = Field(
        default=None,
        gt=0,
        description="Search better settings for so many minutes before each fit; null: none. `model: auto` means 5.",
    )
    refit: Literal["once", "nightly", "weekly", "monthly", "on_drift", "on_performance"] = Field(
        default="once",
        description="When a night fits a new version: once, without a champion; 1, 7 or 30 days after the last fit; "
        "or when the champion's features drift or its predictions get worse, on three dates in a row.",
    )


ModelEntry = Annotated[
    ModelConfig,
    BeforeValidator(lambda value: value, json_schema_input_type=Literal["auto"] | ModelConfig),
]


class BaselineModel(ModelConfig):
    """A model that is fitted for comparison."""

    name: Slug = Field(description="The model's name in the comparison, and the ending of its versions.")


def _distinct_names(models: tuple[BaselineModel, ...]) -> tuple[BaselineModel, ...]:
    names = [model.name for model in models]
    refuse(
        *(Breach("gives two models the same name", name, "each name once") for name in repeated(names)),
        *(
            Breach("is the name of another entry in the comparison", name, "another name", (position, "name"))
            for position, name in enumerate(names)
            if name in COMPARED
        ),
    )
    return models


class Baselines(Section):
    """Models that are fitted and judged on another pipeline's rows; they never replace its champion."""

    of: Slug = Field(
        description="The pipeline whose champion, rows, features, labels, split and evaluation are shared."
    )
    models: Annotated[Items[BaselineModel], AfterValidator(_distinct_names)] = Field(
        min_length=1, description="The models, each like a pipeline's `model`, with a name."
    )
