"""Compare two registered versions on the same test rows, as evidence for a promotion long after the fit."""

from raypipe.artifact.package import Package
from raypipe.clickhouse.client import Client
from raypipe.evaluation.decision import Decision, decide
from raypipe.fit.recipe import Recipe, require_contract
from raypipe.fit.rivals import scores_of
from raypipe.fit.training_table import read_entities, read_part, scratch_name, written


def compare_versions(client: Client, recipe: Recipe, challenger: Package, champion: Package) -> Decision:
    """Score the test rows of a fit that would begin now with both versions, and decide as a fit does.

    The rows are the test part of the newest snapshot with complete labels, so that neither version was fitted on them
    as long as `split` has not changed.

    Raises:
        DataError: the features query does not fulfil the contract of a version, there are no test rows, or the source
            changed between the versions.
        ConfigError: the pipeline has no label.
    """
    for package in (challenger, champion):
        require_contract(client, recipe, package.contract)
    with written(client, recipe, challenger.contract, scratch_name(recipe.pipeline), ("test",)) as table:
        rows = read_part(client, table, "test")
        return decide(
            rows.y,
            challenger.model.predict(rows.x),
            scores_of(client, recipe, table, champion),
            {},
            recipe.shares.seed,
            metric=recipe.metric,
            resamples=recipe.resamples,
            entities=read_entities(client, table, "test"),
        )
