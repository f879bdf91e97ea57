"""Check the parameters of the hybrid recommender."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from raypipe.errors import ConfigError

CONTENT_FIELDS = {"category_id": 1.0, "author_id": 0.5, "article_type": 0.25, "engagement_band": 0.25}
# Clicks do not count: a title can win them that its article does not keep.
EVENT_WEIGHTS = {"view": 1.0, "share": 3.0}

# The parameter with the number of last days that a version is judged on.
TEST_DAYS = "test_days"
# The parts of a score, by the name of their weight.
PARTS = ("als", "neighbours", "content", "popularity", "freshness")

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
    regularization: Positive = 30.0
    alpha: Positive = 5.0
    iterations: Count = 15
    seed: Whole = 0


@dataclass(frozen=True, config=_FORBID)
class CovisitParameters:
    """The parameters of the items that are read together.

    Attributes:
        count: the nearest neighbours that an item keeps.
        reads: the later reads of a reader that count as together with a read.
        longest: the latest reads of a reader that count, so that a crawler's thousands do not.
        popular: the power of a neighbour's readers that its nearness is divided by; 0 favours popular items.
        half_life_days: the time between two reads that halves their weight; 0 for no decay.
    """

    count: Count = 100
    reads: Count = 5
    longest: Count = 200
    popular: Amount = 0.3
    half_life_days: Amount = 14.0


@dataclass(frozen=True, config=_FORBID)
class ListParameters:
    """The rules by which the highest scores become a list.

    An article beyond a cap is listed only where a list would end without it. Articles without a category or author are
    not capped.

    Attributes:
        per_category: the most articles of a category; 0 for no cap.
        per_author: the most articles of an author; 0 for no cap.
        diversity: the score that each article above of the same category costs.
    """

    per_category: Whole = 0
    per_author: Whole = 0
    diversity: Amount = 0.0

    @property
    def any(self) -> bool:
        """Return whether any rule applies."""
        return bool(self.per_category or self.per_author or self.diversity)


@dataclass(frozen=True, config=_FORBID)
class HybridParameters:
    """The parameters of a recommender.

    A user's score of an item is als · preference + neighbours · nearness + content · similarity + popularity · use
    + freshness · youth. The preference is the factorisation's (about 0 to 1), the nearness is how often the item is
    read together with the user's reading, the similarity is the cosine between the item and the user's reading, the
    use is the item's relative popularity, and the youth halves from 1 every few days (all 0 to 1).

    Attributes:
        freshness: the weight of the youth, the best predictor of tomorrow's reading among news.
        chosen: the parts whose weights each fit chooses by what readers read next; the given weights are its start.
        content_fields: the columns of articles.sql that describe an article's content, with their weights.
        max_age_days: the age up to which an article is recommended; 0 for no limit.
        event_weights: the weight of each event type; other types do not count.
        half_life_days: the half-life of an event for a user's taste; 0 for no decay.
        popularity_half_life_days: the half-life of an event for an item's popularity, which fades within days.
        read_seconds: the mean time on an article's page at which a view counts in full as a read; 0 counts all views.
        freshness_half_life_days: the half-life of the youth, above 0 if freshness counts.
    """

    als: Amount = 0.5
    neighbours: Amount = 0.0
    content: Amount = 1.0
    popularity: Amount = 1.0
    freshness: Amount = 3.0
    chosen: tuple[Literal["als", "neighbours", "content", "popularity", "freshness"], ...] = ()
    content_fields: dict[str, Amount] = Field(default_factory=lambda: dict(CONTENT_FIELDS))
    content_width: Whole = 32
    max_age_days: Amount = 14.0
    event_weights: dict[str, Amount] = Field(default_factory=lambda: dict(EVENT_WEIGHTS))
    half_life_days: Amount = 14.0
    popularity_half_life_days: Amount = 1.0
    read_seconds: Amount = 30.0
    freshness_half_life_days: Amount = 3.0
    length: Annotated[int, Field(strict=True, ge=1, le=1000)] = 10
    factorisation: AlsParameters = Field(default_factory=AlsParameters)
    covisitation: CovisitParameters = Field(default_factory=CovisitParameters)
    lists: ListParameters = Field(default_factory=ListParameters)

    @model_validator(mode="after")
    def _scores_differ(self) -> Self:
        if not self.chosen and not any(getattr(self, part) for part in PARTS):
            raise ValueError(f"{', '.join(PARTS[:-1])} or {PARTS[-1]} above 0")
        if self.freshness and not self.freshness_half_life_days:
            raise ValueError("freshness_half_life_days above 0 where freshness counts")
        return self

    def weighed(self, weights: Mapping[str, float]) -> HybridParameters:
        """Return the parameters with other weights of some parts."""
        values: dict[str, Any] = dict(weights)
        return replace(self, **values)

    def same_settings(self, other: HybridParameters) -> bool:
        """Return whether two recommenders have the same parameters, whatever their fits chose."""
        start: dict[str, float] = dict.fromkeys(self.chosen, 0.0)
        return self.chosen == other.chosen and self.weighed(start) == other.weighed(start)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> HybridParameters:
        """Check the values of a config or a file.

        A weight that is absent or null is chosen by each fit.

        Raises:
            ConfigError: a name is unknown, or a value cannot be used.
        """
        given = {name: value for name, value in values.items() if value is not None or name not in PARTS}
        given = {"chosen": tuple(part for part in PARTS if part not in given), **given}
        try:
            return TypeAdapter(cls).validate_python(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in ("model.params", *first["loc"]))
            allowed = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            if first["type"] == "unexpected_keyword_argument":
                known = _SECTIONS.get(str(first["loc"][0]), cls) if len(first["loc"]) > 1 else cls
                allowed = ", ".join(field.name for field in fields(known))
            raise ConfigError(
                f"{name} cannot be used by the recommender", found=repr(first["input"]), allowed=allowed
            ) from error


_SECTIONS = {"factorisation": AlsParameters, "covisitation": CovisitParameters, "lists": ListParameters}
