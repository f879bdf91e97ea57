"""Refuse labels that are not of the kind that the config declares, before anything is fitted on them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.data.slices import unsliced
from raypipe.errors import DataError
from raypipe.evaluation.checks import single_class
from raypipe.fit.recipe import Recipe, labels_of

# Values of a label that an error lists.
LISTED = 5
_NUMERIC = ("Int", "UInt", "Float", "Decimal", "Bool")


def require_type(type_name: str, kind: str, source: str) -> None:
    """Refuse a label of text where the config declares a number, or 0 and 1."""
    bare = type_name.removeprefix("LowCardinality(").removeprefix("Nullable(")
    if kind != "classes" and not bare.startswith(_NUMERIC):
        raise DataError(
            f"The label in {source} is not a number",
            found=type_name,
            allowed="0 and 1" if kind == "binary" else "a numeric column",
            next_step="write `toUInt8(label = 'yes')` for a binary label, or declare `kind: classes` with its values",
        )


def expression(kind: str) -> str:
    """Return the label as Float32: NaN without a label, and -1 for a class that the config does not declare."""
    if kind == "classes":
        return "toFloat32(if(isNull(label), nan, toFloat32(indexOf({classes:Array(String)}, toString(label))) - 1))"
    return "ifNull(toFloat32(label), toFloat32(nan))"


def require_usable(client: Client, recipe: Recipe, table: str, parts: Sequence[str]) -> None:
    """Refuse labels of a training table that are no labels of the recipe's kind, or of a single value.

    Raises:
        DataError: names the part and the values.
    """
    rows = client.rows(
        f"SELECT part, count(), countIf(isNaN(label)), min(label), max(label), groupUniqArray({LISTED * 100})(label)"
        f" FROM {identifier(table)} GROUP BY part"
    )
    values = {part: known for part, *known in rows}
    source = labels_of(recipe).source
    for part in parts:
        count, missing, least, most, distinct = values[part]
        if missing:
            raise DataError(
                f"The {part} rows have labels that are not numbers",
                found=f"{missing:,} of {count:,} are NULL or NaN",
                next_step=f"exclude the entities without a known label in {source}",
            )
        if recipe.label_kind == "number":
            _require_numbers(recipe, part, least, most, source)
        elif recipe.label_kind == "binary":
            _require_binary(client, recipe, table, part, distinct, source)
    if recipe.label_kind == "classes":
        _require_classes(client, recipe, {part: set(values[part][-1]) for part in parts})


def _require_numbers(recipe: Recipe, part: str, least: float, most: float, source: str) -> None:
    if part == "train" and least == most:
        raise DataError(
            "The label is the same number in all training rows",
            found=f"{least:g}",
            allowed="numbers that differ",
            next_step=f"correct {source}, or take more snapshots",
        )
    if recipe.score_range is None:
        return
    # Labels are stored as Float32.
    low, high = map(np.float32, recipe.score_range)
    if least < low or most > high:
        raise DataError(
            f"The {part} part of the split has labels outside of label.range",
            found=f"{least:g} to {most:g}",
            allowed=f"{low:g} to {high:g}",
            next_step=f"correct {source}, or label.range in the config",
        )


def _require_binary(
    client: Client, recipe: Recipe, table: str, part: str, distinct: Iterable[float], source: str
) -> None:
    other = sorted(set(distinct) - {0, 1})
    if other:
        raise DataError(
            f"The label is declared binary, but the {part} part of the split has other values",
            found=", ".join(f"{value:g}" for value in other[:LISTED]),
            allowed="0 and 1",
            next_step=f"correct {source}, or declare `kind: classes` or `kind: number`",
        )
    sql = f"SELECT count(), countIf(label > 0.5) FROM {identifier(table)} WHERE part = {{part:String}}"
    ((rows, positives),) = client.rows(sql, {"part": part})
    if positives in (0, rows):
        raise single_class(f"The {part} part of the split", positives, rows)


def _require_classes(client: Client, recipe: Recipe, present: Mapping[str, set[Any]]) -> None:
    """Refuse classes that the config does not declare, that no training row has, and a part of a single class."""
    source = labels_of(recipe).source
    if any(-1 in labels for labels in present.values()):
        names = _undeclared(client, recipe)
        raise DataError(
            f"{source} yields classes that the config does not declare",
            found=", ".join(names) or "''",
            allowed=", ".join(recipe.classes),
            next_step="add them to label.classes, or leave their rows out of the query",
        )
    unseen = [name for at, name in enumerate(recipe.classes) if at not in present.get("train", {at})]
    if unseen:
        raise DataError(
            "No training row has a class that the config declares",
            found=", ".join(unseen),
            next_step=f"correct {source}, take more snapshots, or remove the class from label.classes",
        )
    for part, labels in present.items():
        if len(labels) < 2:
            raise DataError(
                f"The {part} part of the split has rows of a single class",
                found=recipe.classes[int(next(iter(labels)))],
                allowed="rows of at least two classes",
                next_step=f"check {source} and the horizon, or take more rows",
            )


def _undeclared(client: Client, recipe: Recipe) -> list[str]:
    sql = (
        f"SELECT DISTINCT toString(label) AS value FROM (\n{unsliced(labels_of(recipe).text)}\n)"
        f" WHERE NOT has({{classes:Array(String)}}, value) ORDER BY value LIMIT {LISTED}"
    )
    names: dict[str, None] = {}
    for snapshot in recipe.snapshots:
        found = client.rows(sql, {**snapshot.parameters, "classes": list(recipe.classes)})
        names |= dict.fromkeys(str(value) for (value,) in found)
    return list(names)
