"""The sections `levels` and `publish`: named ranges of the score, and the tables that are published to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from raypipe.config.fields import Breach, Column, Items, Section, Slug, SqlPath, Table, refuse, repeated

PREDICTIONS = "ml_model_predictions"


class Level(Section):
    """A named range of scores."""

    name: Slug = Field(description="The level's name, as published.")
    below: float = Field(gt=0, description="Upper bound, exclusive; the lower bound is that of the level before.")


class Publish(Section):
    """A table that a run publishes to."""

    target: Table = Field(description="The table.")
    sql: SqlPath = Field(
        description="The SELECT that maps staged rows to the target's columns, as a path inside the sql folder."
    )
    rows: str = Field(
        default="count()",
        min_length=1,
        description="The number of rows that the SELECT must return, as an aggregate over the staged rows, such as "
        "sum(length(articles)) if a list becomes one row per item.",
    )
    current: Column | None = Field(
        default=None,
        description="A 0/1 column of the target that is 1 only in the newest row of each entity; a committed run sets "
        "the rows of earlier dates to 0.",
    )


def _ascending(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    refuse(*_level_breaches(levels))
    return levels


def _level_breaches(levels: tuple[Level, ...]) -> Iterator[Breach]:
    for name in repeated(level.name for level in levels):
        yield Breach("gives two levels the same name", name, "each name once")
    for position in range(1, len(levels)):
        before, here = levels[position - 1].below, levels[position].below
        if here <= before:
            yield Breach("is not above the level before it", f"{here:g}", f"more than {before:g}", (position, "below"))
    if levels and levels[-1].below <= 1:
        at = (len(levels) - 1, "below")
        yield Breach("gives the highest scores no level", f"{levels[-1].below:g}", "more than 1, such as 1.01", at)


def _in_order(targets: tuple[Publish, ...]) -> tuple[Publish, ...]:
    names = [publish.target for publish in targets]
    refuse(*(Breach("names a target twice", name, "each target once") for name in repeated(names)))
    if PREDICTIONS in names[:-1]:
        at = (names.index(PREDICTIONS), "target")
        refuse(Breach("must come last", PREDICTIONS, "the other targets first: its rows mark the run as complete", at))
    return targets


Levels = Annotated[Items[Level], AfterValidator(_ascending)]
Targets = Annotated[Items[Publish], AfterValidator(_in_order)]
