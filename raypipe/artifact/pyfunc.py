"""What MLflow calls to load an exported version: `mlflow.pyfunc.load_model("models:/churn/1").predict(matrix)`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.artifact import storage
from raypipe.artifact.package import Package, load_package
from raypipe.errors import ModelError


class Scorer:
    """A version's model, taking the matrix that its contract makes of a features query."""

    def __init__(self, package: Package) -> None:
        self._package = package

    def predict(self, data: Any, params: Any = None) -> npt.NDArray[np.float32]:
        """Scores of shape (rows,) from a matrix of shape (rows, features), or a data frame with the contract's columns.

        Raises:
            ModelError: columns are missing.
        """
        columns = self._package.contract.columns
        if hasattr(data, "columns"):
            missing = [name for name in columns if name not in data.columns]
            if missing:
                raise ModelError("The model's columns are not all there", found=f"no {', '.join(missing)}")
            data = data[list(columns)]
        return self._package.model.predict(np.ascontiguousarray(data, np.float32))


def _load_pyfunc(path: str) -> Scorer:
    """The version under an artifacts' folder of its own, once every byte and the golden rows are verified."""
    names = [one.name for one in storage.stored(path)]
    if len(names) != 1:
        raise ModelError("Not an exported version", found=f"{len(names)} artifacts in {path}", allowed="one")
    return Scorer(load_package(path, names[0]))
