"""Score a run by one predictor: by compiled trees, or from its start by the library where they differ."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from raypipe.errors import PredictorDiffers
from raypipe.score.manifest import Manifest

log = logging.getLogger(__name__)

# A compilation takes as long as the library takes for up to 50,000 rows, and every actor compiles
# (docs/decisions/0024-compiled-trees.md).
COMPILED_FROM = 100_000

Result = TypeVar("Result")


def pays(rows: int) -> bool:
    """Return whether compiled trees score a population of this size sooner."""
    return rows >= COMPILED_FROM


def by_one_predictor(
    manifest: Manifest, take_over: bool, attempt: Callable[[Manifest, bool], Result]
) -> tuple[Manifest, Result]:
    """Execute a run, and again by the library alone if compiled trees differ from it; return the manifest that held.

    The run's row gets the second manifest, so a later resume keeps to it. Slices of compiled trees are scored again.

    Args:
        attempt: executes a manifest; its second argument says whether another run's lock may be taken.
    """
    try:
        return manifest, attempt(manifest, take_over)
    except PredictorDiffers as error:
        log.warning("the library scores the run %s from its start: %s", manifest.run_id, error)
        manifest = replace(manifest, compiled=False)
        return manifest, attempt(manifest, False)
