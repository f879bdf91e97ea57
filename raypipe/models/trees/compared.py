"""Compare the first rows that compiled trees score with the library's answer."""

from collections.abc import Callable

from raypipe.errors import PredictorDiffers
from raypipe.models.agreement import difference
from raypipe.models.model import FloatArray

# The golden rows and the first few thousand rows of each process, in a few hundredths of a second.
COMPARED_ROWS = 5000
# Absolute, or relative to scores above 1.
TOLERANCE = 1e-6


class Comparison:
    """Compares scores until it has seen COMPARED_ROWS rows."""

    def __init__(self, library: Callable[[FloatArray], FloatArray]) -> None:
        self._library = library
        self._left = COMPARED_ROWS

    def check(self, x: FloatArray, scores: FloatArray) -> None:
        """Compare the scores of a matrix, while rows are left to compare.

        Raises:
            PredictorDiffers: a score differs from the library's by more than TOLERANCE.
        """
        if self._left <= 0:
            return
        rows = min(self._left, len(x))
        self._left -= rows
        differing = difference(scores[:rows], self._library(x[:rows]), TOLERANCE)
        if differing:
            raise PredictorDiffers(
                "The compiled trees do not score as the library does",
                found=differing,
                allowed=f"a difference of {TOLERANCE:g}",
                next_step="the run has to be scored by the library alone, as `raypipe score` does by itself",
            )
