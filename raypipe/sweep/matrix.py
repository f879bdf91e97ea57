"""Sweep a matrix on one Ray: one cell after the other, each with all the CPUs.

A failed cell does not stop the others.
"""

import os
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import runtime
from raypipe.config.load import Loaded, load_pipeline
from raypipe.config.matrix import CellPlan, load_matrix
from raypipe.errors import ConfigError, RaypipeError, UsageError
from raypipe.progress import Progress, prefixed
from raypipe.sweep import journal
from raypipe.sweep.sweep import folder_of, sweep_pipeline


def load_cells(
    path: Path, config: Path | None, overrides: Sequence[str], url: str | None, environ: Mapping[str, str] = os.environ
) -> list[tuple[CellPlan, Loaded]]:
    """Load the config of every cell of a matrix, so that nothing starts when one of them is invalid.

    Raises:
        ConfigError: the matrix or the config of a cell is invalid.
        UsageError: there is no such file or pipeline, or a pipeline learns without a fit.
    """
    return [(cell, _config_of(cell, config, overrides, url, environ)) for cell in load_matrix(path)]


def _config_of(
    cell: CellPlan, config: Path | None, overrides: Sequence[str], url: str | None, environ: Mapping[str, str]
) -> Loaded:
    try:
        loaded = load_pipeline(cell.pipeline, config, [*cell.overrides, *overrides], environ, url)
    except ConfigError as error:
        error.problem = f"In the cell {cell.label}: {error.problem}"
        raise
    if loaded.config.ads is not None:
        raise UsageError(f"{cell.pipeline} learns and scores at once, so there is nothing to sweep", found=cell.label)
    return loaded


def sweep_matrix(
    endpoint: Endpoint,
    cells: Sequence[tuple[CellPlan, Loaded]],
    name: str,
    progress: Progress,
    *,
    as_of: date | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Sweep every cell; with `resume`, the cells that are not finished.

    Returns:
        The document of `raypipe sweep --matrix FILE --json`.

    Raises:
        UsageError: there is no such matrix to resume.
        ConfigError: the cells are not those that the matrix began with.
        Interrupted: Ctrl-C stopped the sweep; finished trials are kept.
    """
    started = time.perf_counter()
    first = cells[0][1].config
    folder = folder_of(first.artifacts)
    # The names of the cells' sweeps end in their positions.
    positions = [[cell.label, *cell.overrides] for cell, _ in cells]
    if resume and journal.state(folder, name).get("cells") != positions:
        raise ConfigError(
            f"The cells are not those that the matrix {name} began with",
            found=", ".join(cell.label for cell, _ in cells),
            next_step="restore the file, or leave --resume out for a new matrix",
        )
    documents = []
    # The sessions inside find this Ray connected, and leave it running.
    with runtime.session(endpoint, first.ray) as workers:
        workers.ready()
        if not resume:
            journal.begin(folder, name, {"cells": positions})
        for at, (cell, loaded) in enumerate(cells):
            progress("cells", at, len(cells))
            documents.append(_sweep_cell(endpoint, cell, loaded, f"{name}_{at}", progress, as_of, resume))
        progress("cells", len(cells), len(cells))
    failed = [document["cell"] for document in documents if document["status"] == "failed"]
    return {"sweep": name, "cells": documents, "failed": failed, "seconds": round(time.perf_counter() - started, 3)}


def _sweep_cell(
    endpoint: Endpoint, cell: CellPlan, loaded: Loaded, name: str, progress: Progress, as_of: date | None, resume: bool
) -> dict[str, Any]:
    document = {"cell": cell.label, "brand": cell.brand, "horizon_days": cell.horizon, "model": cell.model}
    folder, progress = folder_of(loaded.config.artifacts), prefixed(cell.label, progress)
    result = journal.result(folder, name) if resume else None
    if result is None:
        begun = resume and journal.has_begun(folder, name)
        try:
            result = sweep_pipeline(endpoint, loaded, name, progress, as_of=as_of, resume=begun, cell=cell)
        except RaypipeError as error:
            return {**document, "status": "failed", "error": str(error), "result": None}
    return {**document, "status": "done", "error": "", "result": result}
