"""What a sweep searches: a section of the pipeline's YAML, by the dotted keys of the values that it varies."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema

from raypipe.config.fields import Breach, Column, Section, Slug, refuse

RANGES = ("int", "log_int", "float", "log")
WAYS = "{int: [2, 8]}, {log_int: [10, 1000]}, {float: [0.5, 1]}, {log: [0.01, 0.3]}, {choice: [a, b]}, {subset: [a, b]}"
DROP = "features.drop"
# Beyond, Float64 leaves out whole numbers.
_LARGEST = 2**53
_TRACTABLE = f"finite numbers, whole ones up to {_LARGEST}"
# A range is tried at whole numbers where the key takes nothing else.
_WHOLE = ("model.rounds", "model.early_stopping_rounds")
_KEYS = (
    "model.params.NAME, model.rounds, model.early_stopping_rounds, model.balance, "
    f"{DROP}, parameters.NAME (of the section parameters)"
)

Dimension = dict[str, list[Any]]


def _dimension(value: Any) -> Dimension:
    refuse(_dimension_breaches(value))
    ((way, values),) = value.items()
    return {way: list(values)}


def _dimension_breaches(value: Any) -> Iterator[Breach]:
    if not isinstance(value, Mapping) or len(value) != 1:
        yield Breach("is no range of values", _written(value), WAYS)
        return
    ((way, values),) = value.items()
    if way not in (*RANGES, "choice", "subset"):
        yield Breach("is no range of values", _written(value), WAYS)
    elif not isinstance(values, list):
        yield Breach("needs a list", _written(value), WAYS)
    elif way in RANGES:
        yield from _range_breaches(way, values)
    elif len({_written(one) for one in values}) < max(len(values), 2 if way == "choice" else 1):
        yield Breach(
            "cannot be searched", _written(value), "at least two values, each once" if way == "choice" else "names"
        )
    elif not all(map(_is_tractable, values)):
        yield Breach("cannot be searched", _written(value), _TRACTABLE)
    elif way == "subset" and not all(isinstance(one, str) for one in values):
        yield Breach("cannot be searched", _written(value), "names of features")


def _is_tractable(value: Any) -> bool:
    """Whether a searcher can reckon with it, and JSON can keep it: a trial's values are stored."""
    if type(value) is int:
        return abs(value) <= _LARGEST
    return not isinstance(value, float) or math.isfinite(value)


def _range_breaches(way: str, bounds: list[Any]) -> Iterator[Breach]:
    kinds = (int,) if way in ("int", "log_int") else (int, float)
    numbers = "whole numbers" if way in ("int", "log_int") else "numbers"
    if len(bounds) != 2 or any(type(bound) not in kinds for bound in bounds):
        yield Breach("cannot be searched", _written({way: bounds}), f"two {numbers}, [lowest, highest]")
    elif not all(map(_is_tractable, bounds)):
        yield Breach("cannot be searched", _written({way: bounds}), _TRACTABLE)
    elif bounds[0] >= bounds[1]:
        yield Breach("cannot be searched", _written({way: bounds}), "the lowest first, and below the highest")
    elif way in ("log", "log_int") and bounds[0] <= 0:
        yield Breach("cannot be searched", _written({way: bounds}), "a lowest above 0, as steps are factors")


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
    """What `raypipe sweep` varies, and how far it goes."""

    space: dict[str, DimensionEntry] = Field(
        default={},
        description="By dotted key, the values to try: {int: [2, 8]} and {float: [0.5, 1]} between two bounds, {log: "
        "[0.01, 0.3]} and {log_int: [10, 1000]} by factors, {choice: [a, b]} one of some. features.drop: {subset: [a, "
        "b]} leaves each of these features out, or not. parameters.NAME varies what features.sql binds.",
    )
    trials: int = Field(default=20, ge=1, description="How many configurations are tried, the pipeline's own first.")
    metric: Slug | None = Field(
        default=None,
        description="The metric on validation rows that decides, any that an evaluation yields; null: evaluate.metric.",
    )
    cpus: int = Field(default=1, ge=1, description="CPUs of each trial, which are also its threads.")
    concurrent: int | None = Field(
        default=None, ge=1, description="Trials at a time; null: as many as the cluster's CPUs hold."
    )
    grace_rounds: int = Field(
        default=30,
        ge=1,
        description="Boosting rounds that every trial gets before it may be stopped for being worse than others.",
    )


def space_breaches(
    sweep: Sweep, features: tuple[str, ...], parameters: Mapping[str, Any], balances: tuple[str, ...]
) -> Iterator[Breach]:
    """What is wrong with the keys of a space, given the rest of the configuration."""
    for key, dimension in sweep.space.items():
        ((way, values),) = dimension.items()
        at = ("space", key)
        if key == DROP:
            yield from _drop_breaches(way, values, features)
        elif way == "subset":
            yield Breach("is no set of features", _written(dimension), f"a subset for {DROP} alone", at)
        elif key == "model.balance":
            if way != "choice" or not set(map(_written, values)) <= set(map(_written, balances)):
                yield Breach("cannot be searched", _written(dimension), f"a choice of {', '.join(balances)}", at)
        elif key in _WHOLE:
            least = 1 if key == "model.rounds" else 0
            if way in ("float", "log") or any(type(one) is not int or one < least for one in values):
                yield Breach("cannot be searched", _written(dimension), f"whole numbers from {least} on", at)
        elif key.startswith("parameters."):
            if key.removeprefix("parameters.") not in parameters:
                names = ", ".join(parameters) or "none: name it there with its usual value"
                yield Breach("is no parameter of features.sql", key, f"one of the section parameters: {names}", at)
        elif not key.removeprefix("model.params.") or not key.startswith("model.params."):
            yield Breach("is nothing that a sweep can vary", key, _KEYS, at)


def _drop_breaches(way: str, values: list[Any], features: tuple[str, ...]) -> Iterator[Breach]:
    at = ("space", DROP)
    if way not in ("subset", "choice") or (way == "choice" and not all(isinstance(one, list) for one in values)):
        yield Breach(
            "cannot be searched", _written({way: values}), "{subset: [a, b]}, or {choice: [[], [a], [a, b]]}", at
        )
        return
    groups: list[list[Any]] = [values] if way == "subset" else values
    for name in sorted({str(name) for group in groups for name in group} - set(features)):
        yield Breach("names no feature", name, "features of this pipeline", at)
    if any(not set(features) - set(group) for group in groups):
        yield Breach("may leave no feature at all", _written({way: values}), "fewer features", at)


Parameters = dict[Column, int | float | str | bool]
