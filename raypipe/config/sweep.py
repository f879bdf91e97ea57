"""The section `sweep`: the search space, by the dotted keys of the values to vary."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema

from raypipe.config.fields import Breach, Column, Section, Slug, refuse

RANGES = ("int", "log_int", "float", "log")
WAYS = "{int: [2, 8]}, {log_int: [10, 1000]}, {float: [0.5, 1]}, {log: [0.01, 0.3]}, {choice: [a, b]}, {subset: [a, b]}"
DROP = "features.drop"
# Float64 cannot represent every whole number beyond this.
_LARGEST = 2**53
_TRACTABLE = f"finite numbers, whole ones up to {_LARGEST}"
# These keys take only whole numbers.
_WHOLE = ("model.rounds", "model.early_stopping_rounds")
_KEYS = (
    "model.params.NAME, model.rounds, model.early_stopping_rounds, model.balance, "
    f"{DROP}, parameters.NAME (of the section parameters)"
)

Dimension = dict[str, list[Any]]


def _dimension(value: Any) -> Dimension:
    way, values = next(iter(value.items())) if isinstance(value, Mapping) and len(value) == 1 else ("", None)
    if way not in (*RANGES, "choice", "subset") or not isinstance(values, list):
        refuse(Breach("is not a range of values", _written(value), WAYS))
    elif allowed := _broken_rule(way, values):
        refuse(Breach("cannot be searched", _written(value), allowed))
    return {way: list(values or ())}


def _broken_rule(way: str, values: list[Any]) -> str | None:
    """Return the rule that the values break, as the text of what is allowed; None if they can be searched."""
    kinds = (int,) if way in ("int", "log_int") else (int, float)
    is_distinct = len({_written(item) for item in values}) == len(values)
    if way in RANGES and (len(values) != 2 or any(type(bound) not in kinds for bound in values)):
        return f"two {'numbers' if float in kinds else 'whole numbers'}, [lowest, highest]"
    if way == "choice" and not (is_distinct and len(values) > 1):
        return "at least two values, each once"
    if way == "subset" and not (values and is_distinct and all(isinstance(item, str) for item in values)):
        return "names of features, each once"
    if not all(map(_is_tractable, values)):
        return _TRACTABLE
    if way in RANGES and values[0] >= values[1]:
        return "the lowest first, below the highest"
    return "a lowest above 0, as steps are factors" if way.startswith("log") and values[0] <= 0 else None


def _is_tractable(value: Any) -> bool:
    """Return whether a searcher can use the value, and JSON can store it with a trial."""
    if type(value) is int:
        return abs(value) <= _LARGEST
    return not isinstance(value, float) or math.isfinite(value)


def _written(value: Any) -> str:
    return json.dumps(value, default=str)


_SCALARS = {"type": ["string", "number", "boolean", "array", "null"]}


def _alternative(way: str, items: dict[str, Any], **more: int) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {way: {"type": "array", "items": items, **more}},
        "required": [way],
        "additionalProperties": False,
    }


DimensionEntry = Annotated[
    Dimension,
    PlainValidator(_dimension),
    WithJsonSchema(
        {
            "anyOf": [
                *(_alternative(way, {"type": "integer"}, minItems=2, maxItems=2) for way in ("int", "log_int")),
                *(_alternative(way, {"type": "number"}, minItems=2, maxItems=2) for way in ("float", "log")),
                _alternative("choice", _SCALARS, minItems=2),
                _alternative("subset", {"type": "string"}, minItems=1),
            ]
        }
    ),
]


class Sweep(Section):
    """The search of `raypipe sweep`: its space and its limits."""

    space: dict[str, DimensionEntry] = Field(
        default={},
        description="For each dotted key, the values to try; empty: the model's own space. "
        "{int: [2, 8]} and {float: [0.5, 1]} between two bounds, "
        "{log: [0.01, 0.3]} and {log_int: [10, 1000]} by factors, {choice: [a, b]} from a list. features.drop: "
        "{subset: [a, b]} tries to leave out each of them. parameters.NAME varies a parameter of features.sql.",
    )
    trials: int = Field(default=20, ge=1, description="Configurations to try, the pipeline's own first.")
    minutes: float | None = Field(
        default=None, gt=0, description="End the search after so many minutes; null: when all trials are done."
    )
    metric: Slug | None = Field(
        default=None, description="The metric on validation rows that decides; null: evaluate.metric."
    )
    cpus: int = Field(default=1, ge=1, description="CPUs of each trial, and its number of threads.")
    concurrent: int | None = Field(default=None, ge=1, description="Trials at a time; null: as the CPUs allow.")
    grace_rounds: int = Field(
        default=30, ge=1, description="Boosting rounds of every trial before it may be stopped as worse than others."
    )


def space_breaches(
    sweep: Sweep, features: tuple[str, ...], parameters: Mapping[str, Any], balances: tuple[str, ...]
) -> Iterator[Breach]:
    """Yield the problems of a space's keys, given the rest of the configuration; no balances without classes."""
    for key, dimension in sweep.space.items():
        ((way, values),) = dimension.items()
        at = ("space", key)
        if key == DROP:
            yield from _drop_breaches(way, values, features)
        elif way == "subset":
            yield Breach("is not a set of features", _written(dimension), f"a subset only for {DROP}", at)
        elif key == "model.balance" and not balances:
            yield Breach("needs a binary label", _written(dimension), "a space without model.balance", at)
        elif key == "model.balance":
            if way != "choice" or not set(map(_written, values)) <= set(map(_written, balances)):
                yield Breach("cannot be searched", _written(dimension), f"a choice of {', '.join(balances)}", at)
        elif key in _WHOLE:
            least = 1 if key == "model.rounds" else 0
            if way in ("float", "log") or any(type(value) is not int or value < least for value in values):
                yield Breach("cannot be searched", _written(dimension), f"whole numbers of at least {least}", at)
        elif key.startswith("parameters."):
            if key.removeprefix("parameters.") not in parameters:
                names = ", ".join(parameters) or "none: add it there with its usual value"
                yield Breach(
                    "is not a parameter of features.sql", key, f"a name in the section parameters: {names}", at
                )
        elif not key.removeprefix("model.params.") or not key.startswith("model.params."):
            yield Breach("cannot be varied by a sweep", key, _KEYS, at)


def _drop_breaches(way: str, values: list[Any], features: tuple[str, ...]) -> Iterator[Breach]:
    at = ("space", DROP)
    if way not in ("subset", "choice") or (way == "choice" and not all(isinstance(group, list) for group in values)):
        allowed = "{subset: [a, b]}, or {choice: [[], [a], [a, b]]}"
        yield Breach("cannot be searched", _written({way: values}), allowed, at)
        return
    groups: list[list[Any]] = [values] if way == "subset" else values
    for name in sorted({str(name) for group in groups for name in group} - set(features)):
        yield Breach("names an unknown feature", name, "features of this pipeline", at)
    if any(not set(features) - set(group) for group in groups):
        yield Breach("could drop every feature", _written({way: values}), "fewer features", at)


Parameters = dict[Column, int | float | str | bool]
