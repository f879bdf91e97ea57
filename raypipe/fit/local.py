"""Fit a family on two matrices in this process, as each worker of Ray Train does in its own."""

import dataclasses
from typing import Any

import numpy as np

from raypipe.errors import DataError, ModelError, RaypipeError
from raypipe.models.model import Matrix
from raypipe.models.protocol import FitSpec, load_matrix_family
from raypipe.progress import Progress


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model as files, and its history (rounds, rows and learning curves, JSON-ready)."""

    files: dict[str, bytes]
    history: dict[str, Any]


def fit_here(family_path: str, spec: FitSpec, train: Matrix, validation: Matrix, progress: Progress) -> Trained:
    """Fit in this process, with all its CPUs.

    Args:
        validation: rows for early stopping; may be empty for a family without it.

    Raises:
        ConfigError: the family cannot be loaded, or refuses a parameter.
        DataError: the rows do not fit the spec.
        ModelError: the fit failed.
    """
    progress(f"fitting on {len(train):,} rows, {len(validation):,} for validation, {len(spec.columns)} features", 0, 0)
    try:
        return fit_family(family_path, spec, train, validation)
    except RaypipeError:
        raise
    except Exception as error:
        raise fit_failed(error) from error


def fit_family(family_path: str, spec: FitSpec, train: Matrix, validation: Matrix) -> Trained:
    """Fit and pack a model; errors of the family's own come out as they are."""
    for name, rows in (("train", train), ("validation", validation)):
        _require_numbers(name, rows)
    model, history = load_matrix_family(family_path).fit(train, validation, spec)
    return Trained(model.files(), dataclasses.asdict(history))


def fit_failed(error: BaseException) -> ModelError:
    """Return the error for a fit that ended with an error of another package."""
    return ModelError("The fit failed", found=f"{type(error).__name__}: {error}")


def _require_numbers(name: str, rows: Matrix) -> None:
    bad = int(np.count_nonzero(~np.isfinite(rows.y)))
    if bad:
        raise DataError(
            f"The {name} rows have labels that are not numbers",
            found=f"{bad} of {len(rows)}",
            next_step="exclude the entities without a known label in labels.sql",
        )
