"""The section `expect`: conditions of the input, checked before anything is scored."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from raypipe.config.fields import Breach, Column, Columns, Items, Section, distinct, refuse

Part = Annotated[float, Field(ge=0, le=1)]
Failing = Literal["refuse", "warn"]


class Freshness(Section):
    """The age that the newest snapshot, or the newest value of a column, may have."""

    snapshot_days: int | None = Field(
        default=None, ge=0, description="Most days from the newest snapshot to today; a run of a named date is exempt."
    )
    column: Column | None = Field(default=None, description="A Date or DateTime column of features.sql.")
    column_days: int | None = Field(
        default=None, ge=0, description="Most days from the column's newest value to the snapshot."
    )
    fail: Failing = Field(default="refuse", description="Whether a failed check refuses the run or warns.")

    @model_validator(mode="after")
    def _column_has_days(self) -> Self:
        if (self.column is None) != (self.column_days is None):
            missing = "column" if self.column is None else "column_days"
            refuse(Breach("is required with its pair", "null", "both column and column_days, or neither", (missing,)))
        return self


class Volume(Section):
    """The number of rows, against the median of earlier accepted runs."""

    least: float = Field(default=0.5, ge=0, description="Least rows, as a multiple of the usual number.")
    most: float = Field(default=2.0, gt=0, description="Most rows, as a multiple of the usual number.")
    nights: int = Field(default=14, ge=1, le=366, description="Earlier accepted runs that make the usual number.")
    fail: Failing = Field(default="refuse", description="Whether a failed check refuses the run or warns.")

    @model_validator(mode="after")
    def _least_below_most(self) -> Self:
        if self.least >= self.most:
            refuse(Breach("is not below most", f"{self.least:g}", f"less than {self.most:g}", ("least",)))
        return self


class ColumnExpectation(Section):
    """The values of a column of features.sql."""

    missing: Part | None = Field(default=None, description="Largest share of NULL, NaN or empty text.")
    zeros: Part | None = Field(default=None, description="Largest share of zeros among the known values.")
    range: Items[float] | None = Field(
        default=None, min_length=2, max_length=2, description="[lowest, highest] of the known values."
    )
    allowed: Annotated[Items[str], AfterValidator(distinct)] = Field(
        default=(), description="The only values, as text; NULL and empty text count as missing."
    )
    outside: Part = Field(default=0.0, description="Largest share of values outside of `range` or `allowed`.")
    fail: Failing = Field(default="refuse", description="Whether a failed check refuses the run or warns.")

    @model_validator(mode="after")
    def _checks_something(self) -> Self:
        refuse(*self._breaches())
        return self

    def _breaches(self) -> Iterator[Breach]:
        if self.missing is None and self.zeros is None and self.range is None and not self.allowed:
            yield Breach("expects nothing", "no check", "missing, zeros, range or allowed")
        if self.range and self.range[0] > self.range[1]:
            yield Breach("is empty", str(list(self.range)), "[lowest, highest]", ("range",))


class Expect(Section):
    """The conditions of the input; a failed condition refuses the run, or warns with `fail: warn`."""

    freshness: Freshness | None = Field(default=None, description="The age of the input.")
    volume: Volume | None = Field(default=None, description="The number of rows against the usual number.")
    unique: Columns = Field(default=(), description="Columns of features.sql without a repeated value, each by itself.")
    columns: dict[Column, ColumnExpectation] = Field(default={}, description="Conditions by column of features.sql.")

    @property
    def names(self) -> tuple[str, ...]:
        """Name the columns that the checks read."""
        fresh = self.freshness.column if self.freshness else None
        return tuple(dict.fromkeys([*([fresh] if fresh else []), *self.unique, *self.columns]))
