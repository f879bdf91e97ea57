"""How ads are chosen: which events tell of them, what makes a context, and how the policy is learned and judged."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from raypipe.config.fields import Breach, Items, Section, Share, distinct, refuse

Dimension = Literal["company", "brand", "device", "category"]


class Ads(Section):
    """A bandit over ad arms; only the pipeline of ads has this section."""

    context: Annotated[Items[Dimension], AfterValidator(distinct)] = Field(
        default=("device",),
        min_length=1,
        description="What tells contexts apart: company, brand, device (the event's device type), category (of the "
        "event's article). Each context learns from its own impressions alone.",
    )
    impression: str = Field(
        default="ad_impression", min_length=1, description="The event_type that says an arm was shown."
    )
    click: str = Field(
        default="ad_click", min_length=1, description="The event_type that says an arm was clicked, with its revenue."
    )
    arms: Annotated[Items[str], AfterValidator(distinct)] = Field(
        default=(), description="Arms that every context has, shown or not; those that were shown are always there."
    )
    window_days: int = Field(default=30, ge=1, le=3650, description="Days up to and including the date, learned from.")
    test_days: int = Field(
        default=7,
        ge=1,
        description="The last of these days, on which a policy of the earlier ones is judged. The published policy "
        "learns from all.",
    )
    floor: float = Field(
        default=0.02,
        ge=0,
        lt=1,
        description="Least share of a context's impressions for each arm, so that none is given up for good.",
    )
    prior_impressions: float = Field(
        default=20.0, gt=0, description="Weight of the click rate of all arms together, in impressions of each arm."
    )
    prior_clicks: float = Field(
        default=1.0, gt=0, description="Weight of the revenue of a click of all arms together, in clicks of each arm."
    )
    draws: int = Field(default=20_000, ge=1000, description="Samples of each posterior.")
    confidence: Share = Field(
        default=0.95,
        description="Of credible intervals, and the probability to earn more than the other arm that decides a test.",
    )
    min_impressions: int = Field(
        default=100, ge=0, description="Impressions of an arm in a context, below which its estimate is a warning."
    )
    min_effective: int = Field(
        default=200, ge=0, description="Effective impressions, below which the value of the policy is a warning."
    )
    max_unusable: Share = Field(
        default=0.05, description="Share of events without a usable arm or revenue, above which nothing is published."
    )
    buckets: int = Field(default=200, ge=2, le=10_000, description="Groups of readers that the bootstrap draws from.")

    @model_validator(mode="after")
    def _leaves_days_to_learn_from(self) -> Self:
        if self.test_days >= self.window_days:
            refuse(
                [
                    Breach(
                        "leaves no days to learn from",
                        str(self.test_days),
                        f"less than {self.window_days}, ads.window_days",
                        ("test_days",),
                    )
                ]
            )
        if self.impression == self.click:
            refuse([Breach("is the impression's event as well", self.click, "another event_type", ("click",))])
        return self
