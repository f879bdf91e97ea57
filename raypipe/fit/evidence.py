"""Compare two registered versions on the same test rows, as evidence for a promotion long after the fit."""

from dataclasses import dataclass
from datetime import date

from raypipe.artifact.package import Package
from raypipe.clickhouse.client import Client
from raypipe.evaluation.challenges import ALPHA
from raypipe.evaluation.decision import Decision, decide, measured
from raypipe.fit.recipe import Recipe, require_contract
from raypipe.fit.rivals import scores_of
from raypipe.fit.training_table import read_entities, read_part, scratch_name, written
from raypipe.models.classes import predictions


@dataclass(frozen=True)
class Evidence:
    """The comparison of two versions.

    Attributes:
        challenger, champion: their values of the deciding metric.
        rows: the number of test rows.
        test_date: the snapshot of the test rows.
    """

    decision: Decision
    challenger: float
    champion: float
    rows: int
    test_date: date


def compare_versions(
    client: Client, recipe: Recipe, challenger: Package, champion: Package, *, error: float = ALPHA
) -> Evidence:
    """Score the test rows of a fit that would begin now with both versions, and decide as a fit does.

    The rows are the test part of the newest snapshot with complete labels, so that neither version was fitted on them
    as long as `split` has not changed.

    Args:
        error: the probability at which a version that is no better may be promoted.

    Raises:
        DataError: the features query does not fulfil the contract of a version, there are no test rows, or the source
            changed between the versions.
        ConfigError: the pipeline has no label.
    """
    for package in (challenger, champion):
        require_contract(client, recipe, package.contract)
    with written(client, recipe, challenger.contract, scratch_name(recipe.pipeline), ("test",)) as table:
        rows = read_part(client, table, "test")
        new = predictions(challenger.model, rows.x)
        # One pass of the rows serves both versions if they read the same columns.
        same = challenger.contract.sha256 == champion.contract.sha256
        old = predictions(champion.model, rows.x) if same else scores_of(client, recipe, table, champion)
        decision = decide(
            rows.y,
            new,
            old,
            {},
            recipe.shares.seed,
            metric=recipe.metric,
            resamples=recipe.resamples,
            entities=read_entities(client, table, "test"),
            error=error,
        )
    values = [measured(recipe.metric, rows.y, scores) for scores in (new, old)]
    return Evidence(decision, values[0], values[1], len(rows), recipe.test_date)
