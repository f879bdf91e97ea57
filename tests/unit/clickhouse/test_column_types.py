"""Types as text."""

from __future__ import annotations

import pyarrow as pa
import pytest

from raypipe.clickhouse.column_types import arrow_type, bare


def test_only_what_wraps_a_type_is_taken_off() -> None:
    assert bare("LowCardinality(Nullable(FixedString(2)))") == "FixedString(2)"
    assert bare("Array(Nullable(String))") == "Array(Nullable(String))"
    assert bare("SimpleAggregateFunction(anyLast, Nullable(String))") == "String"


@pytest.mark.parametrize(
    ("type_", "arrow"),
    [
        ("String", pa.string()),
        ("LowCardinality(Nullable(String))", pa.string()),
        ("UInt64", pa.uint64()),
        ("Date", pa.date32()),
        ("DateTime('UTC')", pa.timestamp("s", "UTC")),
        ("Nullable(DateTime64(6, 'UTC'))", pa.timestamp("us", "UTC")),
        ("Array(String)", pa.list_(pa.string())),
        ("Enum8('a' = 1)", None),
    ],
)
def test_a_column_takes_the_arrow_type_of_its_values(type_: str, arrow: pa.DataType | None) -> None:
    assert arrow_type(type_) == arrow
