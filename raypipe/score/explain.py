"""Explain the rows with the highest scores of a run."""

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from raypipe.artifact.contract import MATRIX, matrix
from raypipe.artifact.package import Package, load_package
from raypipe.clickhouse.client import Client, content_token
from raypipe.clickhouse.statements import identifier
from raypipe.data.slices import unsliced
from raypipe.score.ledger import Receipt, attempts
from raypipe.score.manifest import Manifest


def write(client: Client, manifest: Manifest, written: Sequence[Receipt]) -> int:
    """Fill the run's table of explanations, replacing an earlier attempt's, and return its number of rows.

    An exact SHAP value costs hundreds of times a prediction, so only `explain_rows` rows are explained. An
    explanation is a JSON object of the features that moved the score most, largest first, in the model's raw units.
    """
    columns = [f"{identifier(name)} {kind}" for name, kind in zip(manifest.keys, manifest.key_types, strict=True)]
    columns.append("contributions String")
    client.run(client.topology.drop(manifest.explanations))
    client.run(client.topology.create(manifest.explanations, f"({', '.join(columns)})", order="tuple()", window=100))
    if manifest.explain_rows == 0:
        return 0
    package = load_package(manifest.artifact_uri, manifest.artifact_sha256, client)
    rows = _highest(client, manifest, written)
    texts = _contributions(package, rows, manifest.explain_features)
    table = rows.select(list(manifest.keys)).append_column("contributions", pa.array(texts, pa.string()))
    if table.num_rows:
        client.insert(manifest.explanations, table, token=content_token(manifest.run_id, *texts))
    return int(table.num_rows)


def _highest(client: Client, manifest: Manifest, written: Sequence[Receipt]) -> pa.Table:
    keys = ", ".join(identifier(name) for name in manifest.keys)
    sql = (
        f"SELECT {keys}, {MATRIX} FROM (\n{unsliced(manifest.select)}\n) WHERE ({keys}) IN (\n"
        f"SELECT {keys} FROM {client.topology.everywhere(manifest.staging)}\n"
        "WHERE attempt IN {attempts:Array(UInt64)}\n"
        f"ORDER BY score DESC, {keys} LIMIT {manifest.explain_rows})"
    )
    return client.table(sql, {**manifest.select_parameters, "attempts": attempts(written)})


def _contributions(package: Package, rows: pa.Table, features: int) -> list[str]:
    names = package.contract.columns
    values = package.model.explain(matrix(rows.column(MATRIX), len(names)))
    order = np.argsort(-np.abs(values), axis=1)[:, :features]
    return [
        json.dumps({names[column]: round(float(row[column]), 4) for column in best if row[column] != 0})
        for row, best in zip(values, order, strict=True)
    ]
