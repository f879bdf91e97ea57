"""Types as text."""

from __future__ import annotations

from raypipe.clickhouse.column_types import bare


def test_only_what_wraps_a_type_is_taken_off() -> None:
    assert bare("LowCardinality(Nullable(FixedString(2)))") == "FixedString(2)"
    assert bare("Array(Nullable(String))") == "Array(Nullable(String))"
    assert bare("SimpleAggregateFunction(anyLast, Nullable(String))") == "String"
