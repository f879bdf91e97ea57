"""The section `ads`: events, contexts, and how the bandit's policy is learned and judged."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from raypipe.config.fields import Breach, Items, Section, Share, distinct, refuse

ContextColumn = Literal["company", "brand", "device", "category"]


class Ads(Section):
    """A bandit over ad arms; only the pipeline of ads has this section."""

    context: Annotated[Items[ContextColumn], AfterValidator(distinct)] = Field(
        default=("device",),
        min_length=1,
        description="The columns that define a context: company, brand, device (the event's device type), category "
        "(of the event's article). Each context learns only from its own impressions.",
    )
    impression: str = Field(default="ad_impression", min_length=1, description="The event_type of a shown arm.")
    click: str = Field(
        default="ad_click", min_length=1, description="The event_type of a clicked arm, with its revenue."
    )
    arms: Annotated[Items[str], AfterValidator(distinct)] = Field(
        default=(), description="Arms that every context has, besides those that were shown."
    )
    window_days: int = Field(default=30, ge=1, le=3650, description="Days to learn from, up to and including the date.")
    test_days: int = Field(
        default=7,
        ge=1,
        description="The last of these days, which judge a policy of the earlier days. The published policy learns "
        "from all days.",
    )
    floor: float = Field(
        default=0.02,
        ge=0,
        lt=1,
        description="Least share of a context's impressions for each arm, so that no arm is given up for good.",
    )
    prior_impressions: float = Field(
        default=20.0, gt=0, description="Weight of the click rate over all arms, in impressions of each arm."
    )
    prior_clicks: float = Field(
        default=1.0, gt=0, description="Weight of the revenue per click over all arms, in clicks of each arm."
    )
    draws: int = Field(default=20_000, ge=1000, description="Samples of each posterior.")
    confidence: Share = Field(
        default=0.95,
        description="Level of credible intervals, and the probability of earning more that decides a test of two arms.",
    )
    min_impressions: int = Field(
        default=100, ge=0, description="Fewer impressions of an arm in a context are reported as a warning."
    )
    min_effective: int = Field(
        default=200, ge=0, description="Fewer effective impressions behind the policy's value are a warning."
    )
    max_unusable: Share = Field(
        default=0.05, description="With a larger share of events without a usable arm or revenue, nothing is published."
    )
    buckets: int = Field(default=200, ge=2, le=10_000, description="Groups of readers that the bootstrap draws from.")

    @model_validator(mode="after")
    def _leaves_days_to_learn_from(self) -> Self:
        if self.test_days >= self.window_days:
            allowed = f"less than {self.window_days}, ads.window_days"
            refuse(Breach("leaves no days to learn from", str(self.test_days), allowed, ("test_days",)))
        if self.impression == self.click:
            refuse(Breach("equals ads.impression", self.click, "another event_type", ("click",)))
        return self
