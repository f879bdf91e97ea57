"""A sweep from a config to a candidate: the trials, then the best and the default on the test snapshot, side by side.

It never promotes: a candidate becomes the champion by the evidence that is registered with it, or by hand.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from raypipe.artifact import files
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import runtime
from raypipe.config.load import Loaded
from raypipe.config.schema import PipelineConfig
from raypipe.data import split
from raypipe.data.days import today
from raypipe.data.slices import unsliced
from raypipe.errors import ConfigError, UsageError
from raypipe.fit import registration
from raypipe.fit.recipe import Champion, Recipe, recipe_of
from raypipe.models.protocol import load_family
from raypipe.progress import Progress
from raypipe.registry import aliases, models
from raypipe.registry.record import Registered
from raypipe.sweep import journal, search, space
from raypipe.sweep.search import Judged, Searched, SweepPlan

BRAND = "brand_id"


@dataclass(frozen=True)
class Cell:
    """What one sweep is about.

    Attributes:
        loaded: the config, with everything that the cell changes.
        brand: the only brand whose entities count; None for all.
        registers: whether a version of it would score the rows that the pipeline scores.
    """

    loaded: Loaded
    brand: str | None = None
    registers: bool = True


def run(
    endpoint: Endpoint, cell: Cell, name: str, progress: Progress, *, as_of: date | None = None, resume: bool = False
) -> dict[str, Any]:
    """Sweeps one pipeline, and registers the best as a candidate.

    Args:
        endpoint: the ClickHouse.
        cell: what to sweep.
        name: of the sweep; with `resume` that of one which was stopped.
        progress: told the stage, what is done and what there is to do.
        as_of: the last day whose data may be used; None for the newest snapshot, or the day of the sweep that goes on.
        resume: whether to go on with a sweep.

    Returns:
        What `raypipe sweep --json` prints.

    Raises:
        ConfigError: the pipeline has no label, the space, the metric or the resources cannot be used, or the config has
            changed since it began.
        UsageError: there is no such sweep, or it is over.
        ModelError: every trial crashed.
        Interrupted: it was stopped by Ctrl-C; what is finished is kept.
    """
    config, started_at = cell.loaded.config, datetime.now(UTC)
    _require_label(config)
    folder = folder_of(config.artifacts)
    begun = journal.state(folder, name) if resume else None
    if begun is not None:
        if journal.result(folder, name) is not None:
            raise UsageError(f"Sweep {name} is over", next_step="leave --resume out for a new sweep")
        as_of = _first_day(name, begun)
    plan = _plan(cell, name)
    # What can be refused without Ray is refused before it starts.
    space.axes(plan.space)
    with Client(endpoint) as client:
        last = as_of or _newest(client, cell.loaded)
        recipe = _recipe(client, cell, last)
        identity = search.identity(recipe, plan)
        if begun is not None and begun.get("identity") != identity:
            raise ConfigError(
                f"The configuration is not the one that sweep {name} began with",
                found=f"{config.pipeline} with other values, SQL, space or number of trials",
                next_step="give --trials and --set as they were, put the files back, or leave --resume out",
            )
        with runtime.session(endpoint, config.ray) as workers:
            workers.ready()
            state = {"pipeline": config.pipeline, "brand": cell.brand, "as_of": last, "identity": identity}

            def begins() -> None:
                if begun is None:
                    journal.begin(folder, name, {**state, "started_at": started_at})

            searched = search.search(client, recipe, plan, progress, begins)
            standing = models.find_alias(client, config.pipeline, aliases.CHAMPION)
            champion = Champion(standing.artifact_uri, standing.artifact_sha256) if standing else None
            judged = search.judge(client, recipe, plan, searched, champion, progress)
            version = _registered(client, cell, plan, searched, judged, started_at) if judged.best else None
    document = _document(cell, plan, searched, judged, version, started_at)
    journal.finish(folder, name, document)
    return document


def _registered(
    client: Client, cell: Cell, plan: SweepPlan, searched: Searched, judged: Judged, started_at: datetime
) -> Registered | None:
    """The best as a candidate, with the evidence; None where it would score other rows than it was fitted on."""
    best = judged.best
    if best is None or not cell.registers:
        return None
    attempt = registration.begin(judged.recipe, started_at)
    with registration.recorded(client, attempt):
        artifact = files.save(cell.loaded.config.artifacts, best.files)
        notes = {
            "sweep": {
                "name": plan.name,
                "values": dict(searched.best),
                "trials": searched.trials,
                "default": judged.default.test,
                "comparison": best.comparison.to_json() if best.comparison else None,
            }
        }
        return registration.complete(client, attempt, judged.recipe, best, artifact, notes)


def _require_label(config: PipelineConfig) -> None:
    """Refuses a pipeline whose trials could not be compared, and says where its values are chosen instead."""
    if config.label is not None:
        return
    tries = getattr(load_family(config.model.class_path), "tries", None)
    fit = f"`raypipe fit {config.pipeline}`"
    raise ConfigError(
        f"{config.pipeline} has no label that trials could be compared by",
        found=config.model.class_path,
        allowed="a pipeline with a section `label`",
        next_step=f"write the values to try into {tries}: {fit} tries them all, and keeps a row of each"
        if tries
        else f"change model.params: {fit} compares them with the champion's on the same rows",
    )


def _first_day(name: str, begun: Mapping[str, Any]) -> date:
    """The last day whose data a sweep used when it began, which is that of its end too."""
    try:
        return date.fromisoformat(begun["as_of"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{name} is no sweep of one pipeline",
            found=", ".join(begun) or "nothing",
            allowed="a sweep that began without --matrix",
            next_step="give --matrix FILE instead of the pipeline, or leave --resume out for a new sweep",
        ) from error


def _plan(cell: Cell, name: str) -> SweepPlan:
    config = cell.loaded.config
    return SweepPlan(
        name=name,
        space=config.sweep.space,
        metric=config.sweep.metric or config.evaluate.metric,
        trials=config.sweep.trials,
        concurrent=config.sweep.concurrent,
        cpus=config.sweep.cpus,
        grace_rounds=config.sweep.grace_rounds,
    )


def _recipe(client: Client, cell: Cell, last: date) -> Recipe:
    recipe = recipe_of(client, cell.loaded, last)
    if cell.brand is None:
        return recipe
    if BRAND not in recipe.keys:
        raise ConfigError(
            f"{recipe.pipeline} cannot be swept by brand", found=f"entity.keys without {BRAND}", next_step="take it out"
        )
    bound = {"brand": _brand_id(client, recipe, cell.brand)}
    snapshots = tuple(replace(item, parameters={**item.parameters, **bound}) for item in recipe.snapshots)
    return replace(
        recipe,
        features_sql=space.of_one_brand(recipe.features_sql, BRAND),
        snapshots=snapshots,
        # A version keeps its parameters, so that it is compared on the rows of its brand.
        parameters={**recipe.parameters, **bound},
    )


def _brand_id(client: Client, recipe: Recipe, brand: str) -> str:
    """The id of a brand that has entities, given its id, its name or its code."""
    features, parameters = unsliced(recipe.features_sql.text), recipe.snapshots[0].parameters
    rows = client.rows(f"SELECT DISTINCT toString({BRAND}) AS brand FROM (\n{features}\n) ORDER BY brand", parameters)
    named: list[tuple[str, ...]] = []
    if client.value("EXISTS TABLE brands"):
        listed = client.rows("SELECT toString(brand_id), brand_name, brand_code FROM brands FINAL ORDER BY brand_name")
        named = [tuple(map(str, row)) for row in listed]
    return brand_called(brand, [str(row[0]) for row in rows], named, recipe.pipeline)


def brand_called(brand: str, known: Sequence[str], named: Sequence[tuple[str, ...]], pipeline: str) -> str:
    """The id of the brand that is called so.

    Args:
        brand: an id, a name or a code.
        known: the ids of the brands that have entities.
        named: the id, the name and the code of each brand.
        pipeline: whose entities they are.

    Raises:
        UsageError: none is called so, or several are.
    """
    if brand in known:
        return brand
    spoken = {one: [word for word in words if word] for one, *words in named if one in known}
    found = sorted(one for one, words in spoken.items() if brand in words)
    if len(found) != 1:
        every = [word for words in spoken.values() for word in words]
        raise UsageError(
            f"{pipeline} has {'several brands' if found else 'no entity of the brand'}",
            found=repr(brand),
            allowed=", ".join(found or every or known) or "none",
            next_step="write the id, the name or the code of a brand that the pipeline reads",
        )
    return found[0]


def _newest(client: Client, loaded: Loaded) -> date:
    source = loaded.config.source
    if source.date_column is None:
        return today(loaded.config.timezone)
    return split.resolve_date(split.snapshots(client, source.table, source.date_column), None, source.table)


def folder_of(root: str) -> str:
    """Where sweeps are kept: in the root of the artifacts, from which another machine can go on."""
    return f"{root.rstrip('/') if '://' in root else os.path.abspath(root)}/sweeps"


def _document(
    cell: Cell,
    plan: SweepPlan,
    searched: Searched,
    judged: Judged,
    version: Registered | None,
    started_at: datetime,
) -> dict[str, Any]:
    best = judged.best
    comparison = best.comparison if best else None
    found: Mapping[str, Any] = (best or judged.default).test
    return {
        "sweep": plan.name,
        "pipeline": cell.loaded.config.pipeline,
        "brand": cell.brand,
        "horizon_days": _horizon(cell),
        "metric": plan.metric,
        "trials": {"done": searched.trials, "stopped_early": searched.stopped_early, "failed": searched.failed},
        "best": {
            "trial": searched.best_trial,
            "is_default": searched.is_own,
            "values": dict(searched.best),
            "validation": dict(searched.validation),
            "test": dict(found),
        },
        "default": {
            "validation": dict(searched.own) if searched.own else None,
            "not_in_space": list(searched.outside),
            "test": dict(judged.default.test),
        },
        "comparison": comparison.to_json() if comparison else None,
        "decision": best.decision.to_json() if best else None,
        "warnings": list(best.warnings if best else judged.default.warnings),
        "model_version": version.version if version else None,
        "status": version.status if version else None,
        "seconds": round((datetime.now(UTC) - started_at).total_seconds(), 3),
    }


def _horizon(cell: Cell) -> int | None:
    label = cell.loaded.config.label
    return label.horizon_days if label else None
