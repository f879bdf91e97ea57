"""Build the queries of a batch: its predictions with or without outcomes, as cells, in all or by slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy.typing as npt

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, identifier, load, without_comments
from raypipe.config.load import Loaded
from raypipe.data import split
from raypipe.data.slices import unsliced
from raypipe.project import shipped
from raypipe.validate import slices
from raypipe.validate.records import Batch

Cells = dict[str, npt.NDArray[Any]]
GIB = 1 << 30
SETTINGS = {
    "join_algorithm": "grace_hash",
    "max_bytes_in_join": GIB,
    "max_bytes_before_external_group_by": GIB,
    "max_bytes_before_external_sort": GIB,
}
# Of a Float32's 23 bits, 10 stay: at most some ten thousand cells, whatever the population.
_FINE = "bitAnd(reinterpretAsUInt32(toFloat32(score)), 4294959104)"
# A sixteenth in log-odds, at most 300 bins for each of many slices.
_COARSE = "if(isFinite(score), floor(16 * log(greatest(score, 1e-4) / greatest(1 - score, 1e-4))), 0)"
_WHOLE = {"slice_column": "''", "slice_value": "''", "level": "level", "bin": _FINE, "buckets": "1000"}
_SLICED = {"slice_column": "slice.1", "slice_value": "slice.2", "level": "''", "bin": _COARSE, "buckets": "200"}


@dataclass(frozen=True)
class BatchQuery:
    """The rows of a batch: entity, score, level and label (NULL if unknown), as SQL with its parameters."""

    sql: str
    keys: str
    parameters: Mapping[str, Any]

    def cells(self, client: Client, kind: str, **parameters: Any) -> Cells:
        """Return the cells of all predictions by level."""
        return self._columns(client, _statement(kind).render(outcomes=self.sql, **_parts(kind, _WHOLE)), parameters)

    def sliced(self, client: Client, kind: str, loaded: Loaded, columns: Sequence[str], **parameters: Any) -> Cells:
        """Return the cells of the slices of some columns."""
        parts = slices.fragments(loaded.config, columns)
        sql = _statement("sliced").render(outcomes=self.sql, keys=self.keys, **parts)
        return self._columns(client, _statement(kind).render(outcomes=sql, **_parts(kind, _SLICED)), parameters)

    def _columns(self, client: Client, sql: str, parameters: Mapping[str, Any]) -> Cells:
        table = client.table(sql, {**self.parameters, **parameters}, SETTINGS)
        return {name: table.column(name).to_numpy() for name in table.column_names}


def with_outcomes(loaded: Loaded, batch: Batch, until: date) -> BatchQuery:
    """Return the query of a batch's predictions with their outcomes."""
    predictions, keys, parameters = _predictions(loaded, batch, until)
    labels = text(loaded.sql(f"{loaded.config.pipeline}/labels.sql"))
    sql = _statement("outcomes").render(predictions=predictions, keys=keys, labels=labels)
    return BatchQuery(sql, keys, parameters)


def without_outcomes(loaded: Loaded, batch: Batch, until: date) -> BatchQuery:
    """Return the query of a batch's predictions before there are outcomes."""
    predictions, keys, parameters = _predictions(loaded, batch, until)
    return BatchQuery(_statement("unknown").render(predictions=predictions), keys, parameters)


def _predictions(loaded: Loaded, batch: Batch, until: date) -> tuple[str, str, dict[str, Any]]:
    """Return the query of a batch's predictions, the entity key as text, and the parameters."""
    entity = loaded.config.entity
    keys = ", ".join(f"toString({identifier(key)})" for key in entity.keys)
    parameters = split.parameters(batch.date, until, loaded.config)
    if batch.run_id:
        columns = (published_as(key, entity.id) or key for key in entity.keys)
        published = ", ".join(f"toString({identifier(column)})" for column in columns)
        sql = _statement("published").render(keys=published)
        return sql, keys, parameters | {"pipeline": batch.pipeline, "run_id": batch.run_id}
    sql = _statement("earlier").render(keys=keys, earlier=text(earlier(loaded)))
    parameters |= {"first": batch.date, "last": batch.date, "model_version": batch.model_version}
    return sql, keys, parameters


def runs(client: Client, pipeline: str) -> list[tuple[Any, ...]]:
    """Return the date, run, model and version of each published run."""
    return client.rows(_statement("runs").text, {"pipeline": pipeline})


def batches_of_tools(client: Client, loaded: Loaded, first: date, last: date) -> list[tuple[Any, ...]]:
    """Return the date and version of each batch of another tool's predictions."""
    sql = _statement("earlier_batches").render(earlier=text(earlier(loaded)))
    return client.rows(sql, {"first": first, "last": last})


def earlier(loaded: Loaded) -> Path:
    """Return the path of the query for predictions of other tools, which few pipelines have."""
    return loaded.sql(f"{loaded.config.pipeline}/earlier.sql")


def published_as(key: str, entity_id: str) -> str | None:
    """Return the column of ml_model_predictions that has a key; None for a key that is not published."""
    if key == entity_id:
        return "entity_id"
    return key if key in ("company_id", "brand_id") else None


def text(path: Path) -> str:
    """Return the query in a file as a subquery."""
    return unsliced(without_comments(load(path).text))


def _parts(kind: str, parts: Mapping[str, str]) -> dict[str, str]:
    unused = "buckets" if kind == "binary" else "bin"
    return {name: part for name, part in parts.items() if name != unused}


def _statement(name: str) -> Statement:
    return load(shipped() / "sql" / "validation" / f"{name}.sql")
