"""Find an entity's published prediction, and the reason where the entity was rejected instead."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, identifier, literal
from raypipe.config.publishing import PREDICTIONS
from raypipe.proof.published import Published
from raypipe.proof.scored import Scored
from raypipe.score import publish_sql
from raypipe.score.manifest import OWN_COLUMNS

VIEW = "raypipe_current_predictions"
# The columns by which a run's row of an entity is found, where the publish statement yields them.
_BY = ("prediction_type", "prediction_date", "entity_id", "company_id", "brand_id")


@dataclass(frozen=True)
class Prediction:
    """A row of the predictions: the score, and the name of its level."""

    score: float
    level: str


@dataclass(frozen=True)
class Found:
    """An entity's prediction as computed now, and the published rows of the run.

    Attributes:
        expected: the row that the publish statement yields for the score; None without a score.
        published: the rows in the view; a whole publication has one per entity.
    """

    expected: Prediction | None
    published: tuple[Prediction, ...]


def is_comparable(known: Published) -> bool:
    """Return whether the run publishes its scores as predictions, one row per entity."""
    return any((target.table, target.rows) == (PREDICTIONS, "count()") for target in known.manifest.targets)


def find(client: Client, known: Published, texts: Mapping[str, str | None], scored: Scored | None) -> Found:
    """Run the publish statement of the predictions for one entity, and look its row up.

    Args:
        texts: the key and the carried columns as text; a missing one gets the default value of its type.
    """
    expected = _expected(client, known, texts, scored)
    unknown = set(known.manifest.keys) - texts.keys()
    names = [name for name in _BY if name in expected and name not in unknown]
    where = " AND ".join(f"{name} = {{{name}:String}}" for name in names)
    rows = client.rows(
        f"SELECT prediction_id, prediction_value, prediction_class FROM {VIEW}"
        f" WHERE batch_id = {{run_id:String}} AND {where}",
        {"run_id": known.run.run_id, **{name: str(expected[name]) for name in names}},
    )
    # An id that follows from the key tells entities apart that share everything else.
    own = [row for row in rows if row[0] == expected.get("prediction_id")] or rows
    computed = _prediction(expected["prediction_value"], expected.get("prediction_class", ""))
    return Found(computed if scored else None, tuple(_prediction(value, level) for _, value, level in own))


def _expected(
    client: Client, known: Published, texts: Mapping[str, str | None], scored: Scored | None
) -> dict[str, Any]:
    """Return the row that the run's publish statement yields for one entity."""
    manifest = known.manifest
    (target,) = [target for target in manifest.targets if target.table == PREDICTIONS]
    answers = scored.answers.items() if scored else ()
    values = {**texts, **{name: str(value) for name, value in answers if isinstance(value, (str, int, float))}}
    staged = _staged({name: kind for name, kind in manifest.staged_types.items() if name not in OWN_COLUMNS}, values)
    empty = _staged({**dict(zip(manifest.keys, manifest.key_types, strict=True)), "contributions": "String"}, {})
    fragments = {
        **publish_sql.fragments(manifest),
        "staging": f"({staged}, toFloat32({{score:Float64}}) AS score)",
        "explanations": f"({empty} WHERE 0)",
    }
    sql = Statement(target.sql, source=f"the publish statement of {target.table}").render(**fragments)
    bound = {f"value_{name}": value for name, value in values.items() if value is not None}
    names, (row,) = client.named_rows(
        sql, {**publish_sql.bound(manifest, ()), **bound, "score": scored.score if scored else 0.0}
    )
    return dict(zip(names, row, strict=True))


def _staged(types: Mapping[str, str], values: Mapping[str, str | None]) -> str:
    columns = [f"{_value(name, kind, values)} AS {identifier(name)}" for name, kind in types.items()]
    return f"SELECT {', '.join(columns)}"


def _value(name: str, kind: str, values: Mapping[str, str | None]) -> str:
    if name not in values:
        return f"defaultValueOfTypeName({literal(kind)})"
    text = "NULL" if values[name] is None else f"{{value_{name}:String}}"
    return f"CAST({text}, {literal(kind)})"


def _prediction(value: Any, level: Any) -> Prediction:
    return Prediction(float(value), str(level))


def rejection(client: Client, known: Published, key: Mapping[str, str | None]) -> str:
    """Return the reason why the run rejected an entity; '' where it did not.

    Args:
        key: the entity's key, or a part of it.
    """
    rows = client.rows(
        "SELECT entity, reason, value FROM raypipe_counted_rejections WHERE run_id = {run_id:String}",
        {"run_id": known.run.run_id},
    )
    for entity, reason, value in rows:
        if _is_of(json.loads(entity), key):
            return f"{reason} ({value})"
    return ""


def _is_of(entity: Mapping[str, Any], key: Mapping[str, str | None]) -> bool:
    return all(value is not None and str(entity.get(name)) == value for name, value in key.items())
