"""The configuration of an experiment: units, arms, metrics and what adjusts them."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from raypipe.config.fields import (
    Breach,
    Columns,
    Items,
    Section,
    Share,
    Slug,
    SqlPath,
    Table,
    refuse,
    repeated,
)

# Shares written with four digits, such as 0.3333, are meant to add up.
ROUNDING = 0.001


def _day(value: Any) -> Any:
    if isinstance(value, date):
        return value
    with suppress(ValueError, TypeError):
        return date.fromisoformat(value)
    refuse(Breach("is not a date", repr(value), "YYYY-MM-DD, such as 2026-01-31"))
    return value


def _expression(text: str) -> str:
    if not text.strip() or ";" in text:
        refuse(Breach("is not an SQL expression", repr(text), "a column, or one expression without a semicolon"))
    return text.strip()


Day = Annotated[date, BeforeValidator(_day)]
Expression = Annotated[str, AfterValidator(_expression)]


class Arm(Section):
    """An arm, and the share of units that should be in it."""

    name: str = Field(min_length=1, description="The value of `arm` that stands for it.")
    share: Share = Field(description="The planned share of units, between 0 and 1.")


class Period(Section):
    """Days, both included."""

    since: Day = Field(description="The first day.")
    until: Day = Field(description="The last day.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.until < self.since:
            refuse(Breach("is before `since`", str(self.until), f"{self.since} or later", ("until",)))
        return self


class Exposure(Section):
    """The days whose rows count, by the time of a row."""

    time: Expression = Field(description="A Date or DateTime column of the rows, or an expression of that type.")
    since: Day = Field(description="The first day of the experiment.")
    until: Day | None = Field(default=None, description="Its planned last day; null: open, up to the last ended day.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.until is not None:
            Period(since=self.since, until=self.until)
        return self


class Metric(Section):
    """A number per unit whose mean, share or ratio is compared between the arms."""

    name: Slug = Field(description="The metric's name.")
    kind: Literal["proportion", "mean", "ratio"] = Field(
        description="proportion: 0 or 1 per unit; mean: a number per unit; ratio: a sum of numerators over a sum of "
        "denominators, such as clicks per view."
    )
    value: Expression | None = Field(default=None, description="The column or expression of a proportion or a mean.")
    numerator: Expression | None = Field(default=None, description="The numerator of a ratio.")
    denominator: Expression | None = Field(default=None, description="The denominator of a ratio.")
    per_unit: Literal["sum", "max"] | None = Field(
        default=None,
        description="How the rows of a unit are joined; null: max for a proportion, sum for a mean or a ratio.",
    )
    better: Literal["higher", "lower"] = Field(default="higher", description="The direction of an improvement.")
    detect: float | None = Field(
        default=None, gt=0, description="The smallest relative change worth knowing, such as 0.02; plans days to go."
    )
    covariate: Expression | None = Field(
        default=None,
        description="A number of the unit from before the exposure, which explains a part of the metric's variance.",
    )

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Self:
        wanted = ("numerator", "denominator") if self.kind == "ratio" else ("value",)
        given = [name for name in ("value", "numerator", "denominator") if getattr(self, name) is not None]
        if sorted(given) != sorted(wanted):
            refuse(Breach(f"is a {self.kind}", f"with {', '.join(given) or 'nothing'}", f"with {' and '.join(wanted)}"))
        return self

    @property
    def joined_by(self) -> str:
        """Return the function that joins the rows of a unit."""
        return self.per_unit or ("max" if self.kind == "proportion" else "sum")


class Looks(Section):
    """Looking at the result as often as wanted: intervals and p-values that stay valid at every look."""

    planned_units: int = Field(
        ge=2, description="The number of units at which the intervals are narrowest; fixed before the first look."
    )


class Policy(Section):
    """Logged actions with their propensities, and the policy to evaluate on them."""

    context: Columns = Field(default=(), description="Columns that the policy may look at; empty: one context.")
    action: Expression = Field(description="The action that was taken.")
    propensity: Expression = Field(description="The probability with which the logging policy took it, above 0 to 1.")
    reward: Expression = Field(description="The reward that followed.")
    shares: Items[Arm] = Field(default=(), description="The policy, if each context has the same shares of actions.")
    table: Table | None = Field(
        default=None, description="The policy as a table: the columns of `context`, `action` and `share`."
    )
    floor: float = Field(default=0.0, ge=0, lt=1, description="The least share of each action of a context.")
    resamples: int = Field(default=1000, ge=100, le=100_000, description="Resamples behind the intervals.")
    seed: int = Field(default=7, ge=0, description="Seed of the resamples.")

    @model_validator(mode="after")
    def _is_stated_once(self) -> Self:
        if bool(self.shares) == (self.table is not None):
            refuse(
                Breach("is stated by `shares` or by `table`", "both" if self.shares else "neither", "one of the two")
            )
        refuse(*_shares(self.shares, ("shares",)))
        return self


class Models(Section):
    """Two versions of a pipeline's model, compared on the same rows."""

    pipeline: Slug = Field(description="The pipeline of both versions.")
    control: str = Field(default="champion", min_length=1, description="A version, or an alias.")
    treatment: str = Field(default="challenger", min_length=1, description="A version, or an alias.")


class ExperimentConfig(Section):
    """An experiment: configs/experiments/NAME.yaml."""

    description: str = Field(default="", description="The question that the experiment answers, in one sentence.")
    table: Table | None = Field(default=None, description="The table or view that is read.")
    sql: SqlPath | None = Field(
        default=None,
        description="Instead of a table, a SELECT in a file below `sql`, such as experiments/headline.sql.",
    )
    where: Expression | None = Field(default=None, description="The rows that count; null: all.")
    unit: Columns = Field(default=(), description="The columns that name a randomised unit, such as user_id.")
    rows: Literal["many", "one"] = Field(
        default="many", description="The rows of a unit; `one` saves the grouping by unit, and is checked."
    )
    arm: Expression | None = Field(
        default=None, description="The column or expression with the arm's name; null: the arm by `salt`."
    )
    salt: str | None = Field(
        default=None, min_length=1, description="The salt of `raypipe assign`, which gives each unit its arm."
    )
    population: Table | None = Field(
        default=None, description="The table of the units that `raypipe assign` exposes; null: `table` or `sql`."
    )
    arms: Items[Arm] = Field(default=(), description="The arms with their shares; the first is the control.")
    crossovers: Literal["exclude", "refuse"] = Field(
        default="exclude", description="What becomes of units with rows of several arms."
    )
    exposure: Exposure | None = Field(default=None, description="The time of a row, and the days that count.")
    pre_period: Period | None = Field(
        default=None, description="Days before the experiment; each metric over them is its own covariate."
    )
    score: Slug | None = Field(
        default=None, description="A pipeline whose score, published before the exposure, is the covariate."
    )
    metrics: Items[Metric] = Field(default=(), description="The metrics; the first decides.")
    correction: Literal["holm", "bonferroni", "none"] = Field(
        default="holm", description="The correction of p-values for several arms beside the control."
    )
    confidence: Share = Field(default=0.95, description="The level of the intervals.")
    power: Share = Field(default=0.8, description="The power behind the smallest detectable change.")
    looks: Looks | None = Field(
        default=None, description="Always-valid intervals, for several looks; null: one look, at the planned end."
    )
    policy: Policy | None = Field(default=None, description="Evaluate a policy on logged actions, instead of arms.")
    models: Models | None = Field(default=None, description="Compare two versions of a model, instead of arms.")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        refuse(*(_of_models if self.models else _of_policy if self.policy else _of_arms)(self))
        return self


def _of_models(config: ExperimentConfig) -> Iterator[Breach]:
    others = config.model_fields_set - {"models", "description", "confidence"}
    for name in sorted(others):
        yield Breach("has no effect beside `models`", "a value", "no such key", (name,))


def _of_policy(config: ExperimentConfig) -> Iterator[Breach]:
    known = {"policy", "description", "table", "sql", "where", "unit", "exposure"}
    for name in sorted(config.model_fields_set - known):
        yield Breach("has no effect beside `policy`", "a value", "no such key", (name,))
    yield from _of_rows(config)


def _of_rows(config: ExperimentConfig) -> Iterator[Breach]:
    if (config.table is None) == (config.sql is None):
        yield Breach("reads a table or a file", "neither" if config.table is None else "both", "`table`, or `sql`")
    if not config.unit:
        yield Breach("is required", "nothing", "the columns that name a unit", ("unit",))


def _of_arms(config: ExperimentConfig) -> Iterator[Breach]:
    yield from _of_rows(config)
    if len(config.arms) < 2:
        yield Breach("needs two arms", str(len(config.arms)), "a control and at least one other arm", ("arms",))
    yield from _shares(config.arms, ("arms",))
    if (config.arm is None) == (config.salt is None):
        given = "neither" if config.arm is None else "both"
        yield Breach("takes the arm from a column or from the salt", given, "`arm`, or `salt`")
    if not config.metrics:
        yield Breach("is required", "nothing", "at least one metric", ("metrics",))
    for name in repeated(metric.name for metric in config.metrics):
        yield Breach("repeats a name", name, "each name once", ("metrics",))
    yield from _of_covariates(config)


def _of_covariates(config: ExperimentConfig) -> Iterator[Breach]:
    if config.pre_period and config.score:
        yield Breach("is a second covariate", config.score, "`score` or `pre_period`", ("score",))
    if (config.pre_period or config.score) and config.exposure is None:
        allowed = "an exposure with its first day, which the covariate must be older than"
        yield Breach("is required", "nothing", allowed, ("exposure",))
    if config.pre_period and config.exposure and config.pre_period.until >= config.exposure.since:
        allowed = f"a day before {config.exposure.since}, the first day of the exposure"
        yield Breach("is not older than the exposure", str(config.pre_period.until), allowed, ("pre_period", "until"))
    if config.pre_period and config.rows == "one":
        yield Breach("needs several rows per unit", "rows: one", "rows: many", ("pre_period",))


def _shares(arms: tuple[Arm, ...], at: tuple[str, ...]) -> Iterator[Breach]:
    for name in repeated(arm.name for arm in arms):
        yield Breach("repeats a name", name, "each name once", at)
    total = sum(arm.share for arm in arms)
    if arms and abs(total - 1) > ROUNDING:
        yield Breach("has shares that do not add up", f"{total:g}", "1", at)
