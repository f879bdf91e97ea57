"""Test the sections `monitor` and `expect`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from raypipe.config import Loaded
from raypipe.errors import ConfigError

Load = Callable[..., Loaded]


def refused(load: Load) -> str:
    with pytest.raises(ConfigError) as caught:
        load()
    return str(caught.value)


def test_a_pipeline_may_ignore_a_feature_and_watch_slices(load: Load, pipeline: dict[str, Any]) -> None:
    name = "sessions"
    pipeline["monitor"] = {"features": {name: {"ignore": True}, "score": {"psi_alert": 0.5}}, "slices": ["brand_id"]}
    monitor = load().config.monitor
    assert (monitor.reference, monitor.slices) == ("night", ("brand_id",))
    assert monitor.features[name].ignore
    assert (monitor.features["score"].psi_alert, monitor.features["score"].psi_warning) == (0.5, None)


@pytest.mark.parametrize(
    ("monitor", "reason"),
    [
        ({"reference": "yesterday"}, "allowed: night, weekday, fit"),
        ({"features": {"nobody": {"ignore": True}}}, "is not a feature"),
        ({"features": {"score": {"psi_warning": 0.5, "psi_alert": 0.4}}}, "is not above psi_warning"),
        ({"psi_warning": 0.3}, "is not above psi_warning"),
        ({"slices": ["brand_id", "brand_id"]}, "repeats a value"),
    ],
)
def test_a_monitor_that_cannot_be_meant_is_refused(
    load: Load, pipeline: dict[str, Any], monitor: dict[str, Any], reason: str
) -> None:
    pipeline["monitor"] = monitor
    assert reason in refused(load)


@pytest.mark.parametrize(
    ("expect", "reason"),
    [
        ({"columns": {"a": {}}}, "expects nothing"),
        ({"columns": {"a": {"fail": "warn"}}}, "expects nothing"),
        ({"columns": {"a": {"range": [2, 1]}}}, "is empty"),
        ({"columns": {"a": {"range": [1]}}}, "must not be empty"),
        ({"columns": {"a": {"missing": 1.5}}}, "less than or equal to 1"),
        ({"columns": {"a": {"allowed": ["x", "x"]}}}, "repeats a value"),
        ({"freshness": {"column": "a"}}, "is required with its pair"),
        ({"volume": {"least": 2.0, "most": 1.0}}, "is not below most"),
        ({"volumes": {}}, "did you mean volume?"),
    ],
)
def test_an_expectation_that_cannot_be_meant_is_refused(
    load: Load, pipeline: dict[str, Any], expect: dict[str, Any], reason: str
) -> None:
    pipeline["expect"] = expect
    assert reason in refused(load)


def test_expectations_name_the_columns_that_they_read_once(load: Load, pipeline: dict[str, Any]) -> None:
    pipeline["expect"] = {
        "freshness": {"column": "seen_on", "column_days": 2},
        "unique": ["user_id"],
        "columns": {"user_id": {"missing": 0}, "sessions": {"zeros": 0.5, "range": [0, 10]}},
    }
    expect = load().config.expect
    assert expect.names == ("seen_on", "user_id", "sessions")
    assert expect.columns["sessions"].fail == "refuse"
