"""What versions that are fitted on the same rows are judged on and against, the champion among it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.artifact.contract import MATRIX, Contract, describe_query, matrix
from raypipe.artifact.package import Package, load_package
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.data.slices import unsliced
from raypipe.errors import ConfigError, RaypipeError
from raypipe.evaluation.baselines import Baseline, baselines
from raypipe.evaluation.evaluate import suspicious_features
from raypipe.evaluation.metrics import Entities, require_two_classes
from raypipe.fit import training_table
from raypipe.fit.recipe import Champion, Recipe
from raypipe.fit.training_table import EVALUATED_ROWS, TrainingTable
from raypipe.models.protocol import Matrix, load_family


@dataclass(frozen=True)
class Benchmark:
    """What every version that is fitted on the same rows is judged on and against.

    Attributes:
        parts: the rows of `train`, `validation` and `test`.
        entities: whose each row of `validation` and `test` is; None where each is of another one.
        baselines: by name, on the test rows.
        champion: (rows,), its scores of the test rows; None where none stands, or it cannot be asked.
        warnings: why it cannot be asked, and what makes the rows suspicious; they hold a version back.
        notes: what else a person should know of the rows.
    """

    parts: Mapping[str, Matrix]
    entities: Mapping[str, Entities | None]
    baselines: Mapping[str, Baseline]
    champion: npt.NDArray[np.float32] | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def measure(
    client: Client, recipe: Recipe, contract: Contract, table: TrainingTable, champion: Champion | None
) -> Benchmark:
    """Reads the rows of each part, and scores the baselines and the champion on them.

    Raises:
        DataError: a part holds a single class of a binary label.
    """
    width = len(contract.columns)
    parts = {name: training_table.read_part(client, table, name, width) for name in training_table.PARTS}
    if recipe.label_kind == "binary":
        for name, part in parts.items():
            require_two_classes(part.y, f"The {name} part of the split")
    entities = {
        name: training_table.read_entities(client, table, name, recipe.entity_id) for name in ("validation", "test")
    }
    simple = baselines(
        recipe.label_kind,
        parts["train"],
        parts["validation"],
        parts["test"],
        contract.columns,
        threshold=recipe.threshold,
        resamples=recipe.resamples,
        seed=recipe.shares.seed,
        is_linear=load_family(recipe.family).is_linear,
        persistence=recipe.persistence,
        entities=entities["test"],
    )
    scores, warning = _champion_scores(client, recipe, table, champion)
    warnings = [*_suspicions(recipe, parts["train"], contract), *([warning] if warning else [])]
    notes = tuple(_unknown_features(parts["train"], contract))
    return Benchmark(parts, entities, simple, scores, tuple(warnings), notes)


def _suspicions(recipe: Recipe, rows: Matrix, contract: Contract) -> list[str]:
    if recipe.label_kind != "binary":
        return []
    found = suspicious_features(rows.x, rows.y, contract.columns, recipe.suspicious_auc)
    return [f"{one.column} alone reaches AUC {one.auc:.4f}: does it know the label?" for one in found]


def _unknown_features(rows: Matrix, contract: Contract) -> list[str]:
    """What to say of features that the model cannot have learned from, which costs nothing but their use."""
    known = {name for at, name in enumerate(contract.columns) if not np.isnan(rows.x[:, at]).all()}
    unknown = [item.name for item in contract.features if known.isdisjoint(item.columns)]
    if not unknown:
        return []
    return [
        f"without any value in the training rows, and so without effect: {', '.join(unknown)}; fit again once they are "
        "filled (what comes from ml_features: `raypipe features`)"
    ]


def _champion_scores(
    client: Client, recipe: Recipe, table: TrainingTable, champion: Champion | None
) -> tuple[npt.NDArray[np.float32] | None, str | None]:
    """The champion's scores of the very same test rows, in their order; or why it could not be asked."""
    if champion is None:
        return None, None
    try:
        package = load_package(champion.artifact_uri, champion.artifact_sha256)
        features, parameters = unsliced(recipe.features_sql.text), _test_parameters(recipe, package)
        package.contract.check(describe_query(client, features, parameters))
    except RaypipeError as error:
        found = f" ({error.found})" if error.found is not None else ""
        return None, f"the champion could not be compared on the same rows: {error.problem}{found}"
    return scores_of(client, recipe, table, package), None


def scores_of(client: Client, recipe: Recipe, table: TrainingTable, package: Package) -> npt.NDArray[np.float32]:
    """A version's scores of the test rows, in their order."""
    features, parameters = unsliced(recipe.features_sql.text), _test_parameters(recipe, package)
    keys = ", ".join(identifier(key) for key in recipe.keys)
    rows = min(table.rows["test"], EVALUATED_ROWS)
    data = client.table(
        f"SELECT {MATRIX} FROM (SELECT {keys}, row_hash FROM {identifier(table.name)} WHERE part = 'test'"
        f" ORDER BY row_hash LIMIT {EVALUATED_ROWS}) AS tested\n"
        f"ANY INNER JOIN (\n{package.contract.select(features)}\n) AS rows USING ({keys}) ORDER BY row_hash",
        parameters,
    )
    if data.num_rows != rows:
        raise ConfigError(
            "The champion and the new version do not see the same test rows", found=f"{data.num_rows} and {rows} rows"
        )
    return package.model.predict(matrix(data.column(MATRIX), len(package.contract.columns)))


def _test_parameters(recipe: Recipe, package: Package) -> Mapping[str, Any]:
    found = next(item.parameters for item in recipe.snapshots if "test" in item.parts)
    return {**found, **package.contract.parameters}
