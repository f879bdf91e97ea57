"""What an Arrow insert would change in silence: columns that do not match, and dates beyond a type's range.

ClickHouse's Arrow reader drops a column that the table does not have and moves a date out of range to the
nearest one that fits, whatever the settings say. So both are checked before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from raypipe.clickhouse.types import bare
from raypipe.errors import DataError

_LONG = (date(1900, 1, 1), date(2299, 12, 31))
# The range of days that each type holds whole.
RANGES = {
    "Date": (date(1970, 1, 1), date(2149, 6, 6)),
    "Date32": _LONG,
    "DateTime": (date(1970, 1, 1), date(2106, 2, 6)),
    "DateTime64": _LONG,
}


def is_temporal(schema: pa.Schema) -> bool:
    """Whether any column holds dates or times."""
    return any(pa.types.is_temporal(field.type) for field in schema)


def require_names(table: str, wanted: Sequence[str], found: Sequence[str]) -> None:
    """Refuses data whose columns are not exactly the wanted ones.

    Raises:
        DataError: naming what is missing and what the table does not have.
    """
    missing = [name for name in wanted if name not in found]
    unknown = [name for name in found if name not in wanted]
    if missing or unknown:
        parts = [f"no {', '.join(missing)}"] * bool(missing) + [f"unknown {', '.join(unknown)}"] * bool(unknown)
        raise DataError(
            f"The rows for {table} do not have its columns", found="; ".join(parts), allowed=", ".join(wanted)
        )


def require_ranges(table: str, data: pa.Table, types: Mapping[str, str]) -> None:
    """Refuses dates and times that the table's types cannot hold.

    Args:
        table: the table's name, for the error.
        data: the rows.
        types: the ClickHouse type of each column.
    """
    for name in data.schema.names:
        bounds = RANGES.get(bare(types.get(name, "")).partition("(")[0])
        if bounds is None or not pa.types.is_temporal(data.schema.field(name).type):
            continue
        extremes = pc.min_max(data.column(name)).as_py()
        for value in extremes.values():
            if value is not None and not bounds[0] <= _day(value) <= bounds[1]:
                raise DataError(
                    f"The column {name} of {table} cannot hold a date that is to be written there",
                    found=value.isoformat(),
                    allowed=f"{bounds[0].isoformat()} to {bounds[1].isoformat()} ({types[name]})",
                )


def _day(value: date | datetime) -> date:
    return value.date() if isinstance(value, datetime) else value
