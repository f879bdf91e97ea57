"""The points of a search space: what a searcher suggests, and the recipe that a suggestion means.

A searcher knows flat names with numbers and words: a choice is the JSON of its value, and each feature of a subset is
a name of its own, `features.drop:NAME`, whose word says whether it is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raypipe.clickhouse.statements import Statement
from raypipe.errors import ConfigError, DataError
from raypipe.fit.recipe import Recipe

DROP = "features.drop"
USED, DROPPED = "used", "dropped"
PARAMETER, OPTION = "parameters.", "model.params."
# Longer tables of choices are no search but a mistake.
MOST_CHOICES = 1000

Point = Mapping[str, Any]
Values = dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """One thing that a searcher varies.

    Attributes:
        name: for the searcher; a subset has one axis for each feature.
        kind: `int`, `float` or `choice`.
        low: the lowest value, of a number.
        high: the highest.
        log: whether steps are factors.
        words: what a choice is made of.
    """

    name: str
    kind: str
    low: float = 0
    high: float = 0
    log: bool = False
    words: tuple[str, ...] = ()

    def holds(self, value: Any) -> bool:
        """Whether the searcher could suggest this value."""
        if self.kind == "choice":
            return value in self.words
        kinds = (int,) if self.kind == "int" else (int, float)
        return type(value) in kinds and self.low <= value <= self.high


def axes(space: Mapping[str, Mapping[str, Sequence[Any]]]) -> tuple[Axis, ...]:
    """What a searcher varies, for a space as the config has it.

    Raises:
        ConfigError: there is nothing to search.
    """
    if not space:
        raise ConfigError(
            "There is nothing to search",
            found="no sweep.space in the pipeline's config",
            next_step="say what to vary, as `sweep: {space: {model.params.max_depth: {int: [2, 8]}}}`",
        )
    return tuple(axis for key, dimension in space.items() for axis in _axes(key, dimension))


def _axes(key: str, dimension: Mapping[str, Sequence[Any]]) -> Iterator[Axis]:
    ((way, values),) = dimension.items()
    if way == "subset":
        yield from (Axis(f"{key}:{name}", "choice", words=(USED, DROPPED)) for name in values)
    elif way == "choice":
        if len(values) > MOST_CHOICES:
            raise ConfigError(
                f"sweep.space.{key} cannot be searched", found=f"{len(values)} choices", allowed="a range"
            )
        yield Axis(key, "choice", words=tuple(_word(value) for value in values))
    else:
        kind = "int" if way in ("int", "log_int") else "float"
        yield Axis(key, kind, values[0], values[1], way.startswith("log"))


def values_of(point: Point) -> Values:
    """What a suggestion sets: values by dotted key of the config, the dropped features as a list."""
    found: Values = {}
    for name, value in point.items():
        key, _, feature = name.partition(":")
        if feature:
            found.setdefault(key, [])
            if value == DROPPED:
                found[key].append(feature)
        else:
            found[key] = value
    return found


def decoded(point: Point, known: Sequence[Axis]) -> Values:
    """`values_of` a searcher's own suggestion, in which choices are words."""
    choices = {axis.name for axis in known if axis.kind == "choice" and ":" not in axis.name}
    return values_of({name: json.loads(value) if name in choices else value for name, value in point.items()})


def own_point(recipe: Recipe, known: Sequence[Axis]) -> tuple[dict[str, Any], list[str]]:
    """The point that the recipe itself stands at, and the names of axes that do not reach it.

    A value that the recipe leaves to the library is not known here, and counts as not reached.
    """
    keys = {axis.name.partition(":")[0] for axis in known}
    point = _encoded({key: _standing(recipe, key) for key in keys}, known)
    return point, [axis.name for axis in known if not axis.holds(point[axis.name])]


def point_of(values: Mapping[str, Any], known: Sequence[Axis]) -> dict[str, Any]:
    """The point at which a searcher suggested these values: the reverse of `decoded`.

    Raises:
        DataError: no point of the space means these values.
    """
    point = _encoded(values, known)
    if not all(axis.holds(point[axis.name]) for axis in known) or decoded(point, known) != values:
        raise DataError(
            "What is stored of a trial is no point of the sweep's space",
            found=_word(values),
            allowed=", ".join(axis.name for axis in known),
            next_step="leave --resume out for a new sweep: rows of this one in ml_model_training_runs were changed",
        )
    return point


def _encoded(values: Mapping[str, Any], known: Sequence[Axis]) -> dict[str, Any]:
    """What a searcher would call these values, whether or not the space holds them."""
    point: dict[str, Any] = {}
    for axis in known:
        key, _, feature = axis.name.partition(":")
        value = values.get(key)
        if feature:
            point[axis.name] = DROPPED if isinstance(value, list) and feature in value else USED
        else:
            point[axis.name] = _word(value) if axis.kind == "choice" else value
    return point


def _standing(recipe: Recipe, key: str) -> Any:
    if key == DROP:
        return []
    if key.startswith(PARAMETER):
        return recipe.parameters.get(key.removeprefix(PARAMETER))
    if key.startswith(OPTION):
        return recipe.params.get(key.removeprefix(OPTION))
    return getattr(recipe, key.removeprefix("model."))


def changed(recipe: Recipe, values: Values) -> Recipe:
    """The recipe with the values of a trial."""
    params, parameters, made = dict(recipe.params), dict(recipe.parameters), recipe
    for key, value in values.items():
        if key == DROP:
            made = replace(made, features=[feature for feature in recipe.features if feature.name not in value])
        elif key.startswith(PARAMETER):
            parameters[key.removeprefix(PARAMETER)] = value
        elif key.startswith(OPTION):
            params[key.removeprefix(OPTION)] = value
        elif key == "model.rounds":
            made = replace(made, rounds=value)
        elif key == "model.early_stopping_rounds":
            made = replace(made, early_stopping_rounds=value)
        else:
            made = replace(made, balance=value)
    snapshots = tuple(
        replace(item, parameters={**item.parameters, **parameters}) if parameters else item for item in recipe.snapshots
    )
    return replace(made, params=params, parameters=parameters, snapshots=snapshots)


def reads_anew(recipe: Recipe, values: Values) -> bool:
    """Whether a trial needs other rows than the recipe's: its queries bind other values."""
    return any(
        key.startswith(PARAMETER) and value != recipe.parameters.get(key.removeprefix(PARAMETER))
        for key, value in values.items()
    )


def most_rounds(recipe: Recipe, known: Sequence[Axis]) -> int:
    """The rounds that a trial may get at most."""
    found = [axis for axis in known if axis.name == "model.rounds"]
    if not found:
        return recipe.rounds
    return int(found[0].high) if found[0].kind == "int" else max(json.loads(word) for word in found[0].words)


def of_one_brand(statement: Statement, column: str) -> Statement:
    """The features query for the entities of one brand, bound as `brand`; `{slice}` stays where it was."""
    text = f"SELECT * FROM (\n{statement.text}\n) AS everyone WHERE toString({column}) = {{brand:String}}"
    return replace(statement, text=text)


def _word(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
