"""One trial of a sweep: the recipe with other values, fitted on training rows and measured on validation rows.

A trial never sees a test row: its recipe reads no test snapshot, and its table has no such part.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from raypipe.artifact.contract import Contract
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import identifier
from raypipe.errors import ConfigError, DataError, ModelError
from raypipe.evaluation.decision import HIGHER_IS_BETTER
from raypipe.evaluation.evaluate import choose_threshold, evaluate
from raypipe.fit import training_table
from raypipe.fit.fitting import frozen
from raypipe.fit.recipe import Recipe, labels_of
from raypipe.models.protocol import FitSpec, FloatArray, Matrix, load_matrix_family
from raypipe.sweep import space

SEEN = ("train", "validation")
# What an evaluation yields besides the metrics that can decide on a champion.
DIRECTIONS = {**HIGHER_IS_BETTER, "accuracy": True, "precision": True, "recall": True, "f1": True, "r2": True}
# A trial says how it does at so many points of its rounds: Ray Tune waits for every report.
REDUCTION = 3
# How a traceback names what was raised: a dotted class, or one of Python's own.
_RAISED = re.compile(r"^((?:\w+\.)+[A-Z]\w*|\w+(?:Error|Exception|Exit|Interrupt))(?:: |$)", re.MULTILINE)

Measured = dict[str, float | None]
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Rows:
    """What a trial fits on and is measured on, and the contract that made the columns.

    Attributes:
        fingerprint: of the entities and days, see `training_table.fingerprint`.
    """

    contract: Contract
    train: Matrix
    validation: Matrix
    fingerprint: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Trials:
    """What all trials of a sweep have in common.

    Attributes:
        endpoint: for the trials that read rows of their own.
        recipe: the pipeline's own, without a test snapshot; see `unseeing`.
        axes: what is varied.
        metric: what decides, by its name in an evaluation.
        threads: CPUs of a trial.
        rungs: the rounds after which a trial says how it does.
        table: how the tables of trials that read rows of their own begin.
    """

    endpoint: Endpoint
    recipe: Recipe
    axes: tuple[space.Axis, ...]
    metric: str
    threads: int
    rungs: tuple[int, ...]
    table: str


def reason(report: str) -> str:
    """What a crashed trial raised, out of the text of its traceback; the class of raypipe's own errors is left out."""
    raised = list(_RAISED.finditer(report))
    if not raised:
        return report.strip() or "the trial's process died"
    last = raised[-1]
    message = report[last.end() :].strip()
    return message if message and last[1].startswith("raypipe.errors.") else report[last.start() :].strip()


def unseeing(recipe: Recipe) -> Recipe:
    """The recipe without what is only for the test."""
    seen = [replace(item, parts=tuple(part for part in item.parts if part in SEEN)) for item in recipe.snapshots]
    return replace(recipe, snapshots=tuple(item for item in seen if item.parts))


def rungs(grace: int, most: int) -> tuple[int, ...]:
    """The rounds at which trials are compared: `grace`, then three times as many each, below `most`."""
    return tuple(
        grace * REDUCTION**step for step in range(max(0, math.ceil(math.log(max(most, 1) / grace, REDUCTION))))
    )


def read(client: Client, recipe: Recipe, name: str) -> Rows:
    """The training and validation rows of a recipe, through a table that is dropped again.

    Args:
        client: where the data is.
        recipe: without a test snapshot.
        name: the table's.
    """
    contract = frozen(client, recipe)
    try:
        table = training_table.build(
            client,
            name,
            contract,
            recipe.features_sql.text,
            labels_of(recipe),
            recipe.snapshots,
            recipe.entity_id,
            recipe.shares,
            SEEN,
        )
        width = len(contract.columns)
        train, validation = (training_table.read_part(client, table, part, width, None) for part in SEEN)
        return Rows(contract, train, validation, training_table.fingerprint(client, table))
    finally:
        client.run(f"DROP TABLE IF EXISTS {identifier(name)} SYNC")


def run(trials: Trials, rows: Rows, values: space.Values, report: Report) -> None:
    """Fits one trial and reports at each rung and at its end.

    A report has `rounds`, the `metric` that decides, all `metrics`, whether it is `final`, and `rungs`: the rounds and
    the metric of every rung so far.

    Args:
        trials: what it has in common with the others.
        rows: the recipe's own rows, which serve unless the values make the queries read others.
        values: of this trial, by dotted key.
        report: is told; a trial may be ended inside.

    Raises:
        DataError: the values change which entities are read, so that the metric would not be comparable.
        ModelError: the metric is not finite.
    """
    recipe = space.changed(trials.recipe, values)
    if space.reads_anew(trials.recipe, values):
        rows = _read_anew(trials, recipe, rows)
    columns, monotone, train, validation = _columns(recipe, rows)
    compared = set(trials.rungs)
    reached: list[tuple[int, float]] = []

    def tell(rounds: int, scores: FloatArray, final: bool) -> None:
        measured = measure(recipe, validation, scores)
        value = _finite(measured, trials.metric)
        if not final:
            reached.append((rounds, value))
        report({"rounds": rounds, "metric": value, "metrics": measured, "final": final, "rungs": list(reached)})

    def on_round(done: int, predict: Callable[[], FloatArray]) -> None:
        if done in compared:
            tell(done, predict(), False)

    spec = FitSpec(
        columns,
        monotone,
        recipe.params,
        recipe.rounds,
        recipe.early_stopping_rounds,
        recipe.balance,
        recipe.shares.seed,
        trials.threads,
        on_round,
    )
    model, history = load_matrix_family(recipe.family).fit(train, validation, spec)
    tell(history.rounds, model.predict(validation.x), True)


def measure(recipe: Recipe, rows: Matrix, scores: FloatArray) -> Measured:
    """Every metric of an evaluation by name, without intervals."""
    found = evaluate(recipe.label_kind, rows.y, scores, threshold=_threshold(recipe, rows, scores), resamples=0)
    return {name: entry["value"] for name, entry in found.items() if isinstance(entry, Mapping)}


def _threshold(recipe: Recipe, rows: Matrix, scores: FloatArray) -> float:
    if recipe.label_kind != "binary":
        return 0.0
    try:
        return choose_threshold(rows.y, scores, recipe.threshold)
    except DataError:
        # After a few rounds no threshold may reach a precision that it reaches at the end.
        return choose_threshold(rows.y, scores, "f1")


def require_metric(recipe: Recipe, rows: Rows, metric: str) -> bool:
    """Whether a higher value of the metric is better.

    Raises:
        ConfigError: no evaluation of these rows yields the metric, or nobody knows which way it points.
    """
    # Only the names count, so any scores do.
    noise = np.random.default_rng(0).random(len(rows.validation), dtype=np.float32)
    yielded = sorted(set(measure(recipe, rows.validation, noise)) & set(DIRECTIONS))
    if metric not in yielded:
        raise ConfigError(
            "The metric that decides a sweep is not produced",
            found=f"{metric}, for a label of kind {recipe.label_kind}",
            allowed=", ".join(yielded),
            next_step="set sweep.metric to one of these, or leave it out for evaluate.metric",
        )
    return DIRECTIONS[metric]


def _finite(measured: Measured, metric: str) -> float:
    value = measured.get(metric)
    if value is None:
        raise ModelError(f"A trial has no {metric} on the validation rows", found="a value that is not finite")
    return value


def _read_anew(trials: Trials, recipe: Recipe, own: Rows) -> Rows:
    with Client(trials.endpoint) as client:
        # Dropped features are left out of the matrix afterwards, as for rows that all share.
        rows = read(client, replace(recipe, features=trials.recipe.features), f"{trials.table}_{secrets.token_hex(4)}")
    if rows.fingerprint != own.fingerprint:
        raise DataError(
            "The parameters of the trial change which entities are read, so that it cannot be compared",
            found=", ".join(f"{name}={value}" for name, value in recipe.parameters.items()),
            allowed="parameters that change the columns of features.sql, not its rows",
            next_step="take the parameter out of sweep.space, or out of the WHERE of features.sql",
        )
    return rows


def _columns(recipe: Recipe, rows: Rows) -> tuple[tuple[str, ...], tuple[int, ...], Matrix, Matrix]:
    """The names, constraints and matrices of the features that the recipe has left."""
    names, monotone = rows.contract.columns, rows.contract.monotone
    used = {feature.name for feature in recipe.features}
    owners = [feature.name for feature in rows.contract.features for _ in feature.columns]
    kept = [at for at, owner in enumerate(owners) if owner in used]
    if len(kept) == len(names):
        return names, monotone, rows.train, rows.validation
    parts = (Matrix(np.ascontiguousarray(part.x[:, kept]), part.y) for part in (rows.train, rows.validation))
    train, validation = parts
    directions = tuple(monotone[at] for at in kept) if monotone else ()
    return tuple(names[at] for at in kept), directions, train, validation
