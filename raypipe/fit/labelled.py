"""Fit and judge a version that learns from labels: freeze the contract, write the rows, train, evaluate, decide."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from raypipe.artifact import alike
from raypipe.artifact.bins import Bins, fit_bins, trends
from raypipe.artifact.contract import Contract
from raypipe.artifact.groups import groups
from raypipe.artifact.package import Package, pack
from raypipe.clickhouse.client import Client
from raypipe.errors import ModelError, RaypipeError
from raypipe.evaluation.challenges import ALPHA
from raypipe.evaluation.metrics import Entities
from raypipe.evaluation.threshold import choose_threshold
from raypipe.fit import training_table
from raypipe.fit.fitted import Fitted
from raypipe.fit.recipe import PARTS, Recipe, frozen
from raypipe.fit.rivals import Rivals, Scores, score_rivals, scores_of
from raypipe.fit.training_table import TrainingTable, read_entities, read_part, read_parts
from raypipe.models.classes import predictions
from raypipe.models.model import Matrix
from raypipe.models.protocol import FitSpec, History, load_family, load_matrix_family
from raypipe.models.settings import FOLDED_ROWS
from raypipe.progress import Progress
from raypipe.registry.record import Registered

# Medians by date and shared values need no more rows, nor do the bins.
TREND_ROWS, BINNED_ROWS = 50_000, 200_000
LEARNED = ("train", "validation")


def fit_version(
    client: Client,
    recipe: Recipe,
    name: str,
    champion: Registered | None,
    progress: Progress,
    beside: tuple[str, Package] | None = None,
) -> Fitted:
    """Fit and judge one version; Ray must be connected for a fit with workers.

    Args:
        name: the name of the training table, which is dropped at the end.
        champion: the version to compare with.
        beside: a second version to compare with on the same test rows, and the name of its role.
    """
    started = time.perf_counter()
    progress("reading features and labels", 0, 0)
    with training_table.written(client, recipe, frozen(client, recipe), name) as table:
        table = training_table.telling(client, table)
        contract = table.read
        # The rows of the test come later: a fit needs the memory.
        learned = {} if recipe.workers else read_learned(client, table)
        progress(f"fitting on {table.rows['train']:,} rows and {len(contract.columns)} columns", 0, 0)
        files, history = _train(client, recipe, contract, table, learned, progress)
        progress("judging on the test snapshot", 0, 0)
        rows = read_others(client, table, learned)
        rivals = score_rivals(client, recipe, table, rows, champion)
        other = (beside[0], scores_of(client, recipe, table, beside[1])) if beside else None
        return _judge(client, recipe, contract, table, rivals, files, history, started, beside=other)


def fit_both(client: Client, other: Recipe, recipe: Recipe, name: str, progress: Progress) -> tuple[Fitted, Fitted]:
    """Fit and judge two configurations on the same rows; the second has the comparison."""
    beside = fit_version(client, other, name, None, progress)
    return beside, fit_version(client, recipe, name, None, progress, ("other configuration", beside.package))


def fit_candidate(
    client: Client,
    recipe: Recipe,
    contract: Contract,
    table: TrainingTable,
    rows: Mapping[str, Matrix],
    rivals: Rivals,
    held_back: str,
    started: float,
    progress: Progress,
) -> Fitted:
    """Fit and judge a version on rows that are written already, and never promote it.

    Args:
        rows: by part, as `read_others` returns them for this recipe.
        held_back: the reason against a promotion.
    """
    files, history = _train(client, recipe, contract, table, rows, progress)
    return _judge(client, recipe, contract, table, rivals, files, history, started, held_back=held_back)


def read_learned(client: Client, table: TrainingTable) -> dict[str, Matrix]:
    """Return all rows to learn from, by part, for a process that fits by itself."""
    rows = zip(LEARNED, read_parts(client, table, LEARNED), strict=True)
    return {part: replace(own, entities=entities_of(client, table, part)) for part, own in rows}


def read_others(client: Client, table: TrainingTable, learned: Mapping[str, Matrix]) -> dict[str, Matrix]:
    """Return the rows of every part: those learned from, and those to judge of the other parts."""
    others = {part: read_part(client, table, part) for part in PARTS if part not in learned}
    judged = {part: replace(own, entities=entities_of(client, table, part)) for part, own in others.items()}
    return {**learned, **judged}


def entities_of(client: Client, table: TrainingTable, part: str) -> Entities | None:
    """Return the entities of a part that a family may divide into folds."""
    return read_entities(client, table, part) if part != "test" and table.rows[part] <= FOLDED_ROWS else None


def _train(
    client: Client,
    recipe: Recipe,
    contract: Contract,
    table: TrainingTable,
    rows: Mapping[str, Matrix],
    progress: Progress,
) -> tuple[dict[str, bytes], History]:
    spec = fit_spec(recipe, contract)
    if not recipe.workers:
        spec = replace(spec, refits=True)
        return _fit_here(recipe.family, spec, rows["train"], rows["validation"], progress)
    # Ray Data and Ray Train take a second to import, a cost that other fits should not bear.
    from raypipe.data.source import read_sql
    from raypipe.fit.trainer import train

    def part(name: str) -> Any:
        return read_sql(
            training_table.part_query(table),
            client.endpoint,
            table=table.name,
            pinned={"part": name},
            parameters={"part": name},
            slice_rows=recipe.slice_rows,
        )

    trained = train(
        recipe.family,
        spec,
        part("train"),
        part("validation"),
        workers=recipe.workers,
        cpus_per_worker=recipe.cpus_per_worker,
    )
    return trained.files, History(**trained.history)


def _fit_here(
    family: str, spec: FitSpec, train: Matrix, validation: Matrix, progress: Progress
) -> tuple[dict[str, bytes], History]:
    """Fit in this process, with all of its threads and without Ray."""
    progress(f"fitting on {len(train):,} rows, {len(validation):,} for validation, {len(spec.columns)} features", 0, 0)
    try:
        model, history = load_matrix_family(family).fit(train, validation, spec)
    except RaypipeError:
        raise
    except Exception as error:
        raise ModelError("The fit failed", found=f"{type(error).__name__}: {error}") from error
    return model.files(), history


def fit_spec(recipe: Recipe, contract: Contract) -> FitSpec:
    """Return what a family needs to know about a fit besides the rows."""
    return FitSpec(
        contract.columns,
        contract.monotone,
        recipe.params,
        recipe.rounds,
        recipe.early_stopping_rounds,
        recipe.balance,
        recipe.shares.seed,
        classes=recipe.classes,
        score_range=recipe.score_range,
        kind=recipe.label_kind,
    )


def _judge(
    client: Client,
    recipe: Recipe,
    contract: Contract,
    table: TrainingTable,
    rivals: Rivals,
    files: dict[str, bytes],
    history: History,
    started: float,
    *,
    beside: tuple[str, Scores] | None = None,
    held_back: str = "",
) -> Fitted:
    fit_rows, validation, test = (rivals.parts[part] for part in PARTS)
    model = load_family(recipe.family).from_files(files)
    known = None if history.held_out is None else history.held_out[-len(validation) :]
    scores = {
        # A model that learned from the validation rows is judged by its likes that did not.
        "validation": predictions(model, validation.x) if known is None else known,
        "test": predictions(model, test.x),
    }
    threshold = 0.0
    if recipe.label_kind == "binary":
        threshold = choose_threshold(validation.y, scores["validation"], recipe.threshold)
    metrics = {part: rivals.evaluate(part, values, threshold) for part, values in scores.items()}
    simple = {item.name: item.prediction for item in rivals.baselines.values() if item.prediction is not None}
    # A version that is held back challenges nobody.
    error = ALPHA if held_back else rivals.error
    decision = rivals.decide(scores["test"], rivals.champion, simple, error=error)
    doubts = "; ".join([*([held_back] if held_back else []), *rivals.warnings])
    if held_back or (doubts and decision.promote):
        decision = replace(decision, promote=False, provisional=False, reason=f"held back: {doubts}")
    package = Package(
        recipe.family,
        contract,
        _bins(client, contract, table, fit_rows.x[:BINNED_ROWS], model.predict(fit_rows.x[:BINNED_ROWS])),
        threshold,
        recipe.levels,
        model,
        score_range=recipe.score_range,
        alike=alike.groups(fit_rows.x, contract),
    )
    described = {name: item.to_json() for name, item in rivals.baselines.items()}
    evaluation = {**metrics, "baselines": described, "decision": decision.to_json(), "history": history.to_json()}
    return Fitted(
        pack(package, test.x, evaluation),
        package,
        history.to_json(),
        table.rows,
        metrics["validation"],
        metrics["test"],
        described,
        decision,
        (*decision.warnings, *rivals.warnings, *rivals.notes),
        fit_rows.x,
        time.perf_counter() - started,
        rivals.decide(scores["test"], beside[1], {}, beside[0]) if beside else None,
    )


def _bins(client: Client, contract: Contract, table: TrainingTable, x: Any, scores: Any) -> Bins:
    """Return the bins of the fit's rows; the first TREND_ROWS show what moves with the date."""
    first = x[:TREND_ROWS]
    kinds = {column: feature.kind for feature in contract.features for column in feature.columns}
    declared = [column for column, kind in kinds.items() if kind == "cumulative"]
    numbers = [column for column, kind in kinds.items() if kind == "number"]
    dates = training_table.read_dates(client, table, "train", len(first))
    growing = trends(first, contract.columns, dates, declared, numbers)
    return fit_bins(x, scores, contract.columns, growing, groups(first, contract.columns, dates, numbers))
