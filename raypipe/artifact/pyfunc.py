"""Load an exported version for MLflow: `mlflow.pyfunc.load_model("models:/churn/1").predict(matrix)`."""

from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.artifact import folders
from raypipe.artifact.package import Package, load_package
from raypipe.errors import ModelError


class Scorer:
    """Score the matrix that a version's contract makes of a features query."""

    def __init__(self, package: Package) -> None:
        self._package = package

    def predict(self, data: Any, params: Any = None) -> npt.NDArray[np.float32]:
        """Return scores (rows,) for a matrix (rows, features), or for a data frame with the contract's columns.

        Raises:
            ModelError: columns are missing.
        """
        columns = self._package.contract.columns
        if hasattr(data, "columns"):
            missing = [name for name in columns if name not in data.columns]
            if missing:
                raise ModelError("The data frame lacks columns of the model", found=f"no {', '.join(missing)}")
            data = data[list(columns)]
        return self._package.model.predict(np.ascontiguousarray(data, np.float32))


def _load_pyfunc(path: str) -> Scorer:
    """Load the only artifact under a folder, after verifying every byte and the golden rows."""
    names = [folder.name for folder in folders.artifact_folders(path)]
    if len(names) != 1:
        raise ModelError("The folder holds no exported version", found=f"{len(names)} artifacts in {path}", allowed="1")
    return Scorer(load_package(path, names[0], None))
