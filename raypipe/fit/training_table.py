"""The training table: features as of each snapshot joined with labels, split, written once inside ClickHouse.

Entities are divided by a hash of their id, snapshots by time, so that a test row shares neither its
entity nor a day with a training row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from raypipe.artifact.contract import MATRIX, Contract, describe_query, matrix, require_columns
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, identifier
from raypipe.data.slices import unsliced
from raypipe.errors import DataError
from raypipe.evaluation.metrics import Entities, entities_of, single_class
from raypipe.models.protocol import Matrix

PARTS = ("train", "validation", "test")
# What is read into this process at once for evaluation, at most.
EVALUATED_ROWS = 500_000


@dataclass(frozen=True)
class Shares:
    """How entities are divided: the shares of test and validation, the cap on training rows, the seed."""

    test: float
    validation: float
    max_train_rows: int
    seed: int


@dataclass(frozen=True)
class Snapshot:
    """One snapshot to read: the parts it contributes to and the values its queries bind."""

    date: date
    parts: tuple[str, ...]
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class TrainingTable:
    """The table, and the number of rows of each part."""

    name: str
    rows: Mapping[str, int]


def build(
    client: Client,
    name: str,
    contract: Contract,
    features: str,
    labels: Statement,
    snapshots: Sequence[Snapshot],
    entity_id: str,
    shares: Shares,
    wanted: Sequence[str] = PARTS,
) -> TrainingTable:
    """Writes the table.

    Args:
        client: where everything is.
        name: the table to create.
        contract: the frozen contract whose matrix is stored.
        features: the features query, its `{slice}` still in it.
        labels: the labels query: the keys and `label`.
        snapshots: what to read.
        entity_id: the key column that the split is made on.
        shares: how to split.
        wanted: the parts that must have rows; a snapshot says which parts it contributes to.

    Raises:
        DataError: the labels query lacks a column, or a part of the split is empty.
    """
    label_sql = unsliced(labels.text)
    types = describe_query(client, label_sql, snapshots[0].parameters)
    require_columns(types, [*contract.keys, "label"], "column", labels.source)
    columns = ", ".join(
        f"{identifier(key)} {kind}" for key, kind in zip(contract.keys, contract.key_types, strict=True)
    )
    client.run(
        f"CREATE TABLE {identifier(name)} (part LowCardinality(String), row_hash UInt64, date Date, {columns},"
        f" label Float32, {MATRIX} Array(Float32)) ENGINE = MergeTree ORDER BY (part, row_hash)"
        " SETTINGS allow_nullable_key = 1"
    )
    for snapshot in snapshots:
        _fill(client, name, contract, features, label_sql, snapshot, entity_id, shares)
    counted = dict(client.rows(f"SELECT part, count() FROM {identifier(name)} GROUP BY part"))
    empty = [part for part in wanted if not counted.get(part)]
    if empty:
        raise DataError(
            "The split leaves nothing to fit or to test on",
            found=f"no {' and no '.join(empty)} rows on {', '.join(item.date.isoformat() for item in snapshots)}",
            next_step="check that features.sql and labels.sql yield the same keys, or choose other shares",
        )
    return TrainingTable(name, counted)


def require_two_classes(client: Client, table: TrainingTable) -> None:
    """Refuses a binary label that is always the same in a part, before anything is trained on it.

    Raises:
        DataError: naming the part.
    """
    counted = client.rows(f"SELECT part, countIf(label > 0.5) FROM {identifier(table.name)} GROUP BY part")
    positives = {str(part): int(count) for part, count in counted}
    for part in PARTS:
        if part in positives and positives[part] in (0, table.rows[part]):
            raise single_class(f"The {part} part of the split", positives[part], table.rows[part])


def _fill(
    client: Client,
    name: str,
    contract: Contract,
    features: str,
    label_sql: str,
    snapshot: Snapshot,
    entity_id: str,
    shares: Shares,
) -> None:
    keys = ", ".join(identifier(key) for key in contract.keys)
    population = int(client.value(f"SELECT count() FROM (\n{unsliced(features)}\n)", snapshot.parameters))
    train_share = 1 - shares.test - shares.validation
    keep = min(1.0, shares.max_train_rows / max(1.0, population * train_share))
    sql = (
        f"INSERT INTO {identifier(name)} (part, row_hash, date, {keys}, label, {MATRIX})\n"
        f"WITH {place(entity_id)} AS place\n"
        "SELECT multiIf(place < {test_share:Float64}, 'test', place < {held_share:Float64}, 'validation', 'train')"
        " AS part,"
        f" cityHash64({{split_seed:UInt64}}, {{snapshot_date:Date}}, {keys}) AS row_hash,"
        f" {{snapshot_date:Date}}, {keys}, toFloat32(label), {MATRIX}\n"
        f"FROM (\n{contract.select(unsliced(features))}\n) AS rows\n"
        f"ANY INNER JOIN (\n{label_sql}\n) AS labelled USING ({keys})\n"
        "WHERE has({parts:Array(String)}, part) AND row_hash / 18446744073709551616. < {keep:Float64}"
    )
    client.run(
        sql,
        {
            **snapshot.parameters,
            "split_seed": shares.seed,
            "test_share": shares.test,
            "held_share": shares.test + shares.validation,
            "snapshot_date": snapshot.date,
            "parts": list(snapshot.parts),
            "keep": keep,
        },
    )


def place(entity_id: str) -> str:
    """An expression from 0 to 1 that divides entities and binds `split_seed`; the lowest are those of the test."""
    return f"sipHash64({{split_seed:UInt64}}, toString({identifier(entity_id)})) / 18446744073709551616."


def part_query(table: TrainingTable) -> str:
    """The query of one part's rows for Ray Data: `x` and `label`, the part bound as `part`."""
    return f"SELECT {MATRIX}, label FROM {identifier(table.name)} WHERE part = {{part:String}} AND {{slice}}"


def read_entities(client: Client, table: TrainingTable, part: str, entity_id: str) -> Entities | None:
    """Whose each of the rows of `read_part` is, in the same order; None where each is of another one."""
    data = client.table(
        f"SELECT cityHash64({identifier(entity_id)}) AS entity FROM {identifier(table.name)}"
        f" WHERE part = {{part:String}} ORDER BY row_hash LIMIT {EVALUATED_ROWS}",
        {"part": part},
    )
    return entities_of(data.column("entity").to_numpy())


def fingerprint(client: Client, table: TrainingTable) -> tuple[tuple[Any, ...], ...]:
    """By part, the number of rows and the sum of their hashes: the same for the same entities and days."""
    rows = client.rows(f"SELECT part, count(), sum(row_hash) FROM {identifier(table.name)} GROUP BY part ORDER BY part")
    return tuple(tuple(row) for row in rows)


def read_part(client: Client, table: TrainingTable, part: str, width: int, most: int | None = EVALUATED_ROWS) -> Matrix:
    """The rows of one part in a fixed order; at most `most` of them, the same ones each time, None for all."""
    data = client.table(
        f"SELECT {MATRIX}, label FROM {identifier(table.name)} WHERE part = {{part:String}}"
        f" ORDER BY row_hash{'' if most is None else f' LIMIT {int(most)}'}",
        {"part": part},
    )
    return Matrix(matrix(data.column(MATRIX), width), data.column("label").to_numpy().astype(np.float32))
