"""Score the rivals of a fit: the champion and the baselines, on the same test rows."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from raypipe.artifact.contract import MATRIX, Contract, matrix
from raypipe.artifact.package import Package, load_package
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.data.slices import unsliced
from raypipe.errors import DataError, OutdatedArtifact, RaypipeError
from raypipe.evaluation.baselines import Baseline, baselines
from raypipe.evaluation.challenges import ALPHA, error_of
from raypipe.evaluation.decision import Decision, decide
from raypipe.evaluation.evaluate import Evaluation, evaluate
from raypipe.evaluation.leaks import suspicious_features
from raypipe.evaluation.metrics import Entities
from raypipe.fit import empty_columns, training_table
from raypipe.fit.recipe import Recipe, require_contract
from raypipe.fit.training_table import EVALUATED_ROWS, TrainingTable
from raypipe.models.classes import predictions
from raypipe.models.model import Matrix
from raypipe.models.protocol import load_family
from raypipe.registry import champions
from raypipe.registry.record import Registered

log = logging.getLogger(__name__)

Scores = npt.NDArray[Any]


@dataclass(frozen=True)
class Rivals:
    """The rows of an evaluation, with the scores of the baselines and the champion.

    Attributes:
        entities: the entities of `validation` and `test`, as `metrics.entities_of` returns them.
        baselines: by name, on the test rows.
        champion: its predictions of the test rows; None without a champion that can be compared.
        error: the probability at which a version that is no better may replace the champion.
        warnings: doubts about the rows or the champion that hold a version back.
        notes: remarks that hold nothing back.
    """

    recipe: Recipe
    parts: Mapping[str, Matrix]
    entities: Mapping[str, Entities | None]
    baselines: Mapping[str, Baseline]
    champion: Scores | None
    error: float
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def evaluate(self, part: str, scores: Scores, threshold: float = 0.5) -> Evaluation:
        """Evaluate a version's scores of a part."""
        recipe, y, entities = self.recipe, self.parts[part].y, self.entities[part]
        kind, resamples = recipe.label_kind, recipe.resamples
        return evaluate(
            kind, y, scores, threshold=threshold, resamples=resamples, entities=entities, classes=recipe.classes
        )

    def decide(
        self,
        scores: Scores,
        other: Scores | None,
        baselines: Mapping[str, Scores],
        called: str = "champion",
        error: float = ALPHA,
    ) -> Decision:
        """Compare a version's scores of the test rows with another version's scores and the baselines' scores."""
        recipe = self.recipe
        return decide(
            self.parts["test"].y,
            scores,
            other,
            baselines,
            recipe.shares.seed,
            metric=recipe.metric,
            resamples=recipe.resamples,
            called=called,
            entities=self.entities["test"],
            error=error,
        )


def score_rivals(
    client: Client,
    recipe: Recipe,
    table: TrainingTable,
    rows: Mapping[str, Matrix],
    champion: Registered | None,
) -> Rivals:
    """Score the baselines and the champion on the test rows.

    Args:
        rows: by part, as `training_table.read_part` returns them; more than EVALUATED_ROWS are not looked at.
    """
    contract = table.read
    parts = {name: part.first(EVALUATED_ROWS) for name, part in rows.items()}
    entities = {name: training_table.read_entities(client, table, name) for name in ("validation", "test")}
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
        classes=recipe.classes,
    )
    scores, doubt = _champion_scores(client, recipe, table, champion)
    warnings = (*_leaks(recipe, parts["train"], contract), *([doubt] if doubt else []))
    error = error_of(champions.challenges(client, champion) + 1) if champion else ALPHA
    notes = (*empty_columns.notes(client, recipe, table), *_single(table))
    return Rivals(recipe, parts, entities, simple, scores, error, warnings, notes)


def scores_of(client: Client, recipe: Recipe, table: TrainingTable, package: Package) -> Scores:
    """Return a version's scores of the test rows, in their order."""
    keys = ", ".join(identifier(key) for key in recipe.keys)
    rows = min(table.rows["test"], EVALUATED_ROWS)
    data = client.table(
        f"SELECT {MATRIX} FROM (SELECT {keys}, row_hash FROM {identifier(table.name)} WHERE part = 'test'"
        f" ORDER BY row_hash LIMIT {EVALUATED_ROWS}) AS tested\n"
        f"ANY INNER JOIN (\n{package.contract.select(unsliced(recipe.features_sql.text))}\n) AS rows USING ({keys})"
        " ORDER BY row_hash",
        recipe.test_parameters(package.contract),
    )
    if data.num_rows != rows:
        raise DataError(
            "The two versions do not see the same test rows",
            found=f"{data.num_rows} and {rows} rows on {recipe.test_date}",
            next_step="repeat the command when nothing writes to the source tables",
        )
    return predictions(package.model, matrix(data.column(MATRIX), len(package.contract.columns)))


def _champion_scores(
    client: Client, recipe: Recipe, table: TrainingTable, champion: Registered | None
) -> tuple[Scores | None, str | None]:
    """Return the champion's scores of the test rows, or the reason why it cannot be compared."""
    if champion is None:
        return None, None
    try:
        uri, sha256 = champion.artifact_uri, champion.artifact_sha256
        package = load_package(uri, sha256, client, pipeline=champion.pipeline, version=champion.version)
        require_contract(client, recipe, package.contract)
    except OutdatedArtifact as error:
        # It can score nothing any more, so a version that beats the baselines takes its place.
        log.warning("%s; the new version is compared with the baselines alone", error.problem)
        return None, None
    except RaypipeError as error:
        value = f" ({error.found})" if error.found is not None else ""
        return None, f"the champion could not be compared on the same rows: {error.problem}{value}"
    return scores_of(client, recipe, table, package), None


def _leaks(recipe: Recipe, rows: Matrix, contract: Contract) -> list[str]:
    leaks = suspicious_features(rows.x, rows.y, contract.columns, recipe.suspicious_auc, recipe.label_kind)
    trusted = {name for feature in contract.features if feature.name in recipe.trusted for name in feature.columns}
    return [f"{leak.reason} (if so: evaluate.trusted)" for leak in leaks if leak.column not in trusted]


def _single(table: TrainingTable) -> tuple[str, ...]:
    """Note the features with one value in the training rows; those without any have a note of their own."""
    names = [name for name in table.left_out if name not in table.empty]
    return (f"features with a single value in the training rows are left out: {', '.join(names)}",) if names else ()
