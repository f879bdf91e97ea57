"""Test the order of a night's pipelines."""

from __future__ import annotations

import pytest

from raypipe.config.order import ordered
from raypipe.errors import ConfigError


def test_a_pipeline_comes_behind_those_that_it_names() -> None:
    after = {
        "clicks": ("recommendation",),
        "ads": (),
        "recommendation": ("segmentation", "features"),
        "segmentation": (),
    }
    order = ordered(after)
    assert sorted(order) == sorted(after)
    assert order.index("segmentation") < order.index("recommendation") < order.index("clicks")


def test_a_pipeline_that_is_not_run_tonight_is_not_waited_for() -> None:
    assert ordered({"clicks": ("recommendation",)}) == ["clicks"]


def test_pipelines_that_wait_for_each_other_are_named() -> None:
    with pytest.raises(ConfigError, match=r"a → b → a|b → a → b"):
        ordered({"a": ("b",), "b": ("a",), "c": ()})
