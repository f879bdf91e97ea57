"""Fit one trial of a sweep: the recipe with other values, fitted on training rows and judged on validation rows.

A trial never sees a test row: its queries bind no test snapshot, and its table has no such part.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from raypipe.artifact.contract import Contract
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.errors import ConfigError, DataError, ModelError
from raypipe.evaluation.evaluate import evaluate
from raypipe.evaluation.metrics import METRICS
from raypipe.evaluation.threshold import threshold_or_f1
from raypipe.fit import training_table
from raypipe.fit.labelled import entities_of, fit_spec
from raypipe.fit.recipe import Recipe, frozen
from raypipe.models.classes import predictions
from raypipe.models.model import FloatArray, Matrix
from raypipe.models.protocol import load_matrix_family
from raypipe.sweep import space
from raypipe.sweep.plan import SweepPlan

SEEN = ("train", "validation")
# The line of a traceback with the raised error: a dotted class, or a class of Python.
_RAISED = re.compile(r"^((?:\w+\.)+[A-Z]\w*|\w+(?:Error|Exception|Exit|Interrupt))(?:: |$)", re.MULTILINE)

Measured = dict[str, float | None]
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrialRows:
    """The rows that a trial is fitted and judged on, their contract, and `training_table.fingerprint` of them."""

    contract: Contract
    train: Matrix
    validation: Matrix
    fingerprint: tuple[tuple[Any, ...], ...]


def reason(traceback: str) -> str:
    """Return the error at the end of a trial's traceback, without the class for raypipe's own errors."""
    raised = list(_RAISED.finditer(traceback))
    if not raised:
        return traceback.strip() or "the trial's process died"
    last = raised[-1]
    message = traceback[last.end() :].strip()
    return message if message and last[1].startswith("raypipe.errors.") else traceback[last.start() :].strip()


def read(client: Client, recipe: Recipe, name: str) -> TrialRows:
    """Return the training and validation rows of a recipe, through a training table of this name."""
    contract = frozen(client, recipe)
    with training_table.written(client, recipe, contract, name, SEEN) as table:
        train, validation = (
            replace(training_table.read_part(client, table, part, None), entities=entities_of(client, table, part))
            for part in SEEN
        )
        return TrialRows(contract, train, validation, training_table.fingerprint(client, table))


def run_trial(plan: SweepPlan, endpoint: Endpoint, rows: TrialRows, values: space.Values, report: Report) -> None:
    """Fit one trial and report at each rung and at its end.

    A report has `rounds`, the deciding `metric`, all `metrics`, whether it is `final`, and `rungs`: the rounds and the
    metric of every rung so far.

    Args:
        endpoint: the ClickHouse, for a trial with rows of its own.
        values: the trial's values, by dotted key.

    Raises:
        DataError: the values change which entities are read, so that the metric would not be comparable.
        ModelError: the metric is not finite.
    """
    recipe = space.changed(plan.recipe, values)
    if space.reads_anew(plan.recipe, values):
        rows = _read_anew(plan, endpoint, recipe, rows)
    contract, train, validation = _used_columns(recipe, rows)
    rungs: list[tuple[int, float]] = []

    def tell(rounds: int, judged: Matrix, scores: FloatArray, final: bool) -> None:
        measured = measure(recipe, judged, scores)
        value = _finite(measured, plan.metric)
        if not final:
            rungs.append((rounds, value))
        report({"rounds": rounds, "metric": value, "metrics": measured, "final": final, "rungs": list(rungs)})

    def on_round(done: int, predict: Callable[[], FloatArray]) -> None:
        if done in plan.rungs:
            tell(done, validation, predict(), False)

    spec = replace(fit_spec(recipe, contract), threads=plan.cpus, on_round=on_round, refits=True)
    model, history = load_matrix_family(recipe.family).fit(train, validation, spec)
    if history.held_out is None:
        tell(history.rounds, validation, predictions(model, validation.x), True)
    else:
        tell(history.rounds, train.joined(validation), history.held_out, True)


def measure(recipe: Recipe, rows: Matrix, scores: FloatArray) -> Measured:
    """Return every metric of an evaluation by name, without intervals."""
    # After a few rounds no threshold may reach a precision that the finished model reaches.
    threshold = threshold_or_f1(rows.y, scores, recipe.threshold) if recipe.label_kind == "binary" else 0.0
    evaluation = evaluate(recipe.label_kind, rows.y, scores, threshold=threshold, resamples=0, classes=recipe.classes)
    return {name: entry["value"] for name, entry in evaluation.items() if isinstance(entry, Mapping)}


def require_metric(plan: SweepPlan, rows: TrialRows) -> None:
    """Refuse a metric that the evaluation of these rows does not produce, or that has no direction."""
    # Only the names count, so any scores do.
    shape = (len(rows.validation), *([len(plan.recipe.classes)] if plan.recipe.classes else []))
    noise = np.random.default_rng(0).random(shape, dtype=np.float32)
    produced = [name for name in measure(plan.recipe, rows.validation, noise) if name in METRICS]
    if plan.metric not in produced:
        raise ConfigError(
            "The metric that decides a sweep is not produced",
            found=f"{plan.metric}, for a label of kind {plan.recipe.label_kind}",
            allowed=", ".join(sorted(produced)),
            next_step="set sweep.metric to one of these, or leave it out for evaluate.metric",
        )


def _finite(measured: Measured, metric: str) -> float:
    value = measured.get(metric)
    if value is None:
        raise ModelError(f"A trial has no {metric} on the validation rows", found="a value that is not finite")
    return value


def _read_anew(plan: SweepPlan, endpoint: Endpoint, recipe: Recipe, shared: TrialRows) -> TrialRows:
    # Dropped features are left out of the matrix later, as in the shared rows.
    whole = replace(recipe, features=plan.recipe.features)
    with Client(endpoint) as client:
        rows = read(client, whole, f"{plan.table}_{secrets.token_hex(4)}")
    if rows.fingerprint != shared.fingerprint:
        raise DataError(
            "The parameters of the trial change which entities are read, so that it cannot be compared",
            found=", ".join(f"{name}={value}" for name, value in recipe.parameters.items()),
            allowed="parameters that change the columns of features.sql, not its rows",
            next_step="take the parameter out of sweep.space, or out of the WHERE of features.sql",
        )
    return rows


def _used_columns(recipe: Recipe, rows: TrialRows) -> tuple[Contract, Matrix, Matrix]:
    """Return the contract and the matrices with the features that the recipe has left."""
    used = {feature.name for feature in recipe.features}
    kept = tuple(feature for feature in rows.contract.features if feature.name in used)
    if len(kept) == len(rows.contract.features):
        return rows.contract, rows.train, rows.validation
    owners = [feature.name for feature in rows.contract.features for _ in feature.columns]
    columns = [at for at, owner in enumerate(owners) if owner in used]
    train, validation = (
        replace(part, x=np.ascontiguousarray(part.x[:, columns])) for part in (rows.train, rows.validation)
    )
    return replace(rows.contract, features=kept), train, validation
