"""Several models fitted on the same rows and judged on the same test rows, beside the champion and simple rules."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

import numpy.typing as npt

from raypipe.artifact import files
from raypipe.artifact.contract import Contract
from raypipe.clickhouse.client import Client
from raypipe.errors import RaypipeError
from raypipe.evaluation.decision import HIGHER_IS_BETTER, Decision, decide
from raypipe.evaluation.evaluate import evaluate
from raypipe.fit import registration
from raypipe.fit.fitting import Progress, fit_candidate, written
from raypipe.fit.recipe import Champion, Recipe
from raypipe.fit.rivals import Benchmark, measure
from raypipe.fit.training_table import PARTS, TrainingTable

# What is shown of each model, by the kind of the label; the rest of its evaluation is in the registry.
METRICS = {"binary": ("auc", "log_loss", "brier"), "number": ("rmse", "mae", "r2")}
# Baselines that are rules rather than models. The linear one is left out: it is a model, and can be fitted as one.
RULES = ("prior", "one_feature", "persistence")

Interval = Mapping[str, float | None]


@dataclass(frozen=True)
class Standing:
    """The champion that the models are compared with.

    Attributes:
        contract_sha256: of the feature contract that it was fitted under.
        rows: of its own training, validation and test set; empty where no record of its fit is left.
        dates: the snapshots that each of these was read from.
        seconds: what its fit took.
    """

    version: str
    model_id: str
    artifact: Champion
    contract_sha256: str
    rows: tuple[int, ...] = ()
    dates: tuple[str, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True)
class Compared:
    """A line of the comparison.

    Attributes:
        name: the model's, or `champion`, `prior`, `one_feature`, `persistence`.
        kind: `model` for those that were fitted for the comparison.
        version: of the registry; empty for a rule, and for a fit that failed.
        metrics: on the test rows, each with `value`, `low` and `high`; empty for a fit that failed.
        difference: how much better than the champion, in units of the metric that decides: positive is better,
            whichever way the metric points. None without a champion, and for itself.
        seconds: what a fit of this model alone takes, reading the features included; None for a rule.
        error: why the fit failed; '' where it did not.
    """

    name: str
    kind: Literal["champion", "model", "rule"]
    version: str = ""
    model_id: str = ""
    metrics: Mapping[str, Interval] | None = None
    difference: Interval | None = None
    seconds: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Comparison:
    """How models do beside the champion of a pipeline.

    Attributes:
        pipeline: under which the models are registered.
        of: the pipeline whose rows they were fitted on.
        champion: the version of its champion; '' where none stands or it could not be compared.
        metric: which decides.
        test_date: the snapshot of the test rows.
        rows: of each part of the split.
        same_rows: whether the champion was fitted on these rows too; None without one, or without a record of its fit.
        models: the best first, those that failed last.
        warnings: what a person should know when reading the table.
        seconds: of the whole comparison.
    """

    pipeline: str
    of: str
    champion: str
    metric: str
    test_date: date
    rows: Mapping[str, int]
    same_rows: bool | None
    models: tuple[Compared, ...]
    warnings: tuple[str, ...]
    seconds: float

    @property
    def failed(self) -> tuple[Compared, ...]:
        """The models that could not be fitted."""
        return tuple(model for model in self.models if model.error)

    def to_json(self) -> dict[str, Any]:
        """The comparison as JSON-ready values."""
        return {**asdict(self), "test_date": self.test_date.isoformat(), "failed": [one.name for one in self.failed]}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Comparison:
        """The comparison again, from what `to_json` gave."""
        known = {name: value for name, value in document.items() if name != "failed"}
        return Comparison(
            **{
                **known,
                "test_date": date.fromisoformat(document["test_date"]),
                "models": tuple(Compared(**model) for model in document["models"]),
                "warnings": tuple(document["warnings"]),
            }
        )


def compare(
    client: Client,
    of: str,
    recipes: Mapping[str, Recipe],
    champion: Standing | None,
    scratch: str,
    root: str,
    progress: Progress,
) -> Comparison:
    """Fits, judges and registers each model as a candidate; Ray must be connected.

    A fit that fails is recorded and does not stop the others.

    Args:
        client: where the data and the registry are.
        of: the pipeline whose rows these are.
        recipes: at least one, by the model's name; they differ in the model alone.
        champion: of that pipeline.
        scratch: the training table to make; it is dropped at the end, whatever happens.
        root: the artifacts' folder.
        progress: told in words what is going on.

    Raises:
        DataError: the rows cannot be fitted or judged on by any model, such as labels of one class.
    """
    started = time.perf_counter()
    common = next(iter(recipes.values()))
    with written(client, common, scratch, progress) as (contract, table):
        progress("judging the champion and the rules")
        rival = measure(client, common, contract, table, champion.artifact if champion else None)
        shared = time.perf_counter() - started
        lines = [_rule(common, rival, name) for name in RULES if name in rival.baselines]
        standing = None
        if champion and rival.champion is not None:
            standing = champion
            lines.append(_champion(common, rival, rival.champion, champion))
        for name, recipe in recipes.items():
            progress(f"fitting {name} on {table.rows['train']:,} rows and {len(contract.columns)} columns")
            lines.append(_model(client, of, name, recipe, contract, table, rival, root, shared, progress))
    same, differs = _same_rows(common, contract, table, standing)
    warnings = [*rival.warnings, *differs, *_better(lines)]
    if champion is None:
        warnings.insert(0, f"{of} has no champion, so there is none to compare with")
    return Comparison(
        common.pipeline,
        of,
        standing.version if standing else "",
        common.metric,
        common.test_date,
        dict(table.rows),
        same,
        tuple(sorted(lines, key=lambda line: _place(common.metric, line))),
        tuple(warnings),
        round(time.perf_counter() - started, 3),
    )


def _rule(recipe: Recipe, rival: Benchmark, name: str) -> Compared:
    rule, difference = rival.baselines[name], None
    if rule.prediction is not None and rival.champion is not None:
        decision = decide(
            rival.parts["test"].y,
            rule.prediction,
            rival.champion,
            {},
            recipe.shares.seed,
            metric=recipe.metric,
            resamples=recipe.resamples,
            entities=rival.entities["test"],
        )
        difference = _interval(decision)
    return Compared(name, "rule", metrics=_shown(recipe, rule.evaluation), difference=difference)


def _champion(recipe: Recipe, rival: Benchmark, scores: npt.NDArray[Any], standing: Standing) -> Compared:
    y, entities = rival.parts["test"].y, rival.entities["test"]
    found = evaluate(recipe.label_kind, y, scores, resamples=recipe.resamples, entities=entities)
    return Compared(
        "champion",
        "champion",
        standing.version,
        standing.model_id,
        metrics=_shown(recipe, found),
        seconds=standing.seconds,
    )


def _model(
    client: Client,
    of: str,
    name: str,
    recipe: Recipe,
    contract: Contract,
    table: TrainingTable,
    rival: Benchmark,
    root: str,
    shared: float,
    progress: Progress,
) -> Compared:
    """One model, registered; or why it could not be."""
    attempt = registration.begin(recipe, datetime.now(UTC), name)
    started = time.perf_counter()
    try:
        with registration.recorded(client, attempt):
            held_back = f"a baseline is compared with the champion of {of}, never promoted"
            fitted = fit_candidate(client, recipe, contract, table, rival, held_back, started - shared, progress)
            artifact = files.save(root, fitted.files)
            description = f"{name}, a baseline of {of}"
            version = registration.complete(client, attempt, recipe, fitted, artifact, description=description)
    except Exception as error:
        # One model's own fault must not cost the others their place in the table.
        said = str(error) if isinstance(error, RaypipeError) else f"an unexpected {type(error).__name__}: {error}"
        return Compared(name, "model", seconds=round(time.perf_counter() - started + shared, 3), error=said)
    return Compared(
        name,
        "model",
        version.version,
        version.model_id,
        _shown(recipe, fitted.test),
        _interval(fitted.decision) if rival.champion is not None else None,
        round(fitted.seconds, 3),
    )


def _interval(decision: Decision) -> Interval:
    return {"value": decision.difference, "low": decision.low, "high": decision.high}


def _shown(recipe: Recipe, evaluation: Mapping[str, Any]) -> dict[str, Interval]:
    return {name: evaluation[name] for name in dict.fromkeys((recipe.metric, *METRICS[recipe.label_kind]))}


def _same_rows(
    recipe: Recipe, contract: Contract, table: TrainingTable, standing: Standing | None
) -> tuple[bool | None, list[str]]:
    """Whether the champion was fitted on the same snapshots and as many rows of each part, and what differs."""
    if standing is None:
        return None, []
    if not standing.rows:
        return None, ["no record of the champion's fit is left, so it may have been fitted on other rows"]
    rows = tuple(table.rows[part] for part in PARTS)
    dates = tuple(registration.dates_of(recipe, part) for part in PARTS)
    same, warnings = (standing.rows, standing.dates) == (rows, dates), []
    if not same:
        warnings.append(
            f"the champion was fitted on other rows: {standing.rows[0]:,} of {standing.dates[0]} and not"
            f" {rows[0]:,} of {dates[0]}, tested on {standing.rows[-1]:,} of {standing.dates[-1]} and not"
            f" {rows[-1]:,} of {dates[-1]}"
        )
    if standing.contract_sha256 != contract.sha256:
        warnings.append("the champion was fitted on other features, or with other vocabularies")
    return same, warnings


def _better(lines: Sequence[Compared]) -> list[str]:
    found = [line for line in lines if line.difference and (line.difference["low"] or 0) > 0]
    return [f"{line.name} beats the champion by more than noise" for line in found]


def _place(metric: str, line: Compared) -> tuple[bool, float]:
    """Sorts the best first, and what failed last."""
    value = line.metrics[metric]["value"] if line.metrics else None
    if value is None:
        return True, 0.0
    return False, -value if HIGHER_IS_BETTER[metric] else value
