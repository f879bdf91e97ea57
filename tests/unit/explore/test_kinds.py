"""Test the kind of a column, from its ClickHouse type."""

from __future__ import annotations

import pytest

from raypipe.explore.kinds import kind_of, sentinel


@pytest.mark.parametrize(
    ("type_", "kind", "missing"),
    [
        ("UInt8", "number", "0"),
        ("Nullable(Decimal(18, 4))", "number", "0"),
        ("SimpleAggregateFunction(sum, UInt64)", "number", "0"),
        ("Bool", "flag", ""),
        ("LowCardinality(Nullable(String))", "text", "''"),
        ("UUID", "text", "the nil UUID"),
        ("Enum8('a' = 1, 'b)' = 2)", "text", ""),
        ("DateTime64(3, 'Europe/Berlin')", "time", "1970-01-01"),
        ("Nullable(Date32)", "time", "1970-01-01"),
        ("Array(Nullable(String))", "list", "[]"),
        ("Map(String, UInt64)", "list", "[]"),
        ("Tuple(a String, b UInt8)", "other", ""),
        ("AggregateFunction(uniq, String)", "other", ""),
        ("JSON", "other", ""),
        ("AType That Comes Later(1)", "other", ""),
    ],
)
def test_a_type_has_a_kind_and_a_value_that_may_stand_for_missing(type_: str, kind: str, missing: str) -> None:
    assert (kind_of(type_), sentinel(type_)) == (kind, missing)
