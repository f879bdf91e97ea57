"""One fit from its dates to a registered version: freeze, read, train, judge, store, decide on promotion."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.artifact.bins import fit_bins
from raypipe.artifact.contract import Contract
from raypipe.artifact.freeze import freeze
from raypipe.artifact.package import Package, pack
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.data.slices import unsliced
from raypipe.evaluation.decision import Decision, decide
from raypipe.evaluation.evaluate import choose_threshold, evaluate
from raypipe.fit import training_table
from raypipe.fit.recipe import Champion, Recipe, labels_of
from raypipe.fit.rivals import Benchmark, measure, scores_of
from raypipe.fit.training_table import TrainingTable
from raypipe.models.protocol import FitSpec, load_family

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Fitted:
    """A fitted version before it is registered.

    Attributes:
        files: the artifact's files.
        package: the model and what it needs.
        history: rounds and learning curves.
        rows: rows of each part of the split.
        validation: metrics on the validation rows.
        test: metrics on the test rows.
        baselines: description and metrics of each baseline, on the same test rows.
        decision: whether it should become the champion, and why.
        warnings: what a person should look at.
        x: rows of the training part, for the registry's column statistics.
        seconds: wall time of the fit.
        comparison: with the version that it was set beside, on the same test rows.
    """

    files: dict[str, bytes]
    package: Package
    history: Mapping[str, Any]
    rows: Mapping[str, int]
    validation: Mapping[str, Any]
    test: Mapping[str, Any]
    baselines: Mapping[str, Mapping[str, Any]]
    decision: Decision
    warnings: tuple[str, ...]
    x: npt.NDArray[np.float32]
    seconds: float
    comparison: Decision | None = None


FitVersion = Callable[[Client, Recipe, str, Champion | None, Progress], Fitted]


def fitter(family: str) -> FitVersion:
    """What fits a family's versions: `fit_version` here, or that of the module which the family names."""
    fit: FitVersion = importlib.import_module(load_family(family).fitter).fit_version
    return fit


def fit_version(
    client: Client,
    recipe: Recipe,
    name: str,
    champion: Champion | None,
    progress: Progress,
    beside: Mapping[str, Package] | None = None,
) -> Fitted:
    """Fits and judges one version; Ray must be connected.

    Args:
        client: where the data is.
        recipe: what to fit.
        name: the training table to make; it is dropped at the end, whatever happens.
        champion: what to compare with.
        progress: told in words what is going on.
        beside: at most one more version to compare with on the same test rows, by the name that it is called.
    """
    started = time.perf_counter()
    with written(client, recipe, name, progress) as (contract, table):
        progress(f"fitting on {table.rows['train']:,} rows and {len(contract.columns)} columns")
        files, history = _train(client, recipe, contract, table, progress)
        progress("judging on the test snapshot")
        rival = measure(client, recipe, contract, table, champion)
        compared = {called: scores_of(client, recipe, table, package) for called, package in (beside or {}).items()}
        return _judge(recipe, contract, table, rival, files, history, compared, started)


def fit_candidate(
    client: Client,
    recipe: Recipe,
    contract: Contract,
    table: TrainingTable,
    rival: Benchmark,
    held_back: str,
    started: float,
    progress: Progress,
) -> Fitted:
    """Fits a version on rows that are written already, and judges it; it is never to be promoted.

    Args:
        client: where the data is.
        recipe: what to fit, on the rows of this contract and table.
        contract: as `written` yields it, with `table`.
        table: the rows.
        rival: what it is judged on and against.
        held_back: why it is not promoted, whatever it reaches.
        started: when the fit began, by `time.perf_counter`.
        progress: told in words what is going on.
    """
    files, history = _train(client, recipe, contract, table, progress)
    return _judge(recipe, contract, table, rival, files, history, {}, started, (held_back,))


@contextmanager
def written(client: Client, recipe: Recipe, name: str, progress: Progress) -> Iterator[tuple[Contract, TrainingTable]]:
    """Inside, the recipe's rows stand in the training table of this name, under the frozen contract."""
    contract = frozen(client, recipe)
    try:
        progress("reading features and labels")
        table = training_table.build(
            client,
            name,
            contract,
            recipe.features_sql.text,
            labels_of(recipe),
            recipe.snapshots,
            recipe.entity_id,
            recipe.shares,
        )
        if recipe.label_kind == "binary":
            training_table.require_two_classes(client, table)
        yield contract, table
    finally:
        client.run(f"DROP TABLE IF EXISTS {identifier(name)} SYNC")


def frozen(client: Client, recipe: Recipe) -> Contract:
    """The contract of a recipe, from its training snapshots."""
    train_parameters = [item.parameters for item in recipe.snapshots if "train" in item.parts]
    return freeze(
        client,
        recipe.features,
        recipe.keys,
        recipe.carry,
        unsliced(recipe.features_sql.text),
        train_parameters,
        recipe.features_sql.source,
        inputs=recipe.inputs,
        parameters=recipe.parameters,
    )


def _train(
    client: Client, recipe: Recipe, contract: Contract, table: TrainingTable, progress: Progress
) -> tuple[dict[str, bytes], Mapping[str, Any]]:
    # Ray Data and Ray Train take a second to import, which scoring would pay for nothing.
    from raypipe.data.source import read_sql
    from raypipe.fit.trainer import fit as train

    def part(name: str) -> Any:
        return read_sql(
            training_table.part_query(table),
            client.endpoint,
            table=table.name,
            pinned={"part": name},
            parameters={"part": name},
            slice_rows=recipe.slice_rows,
        )

    spec = FitSpec(
        contract.columns,
        contract.monotone,
        recipe.params,
        recipe.rounds,
        recipe.early_stopping_rounds,
        recipe.balance,
        recipe.shares.seed,
    )
    fitted = train(
        recipe.family,
        spec,
        part("train"),
        part("validation"),
        workers=recipe.workers,
        cpus_per_worker=recipe.cpus_per_worker,
        on_progress=progress,
    )
    return fitted.files, fitted.history


def _judge(
    recipe: Recipe,
    contract: Contract,
    table: TrainingTable,
    rival: Benchmark,
    files: dict[str, bytes],
    history: Mapping[str, Any],
    beside: Mapping[str, npt.NDArray[np.float32]],
    started: float,
    held_back: tuple[str, ...] = (),
) -> Fitted:
    fit_rows, validation, test = (rival.parts[name] for name in training_table.PARTS)
    model = load_family(recipe.family).from_files(files)
    on_validation, on_test = model.predict(validation.x), model.predict(test.x)
    threshold = (
        choose_threshold(validation.y, on_validation, recipe.threshold) if recipe.label_kind == "binary" else 0.0
    )
    metrics = {
        name: evaluate(
            recipe.label_kind,
            rival.parts[name].y,
            scores,
            threshold=threshold,
            resamples=recipe.resamples,
            entities=rival.entities[name],
        )
        for name, scores in (("validation", on_validation), ("test", on_test))
    }
    known = {item.name: item.prediction for item in rival.baselines.values() if item.prediction is not None}
    judged = partial(
        decide,
        seed=recipe.shares.seed,
        metric=recipe.metric,
        resamples=recipe.resamples,
        entities=rival.entities["test"],
    )
    decision = judged(test.y, on_test, rival.champion, known)
    reasons = [*held_back, *rival.warnings]
    if held_back or (reasons and decision.promote):
        decision = replace(decision, promote=False, reason=f"held back: {'; '.join(reasons)}")
    comparison = None
    for called, scores in beside.items():
        comparison = judged(test.y, on_test, scores, {}, called=called)
    bins = fit_bins(fit_rows.x, model.predict(fit_rows.x))
    package = Package(recipe.family, contract, bins, threshold, recipe.levels, model)
    described = {name: item.to_json() for name, item in rival.baselines.items()}
    evaluation = {**metrics, "baselines": described, "decision": decision.to_json(), "history": history}
    return Fitted(
        pack(package, test.x, evaluation),
        package,
        history,
        table.rows,
        metrics["validation"],
        metrics["test"],
        described,
        decision,
        (*rival.warnings, *rival.notes),
        fit_rows.x,
        time.perf_counter() - started,
        comparison,
    )
