"""Prepare the rows of an Arrow insert, and refuse what the server would change in silence.

ClickHouse's Arrow reader drops a column that the table does not have. It moves a date out of range to the nearest
date that fits, whatever the settings are. Both are therefore checked before anything is sent.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raypipe.clickhouse.column_types import arrow_type, bare
from raypipe.clickhouse.server_errors import MEMORY_LIMIT
from raypipe.errors import DataError, ServerError

_LONG = (date(1900, 1, 1), date(2299, 12, 31))
# The first and last day that each type holds whole.
RANGES = {
    "Date": (date(1970, 1, 1), date(2149, 6, 6)),
    "Date32": _LONG,
    "DateTime": (date(1970, 1, 1), date(2106, 2, 6)),
    "DateTime64": _LONG,
}
# Arrow inserts otherwise turn a NULL into 0, and a missing column into its default, in silence. Not every server
# obeys all of these settings; names and ranges are checked on every server.
STRICT = {
    "async_insert": 0,
    "input_format_null_as_default": 0,
    "input_format_arrow_allow_missing_columns": 0,
    "input_format_skip_unknown_fields": 0,
    "date_time_overflow_behavior": "throw",
}
# Newer servers have more switches of deduplication, which outweigh `insert_deduplicate` and may be off in a profile. A
# SELECT that reads the rows of its request yields the same rows each time, which not every server sees.
NEWER_SWITCHES = {
    "deduplicate_insert": "enable",
    "deduplicate_insert_select": "enable_even_for_bad_queries",
    "insert_select_deduplicate": 1,
}
# ClickHouse cuts a block of more rows by default.
BLOCK_ROWS = 1_048_449
SMALLEST_CHUNK = 1000


def settings(rows: int, token: str | None, known: Collection[str]) -> dict[str, Any]:
    """Return the settings of an insert.

    Args:
        token: the deduplication token, or None.
        known: the names of the server's settings.
    """
    options: dict[str, Any] = {**STRICT, "max_insert_block_size": max(rows, BLOCK_ROWS), "max_insert_threads": 1}
    if token is not None:
        options |= {"insert_deduplication_token": token, "insert_deduplicate": 1}
        options |= {name: value for name, value in NEWER_SWITCHES.items() if name in known}
    return options


def one_block(rows: int) -> dict[str, int]:
    """Return the settings that make one block of the rows that a SELECT yields."""
    return {"min_insert_block_size_rows": max(rows, BLOCK_ROWS), "min_insert_block_size_bytes": 0}


def in_halves(rows: pa.Table, insert: Callable[[pa.Table], None]) -> None:
    """Insert rows by one call, or by halves where the server is short of memory."""
    try:
        insert(rows)
    except ServerError as error:
        if error.code != MEMORY_LIMIT or rows.num_rows < 2 * SMALLEST_CHUNK:
            raise
        half = rows.num_rows // 2
        in_halves(rows.slice(0, half), insert)
        in_halves(rows.slice(half), insert)


def arrow_rows(rows: Sequence[Mapping[str, Any]], types: Mapping[str, str]) -> pa.Table:
    """Return rows with equal keys as an Arrow table, typed by the ClickHouse type of each column."""
    return pa.table({name: pa.array([row[name] for row in rows], arrow_type(types.get(name, ""))) for name in rows[0]})


def arrow_stream(data: pa.Table, compression: str | None) -> pa.Buffer:
    """Return the table as an Arrow stream of one record batch: ClickHouse makes a block of each, which is atomic."""
    batches = data.combine_chunks().to_batches()

    def write(sink: pa.NativeFile) -> None:
        with pa.ipc.new_stream(sink, data.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            for batch in batches:
                writer.write_batch(batch)

    if compression:
        sink = pa.BufferOutputStream()
        write(sink)
        return sink.getvalue()
    # A growing buffer would be copied each time, and end with half of its memory unused.
    measured = pa.MockOutputStream()
    write(measured)
    buffer = pa.allocate_buffer(measured.size())
    write(pa.FixedSizeBufferWriter(buffer))
    return buffer


class Rows(bytes):
    """A body that is not text: the driver decodes others, to look for a SELECT that it may repeat."""

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return no text: the body is not SQL."""
        return ""


def is_temporal(schema: pa.Schema) -> bool:
    """Return whether any column holds dates or times."""
    return any(pa.types.is_temporal(field.type) for field in schema)


def require_names(table: str, columns: Sequence[str], given: Sequence[str]) -> None:
    """Refuse data that does not have exactly a table's columns.

    Raises:
        DataError: names the columns that are missing, and those that the table does not have.
    """
    missing = [name for name in columns if name not in given]
    unknown = [name for name in given if name not in columns]
    if missing or unknown:
        parts = [f"no {', '.join(missing)}"] * bool(missing) + [f"unknown {', '.join(unknown)}"] * bool(unknown)
        raise DataError(
            f"The rows for {table} do not have its columns",
            found="; ".join(parts),
            allowed=", ".join(columns),
            next_step="rename the columns of the rows, or run `raypipe migrate --check` for a table of raypipe's",
        )


def require_ranges(table: str, data: pa.Table, types: Mapping[str, str]) -> None:
    """Refuse dates and times that the table's ClickHouse types, by column, cannot hold."""
    for name in data.schema.names:
        bounds = RANGES.get(bare(types.get(name, "")).partition("(")[0])
        if bounds is None or not pa.types.is_temporal(data.schema.field(name).type):
            continue
        extremes = pc.min_max(data.column(name)).as_py()
        for value in extremes.values():
            if value is not None and not bounds[0] <= _day(value) <= bounds[1]:
                raise DataError(
                    f"A date does not fit into the column {name} of {table}",
                    found=value.isoformat(),
                    allowed=f"{bounds[0].isoformat()} to {bounds[1].isoformat()} ({types[name]})",
                    next_step=f"correct the date, or give {name} a type with a wider range",
                )


def _day(value: date | datetime) -> date:
    return value.date() if isinstance(value, datetime) else value
