"""ClickHouse's types as text: what a type is once all that only wraps it is taken off."""

from __future__ import annotations

import re

_WRAPPER = re.compile(r"(?:LowCardinality|Nullable|SimpleAggregateFunction)\((.*)\)\Z", re.DOTALL)


def bare(type_: str) -> str:
    """The type without LowCardinality, Nullable and SimpleAggregateFunction around it."""
    match = _WRAPPER.match(type_)
    if match is None:
        return type_
    inner = match[1]
    # SimpleAggregateFunction(sum, UInt64) names a function first.
    return bare(inner.partition(", ")[2] if type_.startswith("Simple") else inner)
