"""Test the body of an insert, and dates outside a column's range, in every wrapped type."""

from __future__ import annotations

from datetime import date, datetime

import pyarrow as pa
import pytest

from raypipe.clickhouse.inserts import arrow_stream, require_ranges
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


@pytest.mark.parametrize("compression", [None, "lz4"])
@pytest.mark.parametrize("rows", [0, 1, 5_000])
def test_a_body_is_one_batch_of_all_rows(rows: int, compression: str | None) -> None:
    part = pa.table(
        {"id": [f"reader {number}" for number in range(rows)], "score": pa.array([0.5] * rows, pa.float32())}
    )
    data = pa.concat_tables([part, part])
    batches = list(pa.ipc.open_stream(arrow_stream(data, compression)))
    assert len(batches) == min(1, rows)
    assert pa.Table.from_batches(batches, data.schema).equals(data)


def test_the_body_of_a_chunk_takes_no_more_memory_than_its_rows() -> None:
    data = pa.table({"id": [f"reader {number}" for number in range(100_000)]})
    before = pa.default_memory_pool().bytes_allocated()
    body = arrow_stream(data, None)
    assert pa.default_memory_pool().bytes_allocated() - before < body.size + 4096
    # A buffer that grows ends with the next power of two.
    assert body.size < 1.02 * data.nbytes
