"""Sweep a matrix on one Ray: one cell after the other, each with all the CPUs.

A failed cell does not stop the others.
"""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import runtime
from raypipe.config.load import Loaded, load_pipeline
from raypipe.config.matrix import CellPlan, load_matrix
from raypipe.errors import ConfigError, RaypipeError, UsageError
from raypipe.fit.recipe import newest_day
from raypipe.progress import Progress, prefixed
from raypipe.sweep import journal
from raypipe.sweep.sweep import sweep_pipeline

log = logging.getLogger(__name__)

# Keys that may differ when a matrix continues on another machine.
_PLACES = ("artifacts", "connection", "ray")


def load_cells(
    path: Path, config: Path | None, overrides: Sequence[str], url: str | None, environ: Mapping[str, str] = os.environ
) -> list[tuple[CellPlan, Loaded]]:
    """Load the config of every cell of a matrix, so that nothing starts when one of them is invalid.

    Raises:
        ConfigError: the matrix or the config of a cell is invalid.
        UsageError: there is no such file or pipeline, a pipeline has nothing to sweep, or the connections differ.
    """
    plans = [replace(cell, overrides=(*cell.overrides, *overrides)) for cell in load_matrix(path)]
    cells = [(cell, _config_of(cell, config, url, environ)) for cell in plans]
    _require_one_connection(cells)
    return cells


def _config_of(cell: CellPlan, config: Path | None, url: str | None, environ: Mapping[str, str]) -> Loaded:
    try:
        loaded = load_pipeline(cell.pipeline, config, cell.overrides, environ, url)
    except ConfigError as error:
        error.problem = f"In the cell {cell.label}: {error.problem}"
        raise
    reason = "learns and scores at once" if loaded.config.ads else "only compares models of another pipeline"
    if loaded.config.ads is not None or loaded.config.baselines is not None:
        raise UsageError(
            f"{cell.pipeline} {reason}, so there is nothing to sweep",
            found=cell.label,
            next_step="remove the pipeline from the matrix",
        )
    return loaded


def _require_one_connection(cells: Sequence[tuple[CellPlan, Loaded]]) -> None:
    """Refuse cells of several databases, since one connection serves the whole matrix."""
    connections = {loaded.config.connection: cell.label for cell, loaded in cells}
    if len(connections) > 1:
        raise UsageError(
            "The cells of a matrix name different connections",
            found=", ".join(f"{label}: {connection.url}" for connection, label in connections.items()),
            allowed="one connection for all cells",
            next_step="remove `connection` from the pipelines' files, or write one matrix per connection",
        )


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

    Args:
        as_of: the last day with usable data; None for the newest snapshot. A resumed matrix keeps its days.

    Returns:
        The document of `raypipe sweep --matrix FILE --json`.

    Raises:
        UsageError: there is no such matrix to resume.
        ConfigError: the cells are not those that the matrix began with.
        Interrupted: Ctrl-C stopped the sweep; finished trials are kept.
    """
    started = time.perf_counter()
    first = cells[0][1].config
    # The names of the cells' sweeps end in their positions.
    positions = [[cell.label, *_settings(cell)] for cell, _ in cells]
    with Client(endpoint) as client:
        begun = journal.state(client, name) if resume else None
    if begun and begun.get("cells") != positions:
        raise ConfigError(
            f"The cells are not those that the matrix {name} began with",
            found=", ".join(cell.label for cell, _ in cells),
            next_step="restore the file and repeat --trials and --set, or leave --resume out for a new matrix",
        )
    days: list[str | None] = begun["days"] if begun else _days(endpoint, cells, as_of)
    documents = []
    # The sessions inside find this Ray connected, and leave it running.
    with runtime.session(endpoint, first.ray) as workers:
        workers.ready()
        if not resume:
            with Client(endpoint) as client:
                journal.begin(client, name, {"cells": positions, "days": days})
        for at, (cell, loaded) in enumerate(cells):
            progress("cells", at, len(cells))
            last = days[at]
            day = date.fromisoformat(last) if last else None
            documents.append(_sweep_cell(endpoint, cell, loaded, f"{name}_{at}", progress, day, resume))
        progress("cells", len(cells), len(cells))
    failed = [document["cell"] for document in documents if document["status"] == "failed"]
    return {"sweep": name, "cells": documents, "failed": failed, "seconds": round(time.perf_counter() - started, 3)}


def _settings(cell: CellPlan) -> list[str]:
    """Return the cell's overrides, without the places that another machine may name differently."""
    return [text for text in cell.overrides if text.partition("=")[0].strip().partition(".")[0] not in _PLACES]


def _days(endpoint: Endpoint, cells: Sequence[tuple[CellPlan, Loaded]], as_of: date | None) -> list[str | None]:
    """Return each cell's last day with usable data; None where the cell will fail without one."""
    days: list[str | None] = []
    with Client(endpoint) as client:
        for _, loaded in cells:
            day = as_of
            with suppress(RaypipeError):
                day = day or newest_day(client, loaded.config)
            days.append(day.isoformat() if day else None)
    return days


def _sweep_cell(
    endpoint: Endpoint, cell: CellPlan, loaded: Loaded, name: str, progress: Progress, as_of: date | None, resume: bool
) -> dict[str, Any]:
    document = {"cell": cell.label, "brand": cell.brand, "horizon_days": cell.horizon, "model": cell.model}
    progress = prefixed(cell.label, progress)
    result, begun = None, False
    if resume:
        with Client(endpoint) as client:
            result, begun = journal.result(client, name), journal.has_begun(client, name)
    if result is None:
        try:
            result = sweep_pipeline(endpoint, loaded, name, progress, as_of=as_of, resume=begun, cell=cell)
        except Exception as error:
            # A fault in one cell's own model or SQL must not cost the others their sweeps.
            log.debug("%s", cell.label, exc_info=True)
            reason = str(error) if isinstance(error, RaypipeError) else f"an unexpected {type(error).__name__}: {error}"
            return {**document, "status": "failed", "error": reason, "result": None}
    return {**document, "status": "done", "error": "", "result": result}
