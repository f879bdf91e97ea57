"""Write the training table inside ClickHouse: features as of each snapshot, joined with labels and split.

A hash of the entity's id splits entities, time splits snapshots: a test row shares neither its entity nor its day with
a training row.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.artifact.contract import MATRIX, Contract, describe_query, matrix, require_columns
from raypipe.clickhouse import retry, sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.data.slices import unsliced
from raypipe.errors import DataError, RaypipeError
from raypipe.evaluation.metrics import Entities, entities_of
from raypipe.fit import label_checks
from raypipe.fit.kept_rows import keep
from raypipe.fit.recipe import PARTS, Recipe, Snapshot, labels_of
from raypipe.models.model import Matrix

PREFIX = "raypipe_training_"
# The most rows of a part that an evaluation reads into this process.
EVALUATED_ROWS = 500_000


@dataclass(frozen=True)
class TrainingTable:
    """A training table.

    Attributes:
        rows: the rows of each part.
        contract: the contract under which the rows were written.
        entity_id: the column of the entity's id.
        kept: the features that are read, in matrix order; the table has all of the contract.
        empty: the features without a value in the training rows.
    """

    name: str
    rows: Mapping[str, int]
    contract: Contract
    entity_id: str
    kept: tuple[str, ...]
    empty: tuple[str, ...] = ()

    @property
    def read(self) -> Contract:
        """Return the contract of the rows as they are read."""
        return self.contract.only(self.kept)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Return the features that are not read."""
        return tuple(feature.name for feature in self.contract.features if feature.name not in self.kept)

    @property
    def matrix(self) -> str:
        """Return the SQL of the matrix in a query of the table AS written."""
        if not self.left_out:
            return f"written.{MATRIX}"
        read = set(self.read.columns)
        places = [place for place, name in enumerate(self.contract.columns, start=1) if name in read]
        return f"[{', '.join(f'written.{MATRIX}[{place}]' for place in places)}]"


def scratch_name(pipeline: str) -> str:
    """Return a new name for a pipeline's training table."""
    return f"{PREFIX}{pipeline}_{secrets.token_hex(4)}"


@contextmanager
def written(
    client: Client, recipe: Recipe, contract: Contract, name: str, parts: Sequence[str] = PARTS
) -> Iterator[TrainingTable]:
    """Write the recipe's rows under a frozen contract, and drop the table at the end.

    Args:
        parts: the parts to write; each needs rows.

    Raises:
        DataError: the labels query lacks a column, a part is empty, or its labels cannot be those of the config.
    """
    try:
        _create(client, recipe, contract, name)
        for snapshot in recipe.snapshots:
            if not set(parts).isdisjoint(snapshot.parts):
                _fill(client, recipe, contract, name, snapshot, parts)
        rows = _counted(client, recipe, name, parts)
        yield TrainingTable(
            name, rows, contract, recipe.entity_id, tuple(feature.name for feature in contract.features)
        )
    finally:
        # The outcome of the fit matters more than a table that `raypipe doctor --clean` drops as well.
        with suppress(RaypipeError):
            sharding.drop(client, name)


def _create(client: Client, recipe: Recipe, contract: Contract, name: str) -> None:
    labels = labels_of(recipe)
    types = describe_query(client, unsliced(labels.text), recipe.snapshots[0].parameters)
    require_columns(types, [*contract.keys, "label"], "column", labels.source)
    label_checks.require_type(types["label"], recipe.label_kind, labels.source)
    columns = ", ".join(
        f"{identifier(key)} {kind}" for key, kind in zip(contract.keys, contract.key_types, strict=True)
    )
    statement = (
        f"CREATE TABLE {identifier(name)} (part LowCardinality(String), row_hash UInt64, date Date, {columns},"
        f" label Float32, {MATRIX} Array(Float32)) ENGINE = MergeTree ORDER BY (part, row_hash)"
        " SETTINGS allow_nullable_key = 1"
    )
    sharding.create(client, name, statement)


def _fill(
    client: Client, recipe: Recipe, contract: Contract, name: str, snapshot: Snapshot, parts: Sequence[str]
) -> None:
    keys = ", ".join(identifier(key) for key in contract.keys)
    features, shares = unsliced(recipe.features_sql.text), recipe.shares
    bound = {**snapshot.parameters, **contract.parameters}
    labels = unsliced(labels_of(recipe).text)
    sql = (
        f"INSERT INTO {identifier(name)} (part, row_hash, date, {keys}, label, {MATRIX})\n"
        f"WITH {place(recipe.entity_id)} AS place\n"
        "SELECT multiIf(place < {test_share:Float64}, 'test', place < {held_share:Float64}, 'validation', 'train')"
        " AS part,"
        f" cityHash64({{split_seed:UInt64}}, {{snapshot_date:Date}}, {keys}) AS row_hash,"
        f" {{snapshot_date:Date}}, {keys}, {label_checks.expression(recipe.label_kind)}, {MATRIX}\n"
        f"FROM (\n{contract.select(features)}\n) AS rows\n"
        f"ANY INNER JOIN (\n{labels}\n) AS labelled USING ({keys})\n"
        "WHERE has({parts:Array(String)}, part) AND row_hash / 18446744073709551616. < {keep:Float64}"
    )
    values = {
        "split_seed": shares.seed,
        "test_share": shares.test,
        "held_share": shares.test + shares.validation,
        "snapshot_date": snapshot.date,
        "parts": [part for part in snapshot.parts if part in parts],
        "keep": keep(client, recipe, snapshot, (labels, features), bound, EVALUATED_ROWS),
        **({"classes": list(recipe.classes)} if recipe.classes else {}),
    }
    for shard in sharding.shards(client):
        shard.run(sql, {**bound, **values})


def _counted(client: Client, recipe: Recipe, name: str, parts: Sequence[str]) -> dict[str, int]:
    """Return the rows of each part, before anything is trained on rows that cannot be evaluated."""
    counts = dict(client.rows(f"SELECT part, count() FROM {identifier(name)} GROUP BY part"))
    empty = [part for part in parts if part not in counts]
    if empty:
        days = ", ".join(snapshot.date.isoformat() for snapshot in recipe.snapshots)
        raise DataError(
            f"There are no rows for the {' and the '.join(empty)} part of the split",
            found=f"snapshots {days}, features from {recipe.features_sql.source}, labels from"
            f" {labels_of(recipe).source}",
            next_step="check that features.sql and labels.sql yield the same keys, or choose other shares",
        )
    label_checks.require_usable(client, recipe, name, parts)
    return counts


def place(entity_id: str) -> str:
    """Return an expression from 0 to 1 that splits entities and binds `split_seed`; the lowest are the test part."""
    return f"sipHash64({{split_seed:UInt64}}, toString({identifier(entity_id)})) / 18446744073709551616."


def telling(client: Client, table: TrainingTable) -> TrainingTable:
    """Leave out the features with the same value in all training rows.

    A model cannot learn from them, and scoring need not read them. Where all features are such, all stay.
    """
    # By their bits: NaN is a value like others.
    ((lowest, highest),) = client.rows(
        "SELECT minForEach(bits), maxForEach(bits) FROM ("
        f"SELECT arrayMap(value -> reinterpretAsUInt32(value), {MATRIX}) AS bits FROM {identifier(table.name)}"
        " WHERE part = 'train')"
    )
    columns = table.contract.columns
    varied = {name for name, low, high in zip(columns, lowest, highest, strict=True) if low != high}
    is_missing = np.isnan(np.array(lowest, np.uint32).view(np.float32))
    filled = varied | {name for name, missing in zip(columns, is_missing, strict=True) if not missing}
    kept = tuple(item.name for item in table.contract.features if not varied.isdisjoint(item.columns))
    empty = tuple(item.name for item in table.contract.features if filled.isdisjoint(item.columns))
    return replace(table, kept=kept or table.kept, empty=empty)


def part_query(table: TrainingTable) -> str:
    """Return Ray Data's query for `x` and `label` of the rows of one part, bound as `part`."""
    return (
        f"SELECT {table.matrix} AS {MATRIX}, label FROM {identifier(table.name)} AS written"
        " WHERE part = {part:String} AND {slice}"
    )


def read_entities(client: Client, table: TrainingTable, part: str) -> Entities | None:
    """Return the entities of the rows of `read_part`, as `metrics.entities_of` returns them."""
    data = client.table(
        f"SELECT cityHash64({identifier(table.entity_id)}) AS entity FROM {identifier(table.name)}"
        f" WHERE part = {{part:String}} ORDER BY row_hash LIMIT {EVALUATED_ROWS}",
        {"part": part},
    )
    return entities_of(data.column("entity").to_numpy())


def read_dates(client: Client, table: TrainingTable, part: str, count: int) -> list[date]:
    """Return the snapshots of the first rows of `read_part`."""
    sql = f"SELECT date FROM {identifier(table.name)} WHERE part = {{part:String}} ORDER BY row_hash LIMIT {count}"
    dates: list[date] = client.table(sql, {"part": part}).column("date").to_pylist()
    return dates


def read_parts(client: Client, table: TrainingTable, parts: Sequence[str]) -> list[Matrix]:
    """Return all rows of each part, which lie one behind the other in memory, so that joining them copies nothing."""
    counts = [table.rows[part] for part in parts]
    whole = Matrix(np.empty((sum(counts), len(table.read.columns)), np.float32), np.empty(sum(counts), np.float32))
    ends = np.cumsum(counts).tolist()
    places = [whole.take(np.arange(end - count, end)) for end, count in zip(ends, counts, strict=True)]
    return [read_part(client, table, part, None, into=place) for part, place in zip(parts, places, strict=True)]


def read_part(
    client: Client,
    table: TrainingTable,
    part: str,
    most: int | None = EVALUATED_ROWS,
    into: Matrix | None = None,
) -> Matrix:
    """Return the rows of one part in a fixed order: the first `most` rows, or all for None.

    Args:
        into: the memory of the rows; None for new memory.

    Raises:
        DataError: a label is not a number.
    """
    count = table.rows[part] if most is None else min(most, table.rows[part])
    width = len(table.read.columns)
    sql = (
        f"SELECT {table.matrix} AS {MATRIX}, label FROM {identifier(table.name)} AS written"
        " WHERE part = {part:String} ORDER BY row_hash LIMIT"
    )

    def read() -> Matrix:
        # Filled batch by batch: collected batches would take the memory twice.
        rows = into or Matrix(np.empty((count, width), np.float32), np.empty(count, np.float32))
        at = 0
        with client.stream(f"{sql} {count}", {"part": part}) as (_, batches):
            for batch in batches:
                here = slice(at, at + batch.num_rows)
                rows.x[here] = matrix(batch.column(MATRIX), width)
                rows.y[here] = numbers(batch.column("label"), part)
                at = here.stop
        return rows

    return retry.repeat(read)


def numbers(labels: Any, part: str) -> npt.NDArray[np.float32]:
    """Return a column of labels as float32.

    Raises:
        DataError: a label is not a number.
    """
    values: npt.NDArray[np.float32] = labels.to_numpy(zero_copy_only=False).astype(np.float32)
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise DataError(
            f"The {part} rows have labels that are not numbers",
            found=f"{bad} of {len(values)} in one block",
            next_step="exclude the entities without a known label in labels.sql",
        )
    return values


def fingerprint(client: Client, table: TrainingTable) -> tuple[tuple[Any, ...], ...]:
    """Return the rows and the sum of their hashes per part; equal for the same entities and days."""
    rows = client.rows(f"SELECT part, count(), sum(row_hash) FROM {identifier(table.name)} GROUP BY part ORDER BY part")
    return tuple(tuple(row) for row in rows)
