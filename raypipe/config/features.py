"""The sections `entity`, `source`, `features` and `label`: the rows of a pipeline and its target."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from raypipe.config.fields import Breach, Column, Columns, Items, Section, Slug, Table, distinct, refuse


class Entity(Section):
    """The subject of a row of the population, and the columns that identify it."""

    type: Slug = Field(description="The entity_type of the published rows, such as user.")
    keys: Columns = Field(
        min_length=1, description="The columns that together identify an entity, in order; never NULL."
    )
    id: Column = Field(description="The key column that becomes entity_id in the published rows.")

    @model_validator(mode="after")
    def _id_is_a_key(self) -> Self:
        if self.id not in self.keys:
            refuse(Breach("is not one of entity.keys", self.id, ", ".join(self.keys), ("id",)))
        return self


class Source(Section):
    """The table of the population."""

    table: Table = Field(description="The base table; slices are ranges of its sorting key.")
    date_column: Column | None = Field(
        default="feature_date", description="The Date column of the snapshots; null: no snapshots."
    )
    snapshot: bool | None = Field(
        default=None,
        description="Whether each run copies the population inside ClickHouse and cuts slices from the copy, needed "
        "where tables of features.sql change during a run; null: decided from features.sql (true if it joins an "
        "aggregate).",
    )


class Feature(Section):
    """A column of features.sql that the model sees. In YAML a bare name means a number."""

    name: Column = Field(description="The column of features.sql.")
    kind: Literal["number", "category", "cumulative"] = Field(
        default="number",
        description="A number becomes Float32; a category is encoded; a cumulative number grows with the calendar, and "
        "drift is measured without that growth.",
    )
    encode: Literal["onehot", "ordinal"] = Field(
        default="onehot", description="Categories only: onehot is a 0/1 column per value, ordinal the value's rank."
    )
    vocabulary: int = Field(
        default=20, ge=1, le=1000, description="Categories only: the number of values to keep, the most frequent."
    )
    monotone: Literal[-1, 0, 1] = Field(
        default=0, description="Numbers only: 1 if predictions may only rise with it, -1 if only fall, 0 if free."
    )
    missing: Items[int | float | str] = Field(
        default=(), description="Values that mean missing, besides NULL: numbers for a number, strings for a category."
    )
    default: float | None = Field(
        default=None, description="The matrix value for missing or unknown values; null: NaN, which trees understand."
    )
    group: Slug | None = Field(
        default=None, description="The group that it belongs to, such as content; `without` leaves whole groups out."
    )
    unit: str | None = Field(default=None, description="The unit of the values, such as seconds, share or percent.")
    description: str | None = Field(default=None, description="The meaning, for ml_model_features and the report.")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        refuse(*(self._category_breaches() if self.kind == "category" else self._number_breaches()))
        return self

    def _number_breaches(self) -> Iterator[Breach]:
        for key in ("encode", "vocabulary"):
            if getattr(self, key) != type(self).model_fields[key].default:
                found = f"{getattr(self, key)}, on the number {self.name}"
                yield Breach("applies only to categories", found, "kind: category", (key,))
        for position, value in enumerate(self.missing):
            if isinstance(value, str):
                allowed = f"a number, as {self.name} is a number; or kind: category"
                yield Breach("is not a number", repr(value), allowed, ("missing", position))

    def _category_breaches(self) -> Iterator[Breach]:
        if self.monotone:
            found = f"{self.monotone}, on the category {self.name}"
            yield Breach("applies only to numbers", found, "0, or kind: number", ("monotone",))
        for position, value in enumerate(self.missing):
            if not isinstance(value, str):
                allowed = f"quoted values such as '', as {self.name} is a category"
                yield Breach("is not a string", repr(value), allowed, ("missing", position))


def _bare_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


FeatureEntry = Annotated[Feature, BeforeValidator(_bare_name, json_schema_input_type=Column | Feature)]


def _definition_schema() -> dict[str, Any]:
    schema = Feature.model_json_schema(by_alias=True, mode="validation")
    del schema["properties"]["name"], schema["required"]
    return {**schema, "title": "Definition", "description": "A feature without its name."}


# It is checked as part of the feature that uses it; see `raypipe.config.extends`.
Definition = Annotated[dict[str, Any], WithJsonSchema(_definition_schema())]


class Label(Section):
    """The target of the prediction."""

    horizon_days: int | None = Field(
        default=None,
        ge=1,
        le=3650,
        description="Days after the snapshot that decide the label; null without snapshots.",
    )
    kind: Literal["binary", "number", "classes"] = Field(
        default="binary",
        description="binary: 0 or 1, and the model predicts a probability; number: any finite number; classes: one of "
        "`classes`, and the model predicts a probability of each.",
    )
    classes: Annotated[Items[Annotated[str, Field(min_length=1)]], AfterValidator(distinct)] = Field(
        default=(), description="Classes only: the label's values as text, in the order of the published probabilities."
    )
    range: Items[float] | None = Field(
        default=None,
        min_length=2,
        max_length=2,
        description="Numbers only: [lowest, highest] of the label and of a score; null: any finite number.",
    )
    never_features: Columns = Field(default=(), description="Columns that reveal the label; no feature may use them.")

    @property
    def score_range(self) -> tuple[float, float] | None:
        """Return the lowest and the highest score of such a label; None for any finite number."""
        if self.kind != "number":
            return 0.0, 1.0
        return (self.range[0], self.range[1]) if self.range else None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "classes" and len(self.classes) < 2:
            found = f"{list(self.classes)}, with kind: classes"
            refuse(
                Breach("needs at least two names", found, "the values of `label`, such as [low, high]", ("classes",))
            )
        if self.classes and self.kind != "classes":
            found = f"{list(self.classes)}, with kind: {self.kind}"
            refuse(Breach("applies only to classes", found, "[], or kind: classes", ("classes",)))
        if self.range and self.kind != "number":
            refuse(Breach("applies only to numbers", str(list(self.range)), "null, or kind: number", ("range",)))
        if self.range and not self.range[0] < self.range[1]:
            refuse(Breach("is empty", str(list(self.range)), "[lowest, highest]", ("range",)))
        return self
