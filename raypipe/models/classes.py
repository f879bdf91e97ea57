"""Answer with a class per row: the part that all models of more than two classes share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from raypipe.models.model import Answer, FloatArray, Model, Rows

# The columns of staging beside the score, which publish.sql reads.
PREDICTED, PROBABILITIES = "predicted", "probabilities"
# The parameter of publish.sql with the names of the classes, in the order of the probabilities.
NAMES = "classes"


class ClassModel(ABC):
    """A model of several classes; its score is the probability of the predicted class.

    Attributes:
        classes: the names, in the order of the probabilities.
    """

    classes: tuple[str, ...]
    outputs: ClassVar[Mapping[str, str]] = {PREDICTED: "String", PROBABILITIES: "Array(Float32)"}

    @property
    def values(self) -> Mapping[str, Any]:
        """Return the names of the classes, for publish.sql."""
        return {NAMES: list(self.classes)}

    @abstractmethod
    def probabilities(self, x: FloatArray) -> FloatArray:
        """Return the probability of each class, (rows, classes)."""

    def predict(self, x: FloatArray) -> FloatArray:
        """Return the probability of the predicted class, (rows,)."""
        highest: FloatArray = self.probabilities(x).max(axis=1)
        return highest

    def answer(self, rows: Rows) -> Answer:
        """Return the predicted class of each row, with all probabilities."""
        chances = self.probabilities(rows.x)
        predicted = pa.array(self.classes, pa.string()).take(pa.array(chances.argmax(axis=1)))
        offsets = pa.array(np.arange(len(chances) + 1) * len(self.classes), pa.int32())
        listed = pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(chances, np.float32).ravel()))
        return Answer(chances.max(axis=1), {PREDICTED: predicted, PROBABILITIES: listed})


def predictions(model: Model, x: FloatArray) -> FloatArray:
    """Return what an evaluation judges: probabilities (rows, classes) of classes, otherwise scores (rows,)."""
    return model.probabilities(x) if isinstance(model, ClassModel) else model.predict(x)
