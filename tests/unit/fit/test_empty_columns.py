"""Test what a fit says about features without a value on some of its training days."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any

from raypipe.artifact.contract import Contract, FrozenFeature
from raypipe.fit import empty_columns

AUGUST, OCTOBER = date(2026, 8, 30), date(2026, 10, 29)
TIER = FrozenFeature("tier", "category", "String", "onehot", ("free", "paid"))
READS, VISITS = (FrozenFeature(name, "number", "Float32") for name in ("reads", "visits"))
CONTRACT = Contract(("user",), ("String",), (), (), (READS, TIER, VISITS))
ROWS = {AUGUST: 1200, OCTOBER: 800}


def sentences(missing: dict[date, list[int]], table: str = "customer_user_features") -> list[str]:
    recipe: Any = SimpleNamespace(features_sql=SimpleNamespace(text=f"SELECT * FROM {table}"))
    return list(empty_columns._sentences(recipe, CONTRACT, ROWS, missing))


def test_features_are_named_with_the_rows_the_days_and_the_command_that_fills_them() -> None:
    assert sentences({AUGUST: [1200, 0, 0, 1200], OCTOBER: [5, 0, 0, 5]}) == [
        "features without any value in 1,200 of 2,000 training rows, of 2026-08-30, are unknown to the model there:"
        " reads, visits; fill them with `raypipe features --date 2026-08-30 --backfill 1`, and fit again"
    ]


def test_features_that_are_empty_on_other_days_are_another_sentence() -> None:
    first, second = sentences({AUGUST: [1200, 0, 0, 1200], OCTOBER: [0, 0, 0, 800]})
    assert "2026-08-30, are unknown to the model there: reads;" in first
    assert "2,000 of 2,000 training rows, of 2026-08-30, 2026-10-29, are left out: visits;" in second
    assert "--date 2026-10-29 --backfill 61`" in second


def test_a_category_counts_as_empty_only_without_a_value_in_any_of_its_columns() -> None:
    assert sentences({AUGUST: [0, 1200, 1199, 0], OCTOBER: [0, 800, 0, 0]}) == []


def test_a_pipeline_over_another_table_gets_no_command() -> None:
    (sentence,) = sentences({AUGUST: [1200, 0, 0, 0], OCTOBER: [800, 0, 0, 0]}, "contracts")
    assert sentence.endswith("are left out: reads; fit again once they are filled")
