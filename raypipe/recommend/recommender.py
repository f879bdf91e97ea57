"""The recommender: item factors beside the catalogue, and how much each part of the hybrid score counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import ConfigError
from raypipe.recommend.als import Factorisation, item_factors
from raypipe.recommend.catalogue import Catalogue
from raypipe.recommend.interactions import Interactions

Array = npt.NDArray[Any]

_NUMBERS = (
    "als",
    "content",
    "popularity",
    "freshness",
    "content_width",
    "max_age_days",
    "half_life_days",
    "popularity_half_life_days",
    "freshness_half_life_days",
)
CONTENT_FIELDS = {"category_id": 1.0, "author_id": 0.5, "article_type": 0.25, "engagement_band": 0.25}
LONGEST_LIST = 1000
EVENT_WEIGHTS = {"view": 1.0, "click": 2.0, "share": 3.0}


@dataclass(frozen=True)
class Hybrid:
    """Every parameter of a recommender.

    A user's score of an item is als · preference + content · similarity + popularity · use + freshness · youth: the
    preference is that of the factorisation (about 0 to 1), the similarity the cosine between the item and what the user
    read, the use the item's relative popularity, and the youth halves every so many days from 1 (all 0 to 1).

    Attributes:
        als: the weight of the factorisation.
        content: the weight of the content.
        popularity: the weight of the popularity.
        freshness: the weight of the youth; among news it tells most of what will be read tomorrow.
        content_fields: the columns of articles.sql that say what an article is about, and how much each counts.
        content_width: the length of the content vectors.
        max_age_days: an article is recommended for so many days after its publication; 0 for ever.
        event_weights: what an event of a type counts; a type that is not named counts nothing.
        half_life_days: an event counts half as much every so many days, for what a user likes; 0 for no decay.
        popularity_half_life_days: the same for how popular an item is, which in news passes within days.
        freshness_half_life_days: the youth halves every so many days, above 0 where freshness counts.
        length: articles of a list.
        factorisation: the parameters of the ALS.
    """

    als: float = 0.5
    content: float = 1.0
    popularity: float = 1.0
    freshness: float = 3.0
    content_fields: Mapping[str, float] = field(default_factory=lambda: dict(CONTENT_FIELDS))
    content_width: int = 32
    max_age_days: float = 14.0
    event_weights: Mapping[str, float] = field(default_factory=lambda: dict(EVENT_WEIGHTS))
    half_life_days: float = 14.0
    popularity_half_life_days: float = 1.0
    freshness_half_life_days: float = 3.0
    length: int = 10
    factorisation: Factorisation = field(default_factory=Factorisation)

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < np.inf:
                raise ConfigError(f"The recommender's {name} cannot be used", found=value, allowed="a number from 0")
        if type(self.length) is not int or not 1 <= self.length <= LONGEST_LIST:
            raise ConfigError("length is not that of a list", found=self.length, allowed=f"1 to {LONGEST_LIST}")
        if not isinstance(self.content_width, int):
            raise ConfigError("content_width is not a whole number", found=self.content_width, allowed="such as 32")
        for name in ("content_fields", "event_weights"):
            for key, value in getattr(self, name).items():
                if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < np.inf:
                    raise ConfigError(f"{name}.{key} cannot be used", found=value, allowed="a number from 0")
        if not any((self.als, self.content, self.popularity, self.freshness)):
            raise ConfigError(
                "The hybrid has no weight above 0", allowed="als, content, popularity or freshness above 0"
            )
        if self.freshness and not self.freshness_half_life_days:
            raise ConfigError("Freshness counts, but has no half-life", allowed="freshness_half_life_days above 0")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Hybrid:
        """The parameters from a config's or a file's values.

        Raises:
            ConfigError: a name is unknown, or a value cannot be used.
        """
        known = {name for name in cls.__dataclass_fields__}
        own = dict(values)
        nested = own.pop("factorisation", {})
        _refuse_unknown("the recommender", own, known)
        if not isinstance(nested, Mapping):
            raise ConfigError("The recommender's factorisation is not a mapping", found=nested)
        _refuse_unknown("the factorisation", nested, set(Factorisation.__dataclass_fields__))
        return cls(**own, factorisation=Factorisation(**nested))


@dataclass(frozen=True)
class Recommender:
    """A fitted recommender. It holds no users: their factors follow from their histories.

    Attributes:
        params: what it was fitted with.
        catalogue: the items.
        factors: (items, factors), float32; 0 for an item nobody read.
    """

    params: Hybrid
    catalogue: Catalogue
    factors: Array


def fit(interactions: Interactions, catalogue: Catalogue, params: Hybrid, *, threads: int = 0) -> Recommender:
    """Fits a recommender on who read what.

    Args:
        interactions: pairs whose items are positions in the catalogue.
        catalogue: the items.
        params: of the hybrid.
        threads: 0 for all cores.

    Raises:
        ModelError: the factorisation failed.
    """
    return Recommender(params, catalogue, item_factors(interactions, params.factorisation, threads))


def _refuse_unknown(what: str, values: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(
            f"Unknown parameters of {what}",
            found=", ".join(unknown),
            allowed=", ".join(sorted(known - {"factorisation"})),
        )
