"""Compare two configurations of a pipeline: fit both, and measure the difference on the same test rows."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import runtime
from raypipe.compare.comparison import Interval
from raypipe.config.load import Loaded
from raypipe.errors import UsageError
from raypipe.fit import empty_tables
from raypipe.fit.fitted import fit_both_of
from raypipe.fit.recipe import Recipe, recipe_of
from raypipe.fit.training_table import scratch_name
from raypipe.progress import Progress


@dataclass(frozen=True)
class Difference:
    """The gain of a configuration over another.

    Attributes:
        rows: the number of test rows.
        columns: the columns of the matrix of this configuration, and of the other.
        configured: the metric of this configuration, with its interval; `other` is that of the other.
        difference: the gain in the metric's units with the interval of a paired bootstrap; positive is better.
    """

    pipeline: str
    metric: str
    test_date: date
    rows: int
    columns: tuple[int, int]
    configured: Interval
    other: Interval
    difference: Interval
    seconds: float


def compare_with(
    endpoint: Endpoint, loaded: Loaded, other: Loaded, as_of: date | None, progress: Progress
) -> Difference:
    """Fit two configurations of one pipeline and compare them; nothing is registered.

    Args:
        as_of: the last day with usable data; None for the newest snapshot.

    Raises:
        UsageError: the pipeline's models cannot be compared, or the configurations have other rows.
    """
    started, name = time.perf_counter(), loaded.config.pipeline
    with Client(endpoint) as client:
        recipes = [recipe_of(client, each, as_of) for each in (other, loaded)]
        fit_both = fit_both_of(recipes[1].family)
        _require_comparable(*recipes)
        with empty_tables.named(client, recipes[0]), runtime.session(endpoint, loaded.config.ray) as workers:
            if any(recipe.workers for recipe in recipes):
                workers.ready()
            beside, fitted = fit_both(client, recipes[0], recipes[1], scratch_name(name), progress)
    decision = fitted.comparison
    assert decision is not None
    return Difference(
        name,
        decision.metric,
        recipes[1].test_date,
        fitted.rows["test"],
        (len(fitted.package.contract.columns), len(beside.package.contract.columns)),
        fitted.test[decision.metric],
        beside.test[decision.metric],
        {"value": decision.difference, "low": decision.low, "high": decision.high},
        round(time.perf_counter() - started, 3),
    )


def _require_comparable(other: Recipe, recipe: Recipe) -> None:
    differing = [name for name, value in _rows_of(recipe).items() if value != _rows_of(other)[name]]
    if differing:
        raise UsageError(
            f"The two configurations of {recipe.pipeline} do not have the same rows and the same metric",
            found=f"other values of {', '.join(differing)}",
            allowed="changes of the model, of the features and of split.max_train_rows",
        )


def _rows_of(recipe: Recipe) -> Mapping[str, Any]:
    """Return the parts of a recipe that choose the rows and judge them, by section of the config."""
    return {
        "label": (recipe.label_kind, recipe.score_range),
        # The test rows are the same for any number of training rows.
        "split": (recipe.snapshots, replace(recipe.shares, max_train_rows=0)),
        "evaluate.metric": recipe.metric,
    }
