"""Sweep a pipeline: run the trials, then compare the best with the pipeline's own configuration on the test snapshot.

A sweep never promotes: a candidate becomes the champion by its registered evidence, or by hand.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from raypipe.artifact import stores
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import runtime
from raypipe.config.features import Label
from raypipe.config.load import Loaded
from raypipe.config.matrix import CellPlan
from raypipe.config.schema import PipelineConfig
from raypipe.errors import ConfigError, UsageError
from raypipe.fit import registration
from raypipe.fit.fitted import Fitted
from raypipe.fit.labelled import fit_version
from raypipe.fit.recipe import newest_day
from raypipe.models.protocol import load_family
from raypipe.progress import Progress, prefixed
from raypipe.registry import models
from raypipe.registry.aliases import CHAMPION
from raypipe.registry.record import Registered
from raypipe.sweep import journal, space
from raypipe.sweep.plan import SweepPlan, plan_of
from raypipe.sweep.search import SearchResult, search

DEFAULT = "default configuration"


def sweep_pipeline(
    endpoint: Endpoint,
    loaded: Loaded,
    name: str,
    progress: Progress,
    *,
    as_of: date | None = None,
    resume: bool = False,
    cell: CellPlan | None = None,
) -> dict[str, Any]:
    """Sweep one pipeline, and register the best as a candidate.

    Args:
        name: the name of the sweep; with `resume`, of the sweep that was stopped.
        as_of: the last day with usable data; None for the newest snapshot. A resumed sweep keeps its day.
        cell: the cell of a matrix that changed the config. A version for one brand or horizon is not registered, since
            it would score every brand.

    Returns:
        The document of `raypipe sweep --json`.

    Raises:
        ConfigError: the config cannot be swept, or it has changed since the sweep began.
        UsageError: there is no such sweep, or it is finished.
        ModelError: every trial crashed.
        Interrupted: Ctrl-C stopped the sweep; finished trials are kept.
    """
    config, started_at, brand = loaded.config, datetime.now(UTC), cell.brand if cell else None
    _require_label(config)
    # Refused here rather than after Ray has started.
    axes = space.axes(config.sweep.space or load_family(config.model.class_path).space)
    with Client(endpoint) as client:
        stores.at(config.artifacts, client).require()
        begun = _begun(client, name) if resume else None
        last = _last_day(name, begun) if begun else as_of or newest_day(client, config)
        plan = plan_of(client, loaded, axes, name, last, brand)
        if begun and begun.get("identity") != plan.identity:
            raise ConfigError(
                f"The configuration is not the one that sweep {name} began with",
                found=f"{config.pipeline} with other values, SQL, space or number of trials",
                next_step="repeat --trials and --set of the first command, restore the files, or leave --resume out",
            )

        def begins() -> None:
            if begun is None:
                state = {"pipeline": config.pipeline, "brand": brand, "as_of": last, "identity": plan.identity}
                journal.begin(client, name, {**state, "started_at": started_at})

        with runtime.session(endpoint, config.ray) as workers:
            workers.ready()
            result = search(client, plan, progress, begins)
            champion = models.find_alias(client, config.pipeline, CHAMPION)
            default, best = _refit(client, plan, result, champion, progress)
            version = None
            if best and not (cell and (cell.brand or cell.horizon)):
                version = _register(client, config.artifacts, plan, result, default, best, started_at)
        document = _document(brand, config.label, plan, result, default, best, version, started_at)
        journal.finish(client, name, document)
    return document


def _require_label(config: PipelineConfig) -> None:
    """Refuse a pipeline whose trials could not be compared, and name the place of its values."""
    if config.label is not None:
        return
    tries = load_family(config.model.class_path).tries
    fit = f"`raypipe fit {config.pipeline}`"
    raise ConfigError(
        f"{config.pipeline} has no label to compare trials by",
        found=config.model.class_path,
        allowed="a pipeline with a section `label`",
        next_step=f"write the values to try into {tries}: {fit} tries them all, and keeps a row of each"
        if tries
        else f"change model.params: {fit} compares them with the champion's on the same rows",
    )


def _begun(client: Client, name: str) -> dict[str, Any]:
    begun = journal.state(client, name)
    if journal.result(client, name) is not None:
        raise UsageError(f"Sweep {name} is finished", next_step="leave --resume out for a new sweep")
    return begun


def _last_day(name: str, begun: Mapping[str, Any]) -> date:
    """Return the last day with usable data when a sweep began."""
    try:
        return date.fromisoformat(begun["as_of"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{name} is no sweep of one pipeline",
            found=", ".join(begun) or "nothing",
            allowed="a sweep that began without --matrix",
            next_step="give --matrix FILE instead of the pipeline, or leave --resume out for a new sweep",
        ) from error


def _refit(
    client: Client, plan: SweepPlan, result: SearchResult, champion: Registered | None, progress: Progress
) -> tuple[Fitted, Fitted | None]:
    """Fit the pipeline's own configuration and a better one again, and judge both on the test snapshot."""
    own = prefixed(f"the {DEFAULT}", progress)
    default = fit_version(client, plan.recipe, f"{plan.table}_default", champion, own)
    if result.best is result.default:
        return default, None
    recipe = space.changed(plan.recipe, dict(result.best.values))
    beside = (DEFAULT, default.package)
    return default, fit_version(client, recipe, f"{plan.table}_best", champion, prefixed("the best", progress), beside)


def _register(
    client: Client,
    artifacts: str,
    plan: SweepPlan,
    result: SearchResult,
    default: Fitted,
    best: Fitted,
    started_at: datetime,
) -> Registered:
    """Register the best as a candidate, with the evidence of the sweep."""
    recipe = space.changed(plan.recipe, dict(result.best.values))
    attempt = registration.begin(recipe, started_at)
    evidence = {
        "name": plan.name,
        "values": dict(result.best.values),
        "trials": len(result.trials),
        "default": default.test,
        "comparison": best.comparison.to_json() if best.comparison else None,
    }
    with registration.recorded(client, attempt):
        artifact = stores.at(artifacts, client).put(best.files)
        return registration.complete(client, attempt, recipe, best, artifact, {"sweep": evidence})


def _document(
    brand: str | None,
    label: Label | None,
    plan: SweepPlan,
    result: SearchResult,
    default: Fitted,
    best: Fitted | None,
    version: Registered | None,
    started_at: datetime,
) -> dict[str, Any]:
    judged = best or default
    return {
        "sweep": plan.name,
        "pipeline": plan.recipe.pipeline,
        "brand": brand,
        "horizon_days": label.horizon_days if label else None,
        "metric": plan.metric,
        "trials": result.counts(),
        "best": {
            "trial": result.best.trial,
            "is_default": best is None,
            "values": dict(result.best.values),
            "validation": dict(result.best.result["metrics"]),
            "test": dict(judged.test),
        },
        "default": {
            "validation": dict(result.default.result["metrics"]) if result.default else None,
            "not_in_space": list(result.outside),
            "test": dict(default.test),
        },
        "comparison": best.comparison.to_json() if best and best.comparison else None,
        "decision": best.decision.to_json() if best else None,
        "warnings": list(judged.warnings),
        "model_version": version.version if version else None,
        "status": version.status if version else None,
        "seconds": round((datetime.now(UTC) - started_at).total_seconds(), 3),
    }
