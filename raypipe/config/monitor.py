"""The section `monitor`: the drift that is worth a message, and the slices to watch."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from raypipe.config.fields import Breach, Column, Columns, Section, refuse

Limit = Annotated[float, Field(gt=0)]


def _ascending(section: "Monitor | FeatureLimits") -> None:
    if section.psi_warning is not None and section.psi_alert is not None and section.psi_alert <= section.psi_warning:
        allowed = f"more than {section.psi_warning:g}"
        refuse(Breach("is not above psi_warning", f"{section.psi_alert:g}", allowed, ("psi_alert",)))


class FeatureLimits(Section):
    """The limits of one feature, or its exclusion."""

    ignore: bool = Field(default=False, description="Whether the feature is left out of the comparisons.")
    psi_warning: Limit | None = Field(default=None, description="Index that is a warning; null: monitor.psi_warning.")
    psi_alert: Limit | None = Field(default=None, description="Index that is an alert; null: monitor.psi_alert.")

    @model_validator(mode="after")
    def _alert_above_warning(self) -> Self:
        _ascending(self)
        return self


class Monitor(Section):
    """The drift of the scores and of the features that is worth a message."""

    psi_warning: float = Field(default=0.1, gt=0, description="Population stability index that is a warning.")
    psi_alert: float = Field(default=0.25, gt=0, description="Population stability index that is an alert.")
    reference: Literal["night", "weekday", "fit"] = Field(
        default="night",
        description="The comparison that alerts: with the last accepted night, with the accepted night a week before, "
        "or with the rows of the fit. All three are measured.",
    )
    slices: Columns = Field(
        default=(),
        description="Columns whose values are watched one by one: entity keys, carried columns, categories.",
    )
    features: dict[Column, FeatureLimits] = Field(
        default={}, description="Limits and exclusions by feature; `score` is the score."
    )

    @model_validator(mode="after")
    def _alert_above_warning(self) -> Self:
        _ascending(self)
        return self
