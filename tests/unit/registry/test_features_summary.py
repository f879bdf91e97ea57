from __future__ import annotations

import numpy as np
import pytest

from raypipe.registry.features import summarise


def test_statistics_leave_missing_and_infinite_values_out() -> None:
    x = np.array([[1, np.nan], [3, np.nan], [np.nan, np.nan], [np.inf, np.nan]], np.float32)
    some, none = summarise(x, ["some", "none"], [0.9, 0.1])
    assert (some.minimum, some.maximum, some.mean, some.std) == (1, 3, 2, 1)
    assert (none.minimum, none.maximum, none.mean, none.std) == (0, 0, 0, 0)
    assert some.importance == pytest.approx(0.9)
