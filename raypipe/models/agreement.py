"""Compare scores with the scores that they should be."""

import numpy as np
import numpy.typing as npt


def difference(scores: npt.NDArray[np.floating], expected: npt.NDArray[np.floating], tolerance: float) -> str:
    """Describe how scores differ; '' where all agree.

    Args:
        tolerance: the allowed difference, absolute, or relative to scores above 1. Equal infinities and NaN agree.
    """
    own, other = scores.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        distance = np.abs(own - other)
    # A NaN fails the comparison, and agrees only with a NaN.
    same = (distance <= tolerance * np.maximum(1.0, np.abs(other))) | (own == other) | (np.isnan(own) & np.isnan(other))
    if same.all():
        return ""
    return f"{np.count_nonzero(~same)} of {len(same)} rows differ, by up to {np.nanmax(distance, initial=0.0):.3g}"
