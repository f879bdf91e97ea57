"""Translate between Optuna's points and the values of a config.

Optuna knows flat names with numbers and words. A choice is the JSON of its value; each feature of a subset has a name
of its own, `features.drop:NAME`, with the word `used` or `dropped`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raypipe.errors import ConfigError, DataError
from raypipe.fit.recipe import Recipe

DROP = "features.drop"
USED, DROPPED = "used", "dropped"
PARAMETER, OPTION = "parameters.", "model.params."
# A longer list of choices is a mistake rather than a space.
MOST_CHOICES = 1000

Point = Mapping[str, Any]
Values = dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """A dimension of the space: an `int` or `float` between bounds, or a `choice` of words.

    A subset has an axis per feature. `log` means that steps are factors.
    """

    name: str
    kind: str
    low: float = 0
    high: float = 0
    log: bool = False
    words: tuple[str, ...] = ()

    def holds(self, value: Any) -> bool:
        """Return whether Optuna could suggest this value."""
        if self.kind == "choice":
            return value in self.words
        kinds = (int,) if self.kind == "int" else (int, float)
        return type(value) in kinds and self.low <= value <= self.high


def axes(space: Mapping[str, Mapping[str, Sequence[Any]]]) -> tuple[Axis, ...]:
    """Return the axes of the config's space.

    Raises:
        ConfigError: the space is empty.
    """
    if not space:
        raise ConfigError(
            "There is nothing to search",
            found="no sweep.space in the pipeline's config",
            next_step="list the values to vary, as `sweep: {space: {model.params.max_depth: {int: [2, 8]}}}`",
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


def decoded(point: Point, axes: Sequence[Axis]) -> Values:
    """Return a suggestion's values by dotted key of the config, the dropped features as a list."""
    choices = {axis.name for axis in axes if axis.kind == "choice" and ":" not in axis.name}
    values: Values = {}
    for name, value in point.items():
        key, _, feature = name.partition(":")
        if not feature:
            values[key] = json.loads(value) if name in choices else value
        elif value == DROPPED:
            values.setdefault(key, []).append(feature)
        else:
            values.setdefault(key, [])
    return values


def own_point(recipe: Recipe, axes: Sequence[Axis]) -> tuple[dict[str, Any], list[str]]:
    """Return the point of the recipe itself, and the names of the axes that do not hold it.

    A value that the recipe leaves to the library is unknown, and counts as not held.
    """
    keys = {axis.name.partition(":")[0] for axis in axes}
    point = _encoded({key: _current(recipe, key) for key in keys}, axes)
    return point, [axis.name for axis in axes if not axis.holds(point[axis.name])]


def point_of(values: Mapping[str, Any], axes: Sequence[Axis]) -> dict[str, Any]:
    """Return the point of these values, the inverse of `decoded`.

    Raises:
        DataError: the space does not hold the values.
    """
    point = _encoded(values, axes)
    if not all(axis.holds(point[axis.name]) for axis in axes) or decoded(point, axes) != values:
        raise DataError(
            "The stored values of a trial are no point of the sweep's space",
            found=_word(values),
            allowed=", ".join(axis.name for axis in axes),
            next_step="leave --resume out for a new sweep: rows of this one in ml_model_training_runs were changed",
        )
    return point


def _encoded(values: Mapping[str, Any], axes: Sequence[Axis]) -> dict[str, Any]:
    """Return the point of these values, whether or not the space holds them."""
    point: dict[str, Any] = {}
    for axis in axes:
        key, _, feature = axis.name.partition(":")
        value = values.get(key)
        if feature:
            point[axis.name] = DROPPED if isinstance(value, list) and feature in value else USED
        else:
            point[axis.name] = _word(value) if axis.kind == "choice" else value
    return point


def _current(recipe: Recipe, key: str) -> Any:
    if key == DROP:
        return []
    if key.startswith(PARAMETER):
        return recipe.parameters.get(key.removeprefix(PARAMETER))
    if key.startswith(OPTION):
        return recipe.params.get(key.removeprefix(OPTION))
    return getattr(recipe, key.removeprefix("model."))


def changed(recipe: Recipe, values: Values) -> Recipe:
    """Return the recipe with the values of a trial."""
    params, parameters = dict(recipe.params), dict(recipe.parameters)
    fields: dict[str, Any] = {}
    for key, value in values.items():
        if key == DROP:
            fields["features"] = [feature for feature in recipe.features if feature.name not in value]
        elif key.startswith(PARAMETER):
            parameters[key.removeprefix(PARAMETER)] = value
        elif key.startswith(OPTION):
            params[key.removeprefix(OPTION)] = value
        else:
            fields[key.removeprefix("model.")] = value
    snapshots = tuple(replace(item, parameters={**item.parameters, **parameters}) for item in recipe.snapshots)
    return replace(recipe, params=params, parameters=parameters, snapshots=snapshots, **fields)


def reads_anew(recipe: Recipe, values: Values) -> bool:
    """Return whether a trial binds other parameters than the recipe, and so needs rows of its own."""
    return any(
        key.startswith(PARAMETER) and value != recipe.parameters.get(key.removeprefix(PARAMETER))
        for key, value in values.items()
    )


def most_rounds(recipe: Recipe, axes: Sequence[Axis]) -> int:
    """Return the most rounds that a trial may get."""
    rounds = next((axis for axis in axes if axis.name == "model.rounds"), None)
    if rounds is None:
        return recipe.rounds
    return int(rounds.high) if rounds.kind == "int" else max(json.loads(word) for word in rounds.words)


def _word(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
