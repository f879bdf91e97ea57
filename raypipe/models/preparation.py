"""Fill and scale columns for estimators that take no missing values and compare columns by their size."""

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import ConfigError
from raypipe.models.chunks import CHUNK_ROWS
from raypipe.models.model import FloatArray

Steps = list[tuple[str, Any]]


def prepare(x: FloatArray, precision: type) -> tuple[Steps, npt.NDArray[Any]]:
    """Return fitted pipeline steps, and the matrix after these steps; `x` itself stays unchanged.

    Columns are standardised; a constant column becomes zeros.

    Args:
        x: (rows, columns), with NaN for missing values. They become the column's median, or 0 in an empty column.
        precision: the type of the resulting matrix.
    """
    filler = library("sklearn.impute").SimpleImputer(strategy="median", keep_empty_features=True)
    # The median of a single row is the row. scikit-learn's own median takes ten times as long, on a masked copy.
    filler.fit(np.array([[_median(x[:, at]) for at in range(x.shape[1])]], x.dtype))
    scaler = library("sklearn.preprocessing").StandardScaler(copy=False)
    scaled: npt.NDArray[Any] = np.empty(x.shape, precision)
    # Piece by piece, since filling and scaling each make copies of what they get.
    pieces = [slice(start, start + CHUNK_ROWS) for start in range(0, len(x), CHUNK_ROWS)]
    for piece in pieces:
        scaled[piece] = filler.transform(x[piece])
        scaler.partial_fit(scaled[piece])
    for piece in pieces:
        scaled[piece] = scaler.transform(scaled[piece])
    return [("fill", filler), ("scale", scaler)], scaled


def library(module: str) -> Any:
    """Import a module of scikit-learn.

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


def one_blas_thread() -> Any:
    """Return a context with a single thread of BLAS; several would wait for each other longer than they compute."""
    return library("threadpoolctl").threadpool_limits(1, user_api="blas")


def _median(column: FloatArray) -> float:
    present = column[~np.isnan(column)]
    return float(np.median(present)) if len(present) else np.nan
