"""Compare a fitted version of the synthetic publisher with the best reachable result on its test rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.config.load import Loaded
from raypipe.demo.reachable import COMPARED, measure


def require_within_reach(client: Client, loaded: Loaded, test: Mapping[str, Any], *metrics: str) -> None:
    """Assert that the truth scored the same test rows, is not beaten by more than noise, and is not perfect."""
    found = {one.metric: one for one in measure(client, loaded)}
    assert found.keys() == set(metrics)
    for name, one in found.items():
        low, high = one.model["low"], one.model["high"]
        assert low is not None
        assert high is not None
        assert one.best is not None
        assert one.rows == test["users" if test["kind"] == "ranking" else "rows"]
        assert one.model == test[name]
        assert one.best > low if COMPARED[name] else one.best < high
        assert one.best < 0.99 or name == "rmse"
        assert one.baseline
