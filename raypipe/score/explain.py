"""Explain the rows with the highest scores of a run."""

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raypipe.artifact import alike
from raypipe.artifact.contract import MATRIX, matrix
from raypipe.artifact.package import Package, load_package
from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client, content_token
from raypipe.clickhouse.statements import identifier
from raypipe.data.slices import unsliced
from raypipe.score.ledger import Receipt, attempts
from raypipe.score.manifest import Manifest

Contributions = npt.NDArray[np.float32]


def write(client: Client, manifest: Manifest, written: Sequence[Receipt]) -> int:
    """Fill the run's table of explanations, replacing an earlier attempt's, and return its number of rows.

    An exact SHAP value costs hundreds of times a prediction, so only `explain_rows` rows are explained. An
    explanation is a JSON object of the features that moved the score most, largest first, in the model's raw units.
    Near-duplicate features are one entry with the sum of their parts.
    """
    columns = [f"{identifier(name)} {kind}" for name, kind in zip(manifest.keys, manifest.key_types, strict=True)]
    columns.append("contributions String")
    sharding.drop(client, manifest.explanations)
    statement = client.topology.create(manifest.explanations, f"({', '.join(columns)})", order="tuple()", window=100)
    sharding.create(client, manifest.explanations, statement)
    if manifest.explain_rows == 0:
        return 0
    package = load_package(manifest.artifact_uri, manifest.artifact_sha256, client)
    shares = _shares(client, manifest, written)
    return sum(
        _explain(shard, manifest, package, written, rows)
        for shard, rows in zip(sharding.shards(client), shares, strict=True)
        if rows
    )


def _shares(client: Client, manifest: Manifest, written: Sequence[Receipt]) -> list[int]:
    """Return how many of the run's highest scores each shard has."""
    if client.endpoint.sharding is None:
        return [manifest.explain_rows]
    keys = ", ".join(identifier(name) for name in manifest.keys)
    sql = (
        f"SELECT slice, count() FROM (SELECT slice FROM {identifier(manifest.staging)}"
        f" WHERE attempt IN {{attempts:Array(UInt64)}} ORDER BY score DESC, {keys} LIMIT {manifest.explain_rows})"
        " GROUP BY slice"
    )
    shards = {piece.index: piece.shard for piece in manifest.slicing.slices}
    shares = [0] * len(sharding.shards(client))
    for piece, rows in client.rows(sql, {"attempts": attempts(written)}):
        shares[shards[piece]] += rows
    return shares


def _explain(client: Client, manifest: Manifest, package: Package, written: Sequence[Receipt], most: int) -> int:
    """Explain the rows with the highest scores of a shard, and return their number."""
    rows = _highest(client, manifest, written, most)
    texts = _contributions(package, rows, manifest.explain_features)
    table = rows.select(list(manifest.keys)).append_column("contributions", pa.array(texts, pa.string()))
    if table.num_rows:
        client.insert(manifest.explanations, table, token=content_token(manifest.run_id, *texts))
    return int(table.num_rows)


def _highest(client: Client, manifest: Manifest, written: Sequence[Receipt], most: int) -> pa.Table:
    keys = ", ".join(identifier(name) for name in manifest.keys)
    sql = (
        f"SELECT {keys}, {MATRIX} FROM (\n{unsliced(manifest.select)}\n) WHERE ({keys}) IN (\n"
        f"SELECT {keys} FROM {identifier(manifest.staging)}\n"
        "WHERE attempt IN {attempts:Array(UInt64)}\n"
        f"ORDER BY score DESC, {keys} LIMIT {most})"
    )
    return client.table(sql, {**manifest.select_parameters, "attempts": attempts(written)})


def _contributions(package: Package, rows: pa.Table, features: int) -> list[str]:
    names = package.contract.columns
    values = package.model.explain(matrix(rows.column(MATRIX), len(names)))
    reasons = alike.numbers(names, package.alike)
    return [json.dumps(_reasons(row, names, reasons, features)) for row in values]


def _reasons(row: Contributions, names: Sequence[str], reasons: npt.NDArray[np.intp], most: int) -> dict[str, float]:
    """Return the largest reasons of a row: near-duplicate columns add up, under the name of the largest of them."""
    sums = np.bincount(reasons, weights=row, minlength=len(names))
    largest: dict[str, float] = {}
    for reason in np.argsort(-np.abs(sums), kind="stable")[:most]:
        if sums[reason] != 0:
            columns = np.flatnonzero(reasons == reason)
            name = names[columns[np.argmax(np.abs(row[columns]))]]
            largest[name] = round(float(sums[reason]), 4)
    return largest
