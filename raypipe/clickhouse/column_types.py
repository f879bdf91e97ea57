"""ClickHouse's column types as text: unwrap them, and choose the Arrow type that carries their values."""

import re

import pyarrow as pa

_WRAPPER = re.compile(r"(?:LowCardinality|Nullable|SimpleAggregateFunction)\((.*)\)\Z", re.DOTALL)
_ARROW = {
    "Array(String)": pa.list_(pa.string()),
    "Date": pa.date32(),
    "DateTime": pa.timestamp("s", tz="UTC"),
    "DateTime64": pa.timestamp("us", tz="UTC"),
    "Float32": pa.float32(),
    "Float64": pa.float64(),
    "String": pa.string(),
    "UInt8": pa.uint8(),
    "UInt16": pa.uint16(),
    "UInt32": pa.uint32(),
    "UInt64": pa.uint64(),
}


def bare(type_: str) -> str:
    """Return the type without LowCardinality, Nullable and SimpleAggregateFunction around it."""
    match = _WRAPPER.match(type_)
    if match is None:
        return type_
    inner = match[1]
    # SimpleAggregateFunction(sum, UInt64) names a function first.
    return bare(inner.partition(", ")[2] if type_.startswith("Simple") else inner)


def arrow_type(type_: str) -> pa.DataType | None:
    """Return the Arrow type for a column's values; None leaves the choice to pyarrow and the cast to the server."""
    plain = bare(type_)
    return _ARROW.get(plain, _ARROW.get(plain.partition("(")[0]))
