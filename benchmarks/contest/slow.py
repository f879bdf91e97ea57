"""A slow model for benchmarks/nodes.py: XGBoost whose predictions wait for each row, without using a CPU."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from raypipe.models.model import FloatArray
from raypipe.models.xgboost import XGBoost, XGBoostModel

# Microseconds per row; the environment of the nodes sets it.
VARIABLE = "BENCH_WAIT"


class SlowModel(XGBoostModel):
    """Wait for each row, then score as XGBoost does."""

    def predict(self, x: FloatArray) -> FloatArray:
        """Return the scores."""
        time.sleep(len(x) * float(os.environ.get(VARIABLE, "0")) / 1e6)
        return super().predict(x)


class Slow(XGBoost):
    """Load models that wait."""

    def from_files(self, files: Mapping[str, bytes]) -> SlowModel:
        """Return the model of these files."""
        return SlowModel(super().from_files(files)._booster)
