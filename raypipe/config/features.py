"""What a pipeline reads and predicts: its entity, source, features and label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from raypipe.config.fields import Breach, Column, Columns, Items, Section, Slug, Table, refuse


class Entity(Section):
    """What one row of the population is."""

    type: Slug = Field(description="The entity_type of the published rows, such as user.")
    keys: Columns = Field(
        min_length=1, description="The columns that together identify one entity, in order; never NULL."
    )
    id: Column = Field(description="The key column that becomes entity_id in the published rows.")

    @model_validator(mode="after")
    def _id_is_a_key(self) -> Self:
        if self.id not in self.keys:
            refuse([Breach("is not one of entity.keys", self.id, ", ".join(self.keys), ("id",))])
        return self


class Source(Section):
    """The table the population comes from."""

    table: Table = Field(description="The base table; slices are ranges of its sorting key.")
    date_column: Column | None = Field(
        default="feature_date",
        description="The Date column that tells the snapshots apart; null: a table without snapshots.",
    )
    snapshot: bool | None = Field(
        default=None,
        description="Whether the population is written once per run, inside ClickHouse, and slices are cut from that; "
        "null: decided from features.sql (true where it joins an aggregate).",
    )


class Feature(Section):
    """One column of features.sql that the model sees. In YAML a bare name is a number."""

    name: Column = Field(description="The column of features.sql.")
    kind: Literal["number", "category"] = Field(
        default="number", description="A number is used as Float32; a category is encoded."
    )
    encode: Literal["onehot", "ordinal"] = Field(
        default="onehot",
        description="Categories only: onehot is one 0/1 column a value, ordinal one column with the value's rank.",
    )
    vocabulary: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="Categories only: how many values are told apart, the most frequent of the training rows first.",
    )
    monotone: Literal[-1, 0, 1] = Field(
        default=0,
        description="Numbers only: 1 where the prediction may only rise with the feature, -1 where it may only fall, 0 "
        "where it is free.",
    )
    missing: Items[int | float | str] = Field(
        default=(),
        description="Values that stand for a missing one, besides NULL; numbers for a number, strings for a category.",
    )
    default: float | None = Field(
        default=None,
        description="What a missing value, or a category outside the vocabulary, becomes in the matrix; "
        "null: NaN, which trees understand.",
    )
    unit: str | None = Field(default=None, description="The unit of the values, such as seconds, share or percent.")
    description: str | None = Field(
        default=None, description="What the feature means, for ml_model_features and the report."
    )

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        refuse(self._number_breaches() if self.kind == "number" else self._category_breaches())
        return self

    def _number_breaches(self) -> Iterator[Breach]:
        for key in ("encode", "vocabulary"):
            if getattr(self, key) != type(self).model_fields[key].default:
                yield Breach(
                    "belongs to categories",
                    f"{getattr(self, key)}, on the number {self.name}",
                    "kind: category",
                    (key,),
                )
        for position, value in enumerate(self.missing):
            if isinstance(value, str):
                yield Breach(
                    "is no number",
                    repr(value),
                    f"numbers, as {self.name} is one; or kind: category",
                    ("missing", position),
                )

    def _category_breaches(self) -> Iterator[Breach]:
        if self.monotone:
            yield Breach(
                "belongs to numbers",
                f"{self.monotone}, on the category {self.name}",
                "0, or kind: number",
                ("monotone",),
            )
        for position, value in enumerate(self.missing):
            if not isinstance(value, str):
                yield Breach(
                    "is no string",
                    repr(value),
                    f"quoted values such as '', as {self.name} is a category",
                    ("missing", position),
                )


def _bare_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


FeatureEntry = Annotated[Feature, BeforeValidator(_bare_name, json_schema_input_type=Column | Feature)]


def _definition_schema() -> dict[str, Any]:
    schema = Feature.model_json_schema(by_alias=True, mode="validation")
    del schema["properties"]["name"], schema["required"]
    return {**schema, "title": "Definition", "description": "A feature without its name."}


# It is checked with the feature that it becomes a part of; see `raypipe.config.extends`.
Definition = Annotated[dict[str, Any], WithJsonSchema(_definition_schema())]


class Label(Section):
    """What is predicted."""

    horizon_days: int | None = Field(
        default=None,
        ge=1,
        le=3650,
        description="Days after the snapshot in which the label comes about; null where the source has no date_column.",
    )
    kind: Literal["binary", "number"] = Field(
        default="binary", description="binary: 0 or 1, and the model yields a probability; number: any finite number."
    )
    never_features: Columns = Field(
        default=(), description="Columns that give the label away; they are refused among the features."
    )
