"""Check the parameters of the hybrid recommender."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from raypipe.errors import ConfigError

CONTENT_FIELDS = {"category_id": 1.0, "author_id": 0.5, "article_type": 0.25, "engagement_band": 0.25}
EVENT_WEIGHTS = {"view": 1.0, "click": 2.0, "share": 3.0}

# The parameter with the number of last days that a version is judged on.
TEST_DAYS = "test_days"

Amount = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True, ge=0)]
Count = Annotated[int, Field(strict=True, ge=1)]

_FORBID = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_FORBID)
class AlsParameters:
    """The parameters of the factorisation.

    Attributes:
        regularization: λ.
        alpha: the confidence that a weight of 1 adds.
    """

    factors: Count = 64
    regularization: Positive = 1.0
    alpha: Positive = 10.0
    iterations: Count = 15
    seed: Whole = 0


@dataclass(frozen=True, config=_FORBID)
class HybridParameters:
    """The parameters of a recommender.

    A user's score of an item is als · preference + content · similarity + popularity · use + freshness · youth. The
    preference is the factorisation's (about 0 to 1), the similarity is the cosine between the item and the user's
    reading, the use is the item's relative popularity, and the youth halves from 1 every few days (all 0 to 1).

    Attributes:
        freshness: the weight of the youth, the best predictor of tomorrow's reading among news.
        content_fields: the columns of articles.sql that describe an article's content, with their weights.
        max_age_days: the age up to which an article is recommended; 0 for no limit.
        event_weights: the weight of each event type; other types do not count.
        half_life_days: the half-life of an event for a user's taste; 0 for no decay.
        popularity_half_life_days: the half-life of an event for an item's popularity, which fades within days.
        freshness_half_life_days: the half-life of the youth, above 0 if freshness counts.
    """

    als: Amount = 0.5
    content: Amount = 1.0
    popularity: Amount = 1.0
    freshness: Amount = 3.0
    content_fields: dict[str, Amount] = Field(default_factory=lambda: dict(CONTENT_FIELDS))
    content_width: Whole = 32
    max_age_days: Amount = 14.0
    event_weights: dict[str, Amount] = Field(default_factory=lambda: dict(EVENT_WEIGHTS))
    half_life_days: Amount = 14.0
    popularity_half_life_days: Amount = 1.0
    freshness_half_life_days: Amount = 3.0
    length: Annotated[int, Field(strict=True, ge=1, le=1000)] = 10
    factorisation: AlsParameters = Field(default_factory=AlsParameters)

    @model_validator(mode="after")
    def _scores_differ(self) -> Self:
        if not any((self.als, self.content, self.popularity, self.freshness)):
            raise ValueError("als, content, popularity or freshness above 0")
        if self.freshness and not self.freshness_half_life_days:
            raise ValueError("freshness_half_life_days above 0 where freshness counts")
        return self

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> HybridParameters:
        """Check the values of a config or a file.

        Raises:
            ConfigError: a name is unknown, or a value cannot be used.
        """
        try:
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in ("model.params", *first["loc"]))
            allowed = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            if first["type"] == "unexpected_keyword_argument":
                known = AlsParameters if first["loc"][0] == "factorisation" else cls
                allowed = ", ".join(known.__dataclass_fields__)
            raise ConfigError(
                f"{name} cannot be used by the recommender", found=repr(first["input"]), allowed=allowed
            ) from error
