"""Fit with the settings that a short search prefers to the config's own, where the config asks for a search.

The search judges by rows held out of training and never sees a test row. The fit that follows is an ordinary fit: it is
judged on the test snapshot, and becomes the champion only when it earns that.
"""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from raypipe.artifact import stores
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import runtime
from raypipe.config.load import Loaded
from raypipe.errors import ModelError
from raypipe.evaluation.metrics import gain
from raypipe.fit import fit as fitting
from raypipe.fit.fit import FitResult
from raypipe.fit.recipe import newest_day
from raypipe.models.protocol import load_family
from raypipe.progress import Progress
from raypipe.registry.refits import Cause
from raypipe.sweep import space
from raypipe.sweep.plan import SweepPlan, plan_of
from raypipe.sweep.search import SearchResult, search

PARAMS = "model.params."


def fit(
    endpoint: Endpoint,
    loaded: Loaded,
    as_of: date | None,
    progress: Progress,
    *,
    changed_contract: bool = False,
    cause: Cause | None = None,
) -> FitResult:
    """Fit a version as `raypipe.fit.fit` does, after a search if `model.search_minutes` asks for it.

    The fit's warnings state what the search found.

    Raises:
        ConfigError: the model has no space to search, or Optuna is not installed.
    """
    if loaded.config.model.search_minutes is None:
        return fitting.fit(endpoint, loaded, as_of, progress, changed_contract=changed_contract, cause=cause)
    with runtime.kept():
        params, finding = _preferred(endpoint, loaded, as_of, progress)
        model = loaded.config.model.model_copy(update={"params": params})
        chosen = replace(loaded, config=loaded.config.model_copy(update={"model": model}))
        result = fitting.fit(endpoint, chosen, as_of, progress, changed_contract=changed_contract, cause=cause)
    return replace(result, fitted=replace(result.fitted, warnings=(*result.fitted.warnings, finding)))


def _preferred(
    endpoint: Endpoint, loaded: Loaded, as_of: date | None, progress: Progress
) -> tuple[Mapping[str, Any], str]:
    """Return the parameters that lose least on the rows held out, and a sentence about the search."""
    config = loaded.config
    known = config.sweep.space or load_family(config.model.class_path).space
    axes = space.axes({key: ways for key, ways in known.items() if key.startswith(PARAMS)})
    with Client(endpoint) as client, runtime.session(endpoint, config.ray) as workers:
        stores.at(config.artifacts, client).require()
        name = f"{config.pipeline}_auto_{secrets.token_hex(4)}"
        plan = plan_of(client, loaded, axes, name, as_of or newest_day(client, config), None)
        plan = replace(plan, minutes=config.model.search_minutes)
        workers.ready()
        try:
            result = search(client, plan, progress, lambda: None)
        except ModelError as error:
            return config.model.params, f"the config's own settings were fitted: {error.problem} ({error.found})"
    return _changed(config.model.params, plan, result), _finding(plan, result)


def _changed(params: Mapping[str, Any], plan: SweepPlan, result: SearchResult) -> dict[str, Any]:
    if not _is_better(plan, result):
        return dict(params)
    found = {key.removeprefix(PARAMS): value for key, value in result.best.values.items()}
    return {name: value for name, value in {**params, **found}.items() if value is not None}


def _is_better(plan: SweepPlan, result: SearchResult) -> bool:
    if result.default is None:
        return True
    return gain(plan.metric, result.best.result["metric"], result.default.result["metric"]) > 0


def _finding(plan: SweepPlan, result: SearchResult) -> str:
    reached = f"{plan.metric} {result.best.result['metric']:.4f}"
    own = "none" if result.default is None else f"{result.default.result['metric']:.4f}"
    if not _is_better(plan, result):
        return f"the search of {len(result.trials)} settings found none better than the config's own, {reached}"
    changed = {key.removeprefix(PARAMS): value for key, value in result.best.values.items() if value is not None}
    settings = ", ".join(f"{name}={value}" for name, value in changed.items())
    return (
        f"the search of {len(result.trials)} settings prefers {settings}: {reached} on the rows held out,"
        f" against {own} of the config's own"
    )
