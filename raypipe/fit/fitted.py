"""A fitted version before it is registered, and the function that fits it."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.artifact.package import Package
from raypipe.clickhouse.client import Client
from raypipe.errors import UsageError
from raypipe.evaluation.decision import Decision
from raypipe.fit.recipe import Recipe
from raypipe.models.protocol import load_family
from raypipe.progress import Progress
from raypipe.registry.record import Registered


@dataclass(frozen=True)
class Fitted:
    """A fitted version before it is registered.

    Attributes:
        history: rounds and learning curves.
        baselines: description and metrics of each baseline, on the same test rows.
        warnings: doubts that somebody should look into.
        x: rows of the training part, for the registry's column statistics.
        comparison: the decision against a second version on the same test rows; None without one.
    """

    files: dict[str, bytes]
    package: Package
    history: Mapping[str, Any]
    rows: Mapping[str, int]
    validation: Mapping[str, Any]
    test: Mapping[str, Any]
    baselines: Mapping[str, Mapping[str, Any]]
    decision: Decision
    warnings: tuple[str, ...]
    x: npt.NDArray[np.float32]
    seconds: float
    comparison: Decision | None = None


# Called with the name of a scratch table and the champion, if any.
FitVersion = Callable[[Client, Recipe, str, Registered | None, Progress], Fitted]


# Called with the other configuration's recipe, the own recipe, and the name of a scratch table.
FitBoth = Callable[[Client, Recipe, Recipe, str, Progress], tuple[Fitted, Fitted]]


def fitter_of(family: str) -> FitVersion:
    """Return the `fit_version` of the module that the family names."""
    fit_version: FitVersion = importlib.import_module(load_family(family).fitter).fit_version
    return fit_version


def fit_both_of(family: str) -> FitBoth:
    """Return the `fit_both` of the module that the family names, which compares two configurations.

    Raises:
        UsageError: the module has none.
    """
    fit_both: FitBoth | None = getattr(importlib.import_module(load_family(family).fitter), "fit_both", None)
    if fit_both is None:
        raise UsageError(
            "Two configurations of this model cannot be compared",
            found=family,
            allowed="models that learn from labels, and recommenders",
        )
    return fit_both
