"""A matrix of sweeps in one process and on one Ray: cell after cell, each with all the CPUs, past those that fail."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import runtime
from raypipe.config.load import load_pipeline
from raypipe.config.matrix import CellPlan, load_matrix
from raypipe.errors import ConfigError, RaypipeError, UsageError
from raypipe.progress import Progress
from raypipe.sweep import journal, sweep


@dataclass(frozen=True)
class Planned:
    """A cell with its configuration."""

    plan: CellPlan
    cell: sweep.Cell


def load(
    path: Path, config: Path | None, overrides: Sequence[str], url: str | None, environ: Mapping[str, str] = os.environ
) -> list[Planned]:
    """Every cell of a matrix with its configuration, so that nothing starts when one cannot be used.

    Raises:
        ConfigError: the matrix or a cell's configuration cannot be used.
        UsageError: there is no such file or pipeline, or one learns without a fit.
    """
    return [_planned(plan, config, overrides, url, environ) for plan in load_matrix(path)]


def _planned(
    plan: CellPlan, config: Path | None, overrides: Sequence[str], url: str | None, environ: Mapping[str, str]
) -> Planned:
    try:
        loaded = load_pipeline(plan.pipeline, config, [*plan.overrides, *overrides], environ, url)
    except ConfigError as error:
        error.problem = f"In the cell {plan.label}: {error.problem}"
        raise
    if loaded.config.ads is not None:
        raise UsageError(f"{plan.pipeline} learns and scores at once, so there is nothing to sweep", found=plan.label)
    # A version for one brand or another horizon would score everybody as if it were the pipeline's.
    cell = sweep.Cell(loaded, plan.brand, registers=plan.brand is None and plan.horizon is None)
    return Planned(plan, cell)


def run(
    endpoint: Endpoint,
    planned: Sequence[Planned],
    name: str,
    progress: Progress,
    *,
    as_of: date | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Sweeps every cell; with `resume`, those that are not over.

    Returns:
        What `raypipe sweep --matrix FILE --json` prints.

    Raises:
        UsageError: there is nothing to go on with.
        ConfigError: the cells are not those that the matrix began with.
        Interrupted: it was stopped by Ctrl-C; what is finished is kept.
    """
    started = time.perf_counter()
    first = planned[0].cell.loaded.config
    folder = sweep.folder_of(first.artifacts)
    # The sweeps of the cells are called by their places.
    places = [[one.plan.label, *one.plan.overrides] for one in planned]
    if resume and journal.state(folder, name).get("cells") != places:
        raise ConfigError(
            f"The cells are not those that the matrix {name} began with",
            found=", ".join(one.plan.label for one in planned),
            next_step="put the file back as it was, or leave --resume out for a new matrix",
        )
    cells = []
    # One Ray for all: the sessions inside find it connected, and leave it as it is.
    with runtime.session(endpoint, first.ray) as workers:
        workers.ready()
        if not resume:
            journal.begin(folder, name, {"cells": places})
        for at, one in enumerate(planned):
            progress("cells", at, len(planned))
            cells.append(_cell(endpoint, one, f"{name}_{at}", progress, as_of, resume))
        progress("cells", len(planned), len(planned))
    failed = [cell["cell"] for cell in cells if cell["status"] == "failed"]
    return {"sweep": name, "cells": cells, "failed": failed, "seconds": round(time.perf_counter() - started, 3)}


def _cell(
    endpoint: Endpoint, one: Planned, name: str, progress: Progress, as_of: date | None, resume: bool
) -> dict[str, Any]:
    known = {"cell": one.plan.label, "brand": one.plan.brand, "horizon_days": one.plan.horizon, "model": one.plan.model}
    folder = sweep.folder_of(one.cell.loaded.config.artifacts)

    def told(stage: str, done: int, total: int) -> None:
        progress(f"{one.plan.label}: {stage}", done, total)

    earlier = journal.result(folder, name) if resume else None
    if earlier is not None:
        return {**known, "status": "done", "error": "", "result": earlier}
    try:
        goes_on = resume and journal.has_begun(folder, name)
        result = sweep.run(endpoint, one.cell, name, told, as_of=as_of, resume=goes_on)
    except RaypipeError as error:
        return {**known, "status": "failed", "error": str(error), "result": None}
    return {**known, "status": "done", "error": "", "result": result}
