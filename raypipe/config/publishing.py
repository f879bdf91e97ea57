"""What becomes of the scores: named levels, and the tables that they are published to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from raypipe.config.fields import Breach, Column, Items, Section, Slug, SqlPath, Table, refuse, repeated

PREDICTIONS = "ml_model_predictions"


class Level(Section):
    """A named range of scores."""

    name: Slug = Field(description="The level's name, as published.")
    below: float = Field(
        gt=0, description="The level holds scores below this cut and not below that of the level before."
    )


class Publish(Section):
    """One table that a run's rows are published to."""

    target: Table = Field(description="The table that is published to.")
    sql: SqlPath = Field(
        description="The SELECT that maps staged rows to the target's columns, as a path inside the sql folder."
    )
    rows: str = Field(
        default="count()",
        min_length=1,
        description="How many rows that SELECT has to yield, as an aggregate over the staged rows, such as "
        "sum(length(articles)) where a list becomes a row an item.",
    )
    current: Column | None = Field(
        default=None,
        description="A 0/1 column of the target that is 1 in each entity's newest row alone; rows of earlier dates get "
        "0 once a run is committed.",
    )


def _ascending(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    refuse(_level_breaches(levels))
    return levels


def _level_breaches(levels: tuple[Level, ...]) -> Iterator[Breach]:
    for name in repeated(level.name for level in levels):
        yield Breach("names a level twice", name, "each level once")
    for position in range(1, len(levels)):
        before, here = levels[position - 1].below, levels[position].below
        if here <= before:
            yield Breach("is not above the cut before it", f"{here:g}", f"more than {before:g}", (position, "below"))
    if levels and levels[-1].below <= 1:
        yield Breach(
            "leaves the highest scores without a level",
            f"{levels[-1].below:g}",
            "more than 1, such as 1.01",
            (len(levels) - 1, "below"),
        )


def _in_order(targets: tuple[Publish, ...]) -> tuple[Publish, ...]:
    names = [publish.target for publish in targets]
    breaches = [Breach("names a target twice", name, "each target once") for name in repeated(names)]
    if PREDICTIONS in names[:-1]:
        place = (names.index(PREDICTIONS), "target")
        breaches.append(
            Breach("must come last", PREDICTIONS, "the other targets first: its rows say that a run is complete", place)
        )
    refuse(breaches)
    return targets


Levels = Annotated[Items[Level], AfterValidator(_ascending)]
Targets = Annotated[Items[Publish], AfterValidator(_in_order)]
