"""Test dates outside a column's range, in every wrapped type."""

from __future__ import annotations

from datetime import date, datetime

import pyarrow as pa
import pytest

from raypipe.clickhouse.inserts import require_ranges
from raypipe.errors import DataError

DAYS = pa.table({"day": pa.array([date(2026, 1, 31), None, date(1969, 12, 31)])})


@pytest.mark.parametrize(
    "type_",
    [
        "Date",
        "Nullable(Date)",
        "LowCardinality(Nullable(Date))",
        "DateTime('UTC')",
        "SimpleAggregateFunction(max, DateTime)",
    ],
)
def test_a_date_before_the_types_first_is_refused(type_: str) -> None:
    with pytest.raises(DataError, match="into the column day of t") as refused:
        require_ranges("t", DAYS, {"day": type_})
    assert (refused.value.found, type_ in str(refused.value)) == ("1969-12-31", True)


@pytest.mark.parametrize("type_", ["Date32", "DateTime64(3)", "Nullable(DateTime64(3, 'UTC'))", "String"])
def test_a_date_that_fits_is_let_through(type_: str) -> None:
    require_ranges("t", DAYS, {"day": type_})


def test_a_time_after_the_types_last_day_is_refused() -> None:
    late = pa.table({"at": pa.array([datetime(2106, 2, 7)], pa.timestamp("us"))})
    with pytest.raises(DataError, match="2106-02-07"):
        require_ranges("t", late, {"at": "DateTime"})
