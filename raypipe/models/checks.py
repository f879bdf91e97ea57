"""Refuse rows, parameters and files that a family cannot use."""

from collections.abc import Iterable, Mapping

import numpy as np

from raypipe.errors import ConfigError, DataError, ModelError
from raypipe.models.model import FloatArray, Matrix

BALANCES = ("none", "scale_pos_weight")


def require_training_rows(rows: int) -> None:
    """Refuse to fit without rows."""
    if not rows:
        raise DataError("There are no training rows", next_step="check the dates and the filters of features.sql")


def require_validation_rows(validation: Matrix) -> None:
    """Refuse early stopping without validation rows."""
    if not len(validation):
        raise DataError(
            "Early stopping has no validation rows",
            next_step="raise split.validation_share, or set model.early_stopping_rounds to 0",
        )


def require_both_classes(positives: float, rows: float) -> None:
    """Refuse binary labels of a single class."""
    if not 0 < positives < rows:
        raise DataError(
            "The training rows have labels of a single class",
            found=f"{positives:.0f} positives in {rows:.0f} rows",
            next_step="check labels.sql and the horizon, or fit on more snapshots",
        )


def require_labels(y: FloatArray, kind: str, classes: int) -> None:
    """Refuse labels that a label of this kind cannot have, and classification with a single class."""
    if kind == "number":
        return
    count = 2 if kind == "binary" else classes
    other = y[~np.isin(y, np.arange(count))]
    if len(other):
        raise DataError(
            f"label.kind is {kind}, but the labels are not",
            found=f"{len(other):,} of {len(y):,} labels are none of the {count} classes, such as {other[0]:g}",
            allowed=f"0 to {count - 1}",
            next_step="correct labels.sql, or label.kind",
        )
    present = len(np.unique(y))
    if present < 2:
        raise DataError(
            "The training rows have labels of a single class",
            found=f"{len(y)} rows of class {y[0]:g}",
            next_step="check labels.sql and the horizon, or fit on more snapshots",
        )


def require_kind(family: str, kind: str, allowed: Iterable[str]) -> None:
    """Refuse a label of a kind that a family has no model for."""
    if kind not in allowed:
        raise ConfigError(
            f"{family} has no model for a label of this kind",
            found=f"label.kind: {kind}",
            allowed=" or ".join(allowed),
            next_step="leave `model` out, or use XGBoost, for any kind; LogisticRegression for binary,"
            " Ridge for numbers, RandomForest or MLP for either",
        )


def require_balance(balance: str, kind: str) -> None:
    """Refuse an unknown way to balance classes, and a label without classes."""
    if balance not in BALANCES:
        raise ConfigError("model.balance is unknown", found=balance, allowed=", ".join(BALANCES))
    if balance != "none" and kind != "binary":
        raise ConfigError("model.balance needs a binary label", found=f"label.kind: {kind}", allowed="none")


def require_parameters(
    params: Iterable[str], estimator: type, instead: Mapping[str, str], own: tuple[str, ...] = ()
) -> None:
    """Refuse parameters that a scikit-learn estimator does not take.

    Args:
        instead: parameters that raypipe does not pass on, with the advice to give.
        own: raypipe's own parameters, for the error.
    """
    allowed = sorted(set(estimator().get_params()) - instead.keys())
    unknown = sorted(set(params) - set(allowed))
    if unknown:
        hints = [instead[name] for name in unknown if name in instead]
        raise ConfigError(
            f"model.params has names that {estimator.__name__} does not take",
            found=", ".join(unknown),
            allowed=", ".join([*own, *allowed]),
            next_step="; ".join(hints) or "correct the name in model.params, or remove it",
        )


def require_features(x: FloatArray, features: int) -> None:
    """Refuse a matrix with another number of columns than the model has features."""
    if x.ndim != 2 or x.shape[1] != features:
        raise ModelError(
            "The matrix does not have the model's features",
            found=f"shape {x.shape}",
            allowed=f"(rows, {features})",
            next_step="score with the contract that is stored with the model",
        )


def required_file(files: Mapping[str, bytes], name: str) -> bytes:
    """Return a file of an artifact, or refuse an artifact without it."""
    if name not in files:
        raise ModelError(f"The artifact has no {name}", found=", ".join(sorted(files)) or "no files")
    return files[name]
