"""Fit and register several models on the same rows, and compare them with the champion and simple rules."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from raypipe.artifact import stores
from raypipe.artifact.contract import Contract
from raypipe.clickhouse.client import Client
from raypipe.compare.comparison import Compared, Comparison, Interval, clear_gains, ranked
from raypipe.errors import RaypipeError
from raypipe.evaluation.decision import Decision
from raypipe.evaluation.metrics import METRICS
from raypipe.fit import registration
from raypipe.fit.labelled import fit_candidate, read_learned, read_others
from raypipe.fit.recipe import PARTS, Recipe, frozen
from raypipe.fit.rivals import Rivals, Scores, score_rivals
from raypipe.fit.training_table import TrainingTable, scratch_name, telling, written
from raypipe.models.model import Matrix
from raypipe.progress import Progress
from raypipe.registry.record import Registered
from raypipe.registry.training_runs import CompletedRun

# Baselines that are rules. The linear baseline is a model, and can be fitted as one.
RULES = ("prior", "one_feature", "persistence")


@dataclass(frozen=True)
class Champion:
    """The champion to compare with, and its own fit if a record of it is left."""

    version: Registered
    fit: CompletedRun | None


@dataclass(frozen=True)
class _Shared:
    """The rows that all models share, and the seconds that it took to read and judge them."""

    contract: Contract
    table: TrainingTable
    rows: Mapping[str, Matrix]
    rivals: Rivals
    seconds: float


def compare_models(
    client: Client, of: str, recipes: Mapping[str, Recipe], champion: Champion | None, root: str, progress: Progress
) -> Comparison:
    """Fit, judge and register each model as a candidate; Ray must be connected if a model has workers.

    A failed fit is recorded and does not stop the others.

    Args:
        of: the pipeline of the rows.
        recipes: at least one, by the model's name; they differ in the model alone.

    Raises:
        DataError: no model can be fitted or judged on the rows, for instance with labels of one class.
    """
    started = time.perf_counter()
    recipe = next(iter(recipes.values()))
    progress("reading features and labels", 0, 0)
    with written(client, recipe, frozen(client, recipe), scratch_name(recipe.pipeline)) as table:
        table = telling(client, table)
        contract = table.read
        elsewhere = all(own.workers for own in recipes.values())
        rows = read_others(client, table, {} if elsewhere else read_learned(client, table))
        progress("judging the champion and the rules", 0, 0)
        rivals = score_rivals(client, recipe, table, rows, champion.version if champion else None)
        shared = _Shared(contract, table, rows, rivals, time.perf_counter() - started)
        compared = _rules(rivals)
        if champion and rivals.champion is not None:
            compared.append(_champion(rivals, rivals.champion, champion))
        for name, own in recipes.items():
            progress(f"fitting {name} on {table.rows['train']:,} rows and {len(contract.columns)} columns", 0, 0)
            compared.append(_model(client, of, name, own, shared, root, progress))
    standing = champion if rivals.champion is not None else None
    same_rows, differences = _same_rows(shared, standing)
    missing = [] if standing else [f"{of} has no champion to compare with"]
    return Comparison(
        recipe.pipeline,
        of,
        standing.version.version if standing else "",
        recipe.metric,
        recipe.test_date,
        dict(table.rows),
        same_rows,
        ranked(compared, recipe.metric),
        (*missing, *rivals.warnings, *differences, *clear_gains(compared)),
        round(time.perf_counter() - started, 3),
    )


def _rules(rivals: Rivals) -> list[Compared]:
    compared = []
    for name in RULES:
        rule, difference = rivals.baselines.get(name), None
        if rule is None or rule.prediction is None:
            continue
        if rivals.champion is not None:
            difference = _interval(rivals.decide(rule.prediction, rivals.champion, {}))
        metrics = _summary(rivals.recipe, rule.evaluation)
        compared.append(Compared(name, "rule", metrics=metrics, difference=difference))
    return compared


def _champion(rivals: Rivals, scores: Scores, champion: Champion) -> Compared:
    metrics = _summary(rivals.recipe, rivals.evaluate("test", scores))
    seconds = champion.fit.seconds if champion.fit else None
    version = champion.version
    return Compared("champion", "champion", version.version, version.model_id, metrics=metrics, seconds=seconds)


def _model(
    client: Client, of: str, name: str, recipe: Recipe, shared: _Shared, root: str, progress: Progress
) -> Compared:
    """Return a registered model, or the error of its fit."""
    attempt = registration.begin(recipe, datetime.now(UTC), name)
    contract, table, rows, rivals = shared.contract, shared.table, shared.rows, shared.rivals
    begun = time.perf_counter() - shared.seconds
    held_back = f"a baseline is compared with the champion of {of}, never promoted"
    try:
        with registration.recorded(client, attempt):
            fitted = fit_candidate(client, recipe, contract, table, rows, rivals, held_back, begun, progress)
            artifact = stores.at(root, client).put(fitted.files)
            description = f"{name}, a baseline of {of}"
            version = registration.complete(client, attempt, recipe, fitted, artifact, description=description)
    except Exception as error:
        # A fault of one model must not cost the others their place in the table.
        reason = str(error) if isinstance(error, RaypipeError) else f"an unexpected {type(error).__name__}: {error}"
        return Compared(name, "model", seconds=round(time.perf_counter() - begun, 3), error=reason)
    return Compared(
        name,
        "model",
        version.version,
        version.model_id,
        _summary(recipe, fitted.test),
        _interval(fitted.decision) if rivals.champion is not None else None,
        round(fitted.seconds, 3),
    )


def _interval(decision: Decision) -> Interval:
    return {"value": decision.difference, "low": decision.low, "high": decision.high}


def _summary(recipe: Recipe, evaluation: Mapping[str, Any]) -> dict[str, Interval]:
    """Return the metrics that a comparison shows; the registry has the rest."""
    summary = [name for name, spec in METRICS.items() if spec.summary and name in evaluation]
    return {name: evaluation[name] for name in dict.fromkeys((recipe.metric, *summary))}


def _same_rows(shared: _Shared, champion: Champion | None) -> tuple[bool | None, list[str]]:
    """Return whether the champion was fitted on equal numbers of rows of the same snapshots, and the differences."""
    if champion is None:
        return None, []
    fit, recipe = champion.fit, shared.rivals.recipe
    if fit is None:
        return None, ["no record of the champion's fit is left, so it may have been fitted on other rows"]
    rows = tuple(shared.table.rows[part] for part in PARTS)
    dates = tuple(recipe.dates_of(part) for part in PARTS)
    same, warnings = (fit.rows, fit.dates) == (rows, dates), []
    if not same:
        warnings.append(
            f"the champion was fitted on other rows: {fit.rows[0]:,} of {fit.dates[0]} and not"
            f" {rows[0]:,} of {dates[0]}, tested on {fit.rows[-1]:,} of {fit.dates[-1]} and not"
            f" {rows[-1]:,} of {dates[-1]}"
        )
    if champion.version.contract_sha256 != shared.contract.sha256:
        warnings.append("the champion was fitted on other features, or with other vocabularies")
    return same, warnings
