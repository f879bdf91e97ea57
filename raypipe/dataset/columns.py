"""Give rows the columns and types of their table, and refuse what ClickHouse would change in silence."""

from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from raypipe.clickhouse.column_types import arrow_type, bare
from raypipe.clickhouse.inserts import require_ranges
from raypipe.clickhouse.tables import Table
from raypipe.errors import DataError

# ClickHouse casts an integer that does not fit to another integer.
_NUMBERS = {
    "Bool": pa.bool_(),
    **{f"{sign}{bits}": getattr(pa, f"{sign.lower()}{bits}")() for sign in ("Int", "UInt") for bits in (8, 16, 32, 64)},
    "Float32": pa.float32(),
    "Float64": pa.float64(),
}
_ARRAY = "Array("
_NULLABLE = ("Nullable(", "LowCardinality(Nullable(", "Variant(", "Dynamic", "JSON")


def _is_number(kind: pa.DataType) -> bool:
    return bool(kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind))


def _is_text(kind: pa.DataType) -> bool:
    plain = kind.value_type if kinds.is_dictionary(kind) else kind
    return bool(kinds.is_string(plain) or kinds.is_large_string(plain) or kinds.is_binary(plain))


def _is_time(kind: pa.DataType) -> bool:
    return bool(kinds.is_date(kind) or kinds.is_timestamp(kind))


_FAMILIES: Mapping[str, Callable[[pa.DataType], bool]] = {
    **dict.fromkeys(_NUMBERS, _is_number),
    "String": _is_text,
    "FixedString": _is_text,
    **dict.fromkeys(("Date", "Date32", "DateTime", "DateTime64"), _is_time),
}


def types_of(table: Table) -> dict[str, str]:
    """Return the type of each column that an insert may fill."""
    return {column.name: column.type for column in table.columns if column.default_kind in ("", "DEFAULT")}


def _require_names(table: Table, given: pa.Schema) -> None:
    """Refuse rows that lack a column without a default, or that have an unknown column.

    Raises:
        DataError: names the columns.
    """
    known = types_of(table)
    needed = [column.name for column in table.columns if column.default_kind == ""]
    missing = [name for name in needed if name not in given.names]
    unknown = [name for name in given.names if name not in known]
    if missing or unknown or len(set(given.names)) < len(given.names):
        parts = [f"no {', '.join(missing)}"] * bool(missing) + [f"unknown {', '.join(unknown)}"] * bool(unknown)
        raise DataError(
            f"The rows do not have the columns of {table.name}",
            found="; ".join(parts) or f"a column twice: {', '.join(given.names)}",
            allowed=f"{', '.join(known)}; only columns with a DEFAULT may be missing",
            next_step="rename, add or drop columns before write_datasink, for instance with select_columns",
        )


def fitted(rows: pa.Table, table: Table) -> pa.Table:
    """Return rows with the types of their table's columns, where no value changes by that.

    Raises:
        DataError: a column is missing or unknown, a value does not fit, or a NULL has no place.
    """
    _require_names(table, rows.schema)
    types = types_of(table)
    columns = {name: _fitted(rows.column(name), name, types[name], table.name) for name in rows.schema.names}
    result = pa.table(columns)
    require_ranges(table.name, result, types)
    return result


def _fitted(column: pa.ChunkedArray, name: str, type_: str, table: str) -> pa.ChunkedArray:
    if column.null_count and not type_.startswith(_NULLABLE):
        raise DataError(
            f"The column {name} of {table} cannot be NULL",
            found=f"{column.null_count} NULL values in {len(column)} rows",
            allowed=type_,
            next_step=f"filter or fill these rows before write_datasink, or make {name} Nullable",
        )
    plain = bare(type_)
    family = _FAMILIES.get(plain.partition("(")[0])
    if (family is not None and not family(column.type)) and not kinds.is_null(column.type):
        raise _misfit(name, table, str(column.type), type_)
    wanted = _arrow(plain)
    if kinds.is_null(column.type):
        # ClickHouse reads no column without a type.
        wanted = wanted or arrow_type(type_) or pa.string()
    if wanted is None or wanted == column.type:
        return column
    try:
        # Float64 to Float32 loses digits, as everywhere; nothing else may.
        return pc.cast(column, wanted, safe=True)
    except pa.ArrowInvalid as error:
        raise _misfit(name, table, f"{column.type}: {error}", type_) from error


def _arrow(plain: str) -> pa.DataType | None:
    """Return the Arrow type to cast to; None leaves the values to the server."""
    if plain.startswith(_ARRAY):
        inner = _arrow(bare(plain[len(_ARRAY) : -1]))
        return None if inner is None else pa.list_(inner)
    return _NUMBERS.get(plain)


def _misfit(name: str, table: str, found: str, type_: str) -> DataError:
    return DataError(
        f"The column {name} does not fit into {table}",
        found=found,
        allowed=type_,
        next_step=f"cast {name} before write_datasink, or give the column of {table} another type",
    )
