"""Filling and scaling for scikit-learn's estimators that take neither missing values nor columns of any unit."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import ConfigError
from raypipe.models.protocol import FloatArray

Steps = list[tuple[str, Any]]


def prepare(x: FloatArray, precision: type) -> tuple[Steps, npt.NDArray[Any]]:
    """Fitted steps of a pipeline, and the matrix after them; `x` itself is left as it is.

    Columns are standardised; a constant one becomes zeros.

    Args:
        x: (rows, columns), with NaN for missing values; they become the column's median, and 0 where it has none.
        precision: of the resulting matrix.
    """
    filler = library("sklearn.impute").SimpleImputer(strategy="median", keep_empty_features=True)
    # The median of a single row is the row. By itself scikit-learn takes ten times as long, on a masked copy of all.
    filler.fit(np.array([[_median(x[:, at]) for at in range(x.shape[1])]], x.dtype))
    # In place, since filling made a copy.
    scaler = library("sklearn.preprocessing").StandardScaler(copy=False)
    scaled = scaler.fit_transform(filler.transform(x).astype(precision, copy=False))
    return [("fill", filler), ("scale", scaler)], scaled


def library(module: str) -> Any:
    """A module of scikit-learn.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            "The model class needs scikit-learn, which is not installed",
            next_step="pip install 'scikit-learn>=1.9' 'skops>=0.16' (the extra `sklearn`)",
        ) from error


def _median(column: FloatArray) -> float:
    present = column[~np.isnan(column)]
    return float(np.median(present)) if len(present) else np.nan
