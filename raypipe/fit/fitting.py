"""One fit from its dates to a registered version: freeze, read, train, judge, store, decide on promotion."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, identifier
from raypipe.data.contract import MATRIX, Contract, describe_query, matrix
from raypipe.data.freeze import DeclaredFeature, freeze
from raypipe.data.histograms import fit_bins
from raypipe.data.slices import unsliced
from raypipe.errors import ConfigError, RaypipeError
from raypipe.fit import training_table
from raypipe.fit.baselines import baselines
from raypipe.fit.evaluate import Objective, choose_threshold, evaluate, suspicious_features
from raypipe.fit.promotion import Decision, decide
from raypipe.fit.training_table import EVALUATED_ROWS, Shares, Snapshot, TrainingTable
from raypipe.models.protocol import FitSpec, Matrix, load_family
from raypipe.registry.package import Package, load_package, pack

log = logging.getLogger(__name__)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """What is fitted, on what, and how it is judged; plain values of a pipeline's config.

    Attributes:
        folder: where the pipeline's SQL is.
    """

    pipeline: str
    keys: tuple[str, ...]
    carry: tuple[str, ...]
    inputs: tuple[str, ...]
    parameters: Mapping[str, Any]
    entity_id: str
    features: Sequence[DeclaredFeature]
    folder: Path
    features_sql: Statement
    labels_sql: Statement | None
    snapshots: tuple[Snapshot, ...]
    test_date: date
    shares: Shares
    label_kind: str
    family: str
    params: Mapping[str, Any]
    rounds: int
    early_stopping_rounds: int
    balance: str
    workers: int
    cpus_per_worker: int
    metric: str
    threshold: Objective
    resamples: int
    suspicious_auc: float
    levels: tuple[tuple[str, float], ...]
    slice_rows: int


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


@dataclass(frozen=True)
class Champion:
    """The version that scores today, to be compared on the same test rows."""

    artifact_uri: str
    artifact_sha256: str


def labels_of(recipe: Recipe) -> Statement:
    """The labels query of a recipe.

    Raises:
        ConfigError: it has none.
    """
    if recipe.labels_sql is None:
        raise ConfigError(
            f"{recipe.pipeline} has no label to fit, to compare or to search by",
            found=recipe.family,
            allowed=f"a section `label` in the config, and sql/{recipe.pipeline}/labels.sql",
        )
    return recipe.labels_sql


FitVersion = Callable[[Client, Recipe, str, Champion | None, Progress], Fitted]


def fitter(family: str) -> FitVersion:
    """What fits a family's versions: `fit_version` here, or that of the module which the family names."""
    module = getattr(load_family(family), "fitter", None)
    found: FitVersion = fit_version if module is None else importlib.import_module(module).fit_version
    return found


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
    labels = labels_of(recipe)
    started = time.perf_counter()
    contract = frozen(client, recipe)
    try:
        progress("reading features and labels")
        table = training_table.build(
            client,
            name,
            contract,
            recipe.features_sql.text,
            labels,
            recipe.snapshots,
            recipe.entity_id,
            recipe.shares,
        )
        progress(f"fitting on {table.rows['train']:,} rows and {len(contract.columns)} columns")
        files, history = _train(client, recipe, contract, table, progress)
        progress("judging on the test snapshot")
        return _judge(client, recipe, contract, table, files, history, champion, beside or {}, started)
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
    client: Client,
    recipe: Recipe,
    contract: Contract,
    table: TrainingTable,
    files: dict[str, bytes],
    history: Mapping[str, Any],
    champion: Champion | None,
    beside: Mapping[str, Package],
    started: float,
) -> Fitted:
    width = len(contract.columns)
    parts = {name: training_table.read_part(client, table, name, width) for name in training_table.PARTS}
    fit_rows, validation, test = parts["train"], parts["validation"], parts["test"]
    family = load_family(recipe.family)
    model = family.from_files(files)
    on_validation, on_test = model.predict(validation.x), model.predict(test.x)
    threshold = (
        choose_threshold(validation.y, on_validation, recipe.threshold) if recipe.label_kind == "binary" else 0.0
    )
    metrics = {
        name: evaluate(recipe.label_kind, part.y, scores, threshold=threshold, resamples=recipe.resamples)
        for name, part, scores in (("validation", validation, on_validation), ("test", test, on_test))
    }
    simple = baselines(
        recipe.label_kind,
        fit_rows,
        validation,
        test,
        contract.columns,
        threshold=recipe.threshold,
        resamples=recipe.resamples,
        seed=recipe.shares.seed,
        is_linear=getattr(family, "is_linear", False),
    )
    rival, warning = _champion_scores(client, recipe, table, champion, len(test))
    known = {item.name: item.prediction for item in simple.values() if item.prediction is not None}
    decision = decide(
        test.y, on_test, rival, known, recipe.shares.seed, metric=recipe.metric, resamples=recipe.resamples
    )
    doubts = [*_suspicions(recipe, fit_rows, contract), *([warning] if warning else [])]
    if doubts and decision.promote:
        decision = Decision(False, f"held back: {'; '.join(doubts)}", decision.metric)
    comparison = None
    for called, package in beside.items():
        scores = _scores_of(client, recipe, table, package, len(test))
        comparison = decide(
            test.y,
            on_test,
            scores,
            {},
            recipe.shares.seed,
            metric=recipe.metric,
            resamples=recipe.resamples,
            called=called,
        )
    bins = fit_bins(fit_rows.x, model.predict(fit_rows.x))
    package = Package(recipe.family, contract, bins, threshold, recipe.levels, model)
    described = {name: item.to_json() for name, item in simple.items()}
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
        (*doubts, *_unknown_features(fit_rows, contract)),
        fit_rows.x,
        time.perf_counter() - started,
        comparison,
    )


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
    client: Client, recipe: Recipe, table: TrainingTable, champion: Champion | None, rows: int
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
    return _scores_of(client, recipe, table, package, rows), None


def _scores_of(
    client: Client, recipe: Recipe, table: TrainingTable, package: Package, rows: int
) -> npt.NDArray[np.float32]:
    """A version's scores of the test rows, in their order."""
    features, parameters = unsliced(recipe.features_sql.text), _test_parameters(recipe, package)
    keys = ", ".join(identifier(key) for key in recipe.keys)
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
