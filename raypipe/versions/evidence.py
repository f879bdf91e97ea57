"""Two registered versions on the same test rows: the evidence for a promotion long after the fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.artifact.contract import KEY_HASH, MATRIX, Contract, describe_query, matrix, require_columns
from raypipe.artifact.package import Package
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, identifier
from raypipe.data.slices import unsliced
from raypipe.errors import DataError
from raypipe.evaluation.decision import Decision, decide
from raypipe.evaluation.metrics import entities_of
from raypipe.fit.recipe import Recipe, labels_of
from raypipe.fit.training_table import EVALUATED_ROWS, place


def compare(client: Client, recipe: Recipe, challenger: Package, champion: Package) -> Decision:
    """Scores the test rows of a fit that would begin now with both versions, and decides as a fit does.

    The rows are those of the newest snapshot with complete labels whose entities the configured split sets aside, so
    that neither version was fitted on them as long as `split` has not changed.

    Args:
        client: where the data is.
        recipe: which rows, by which metric.
        challenger: the version that would become champion.
        champion: the one that is.

    Raises:
        DataError: the features query does not yield what one of them reads, or there are no test rows.
        ConfigError: the pipeline has no label.
    """
    scores, labels = [], []
    for package in (challenger, champion):
        x, y, keys, ids = _test_rows(client, recipe, labels_of(recipe), package.contract)
        scores.append(package.model.predict(x))
        labels.append((y, keys, ids))
    if not all(np.array_equal(one, other) for one, other in zip(*labels, strict=True)):
        raise DataError(
            "The two versions do not see the same test rows",
            found=f"{len(labels[0][0])} and {len(labels[1][0])} rows on {recipe.test_date}",
            next_step="try again when the source is at rest",
        )
    y, _, ids = labels[0]
    return decide(
        y,
        scores[0],
        scores[1],
        {},
        recipe.shares.seed,
        metric=recipe.metric,
        resamples=recipe.resamples,
        entities=entities_of(ids),
    )


def _test_rows(
    client: Client, recipe: Recipe, labels_sql: Statement, contract: Contract
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """The matrix of one contract, the labels, the keys' hashes and those of the entities, always in the same order."""
    parameters: Mapping[str, Any] = next(item.parameters for item in recipe.snapshots if "test" in item.parts)
    parameters = {**parameters, **contract.parameters}
    features, labels = unsliced(recipe.features_sql.text), unsliced(labels_sql.text)
    contract.check(describe_query(client, features, parameters))
    require_columns(describe_query(client, labels, parameters), [*contract.keys, "label"], "column", labels_sql.source)
    keys = ", ".join(identifier(key) for key in contract.keys)
    rows = client.table(
        f"SELECT {MATRIX}, toFloat32(label) AS label, {KEY_HASH},"
        f" cityHash64({identifier(recipe.entity_id)}) AS entity\n"
        f"FROM (\n{contract.select(features)}\n) AS rows\n"
        f"ANY INNER JOIN (\n{labels}\n) AS labelled USING ({keys})\n"
        f"WHERE {place(recipe.entity_id)} < {{test_share:Float64}} ORDER BY {KEY_HASH}, {keys} LIMIT {EVALUATED_ROWS}",
        {**parameters, "split_seed": recipe.shares.seed, "test_share": recipe.shares.test},
    )
    if rows.num_rows == 0:
        raise DataError(
            "There are no test rows to compare the versions on",
            found=f"0 rows of {recipe.features_sql.source} with a label on {recipe.test_date}",
            next_step=f"check that {labels_sql.source} yields the same keys",
        )
    return (
        matrix(rows.column(MATRIX), len(contract.columns)),
        rows.column("label").to_numpy(),
        rows.column(KEY_HASH).to_numpy(),
        rows.column("entity").to_numpy(),
    )
