"""What kind of values a column holds, as far as its ClickHouse type tells."""

from __future__ import annotations

import re

from raypipe.clickhouse.column_types import bare

NUMBER, FLAG, TEXT, TIME, LIST, OTHER = "number", "flag", "text", "time", "list", "other"

_KINDS = (
    (FLAG, re.compile(r"Bool\Z")),
    (NUMBER, re.compile(r"(?:U?Int\d+|B?Float\d+|Decimal(?:\d+)?\(.*\))\Z")),
    (TEXT, re.compile(r"(?:String|FixedString\(\d+\)|UUID|IPv[46]|Enum(?:8|16)\(.*\))\Z", re.DOTALL)),
    (TIME, re.compile(r"(?:Date|Date32|DateTime(?:\(.*\))?|DateTime64\(.*\))\Z")),
    (LIST, re.compile(r"(?:Array|Map)\(.*\)\Z", re.DOTALL)),
)


def kind_of(type_: str) -> str:
    """One of the kinds above; what has no order and no equality worth counting is `other`."""
    inner = bare(type_)
    return next((kind for kind, pattern in _KINDS if pattern.match(inner)), OTHER)


def sentinel(type_: str) -> str:
    """The value that stands for missing where nothing is NULL, as people write it; '' for a type that has none.

    It is the type's default: 0, an empty text or list, 1970-01-01, the nil UUID. The default of an Enum or a Bool is
    a value like any other.
    """
    inner = bare(type_)
    kind = kind_of(inner)
    if inner.startswith("Enum"):
        return ""
    if kind == TEXT and inner.startswith(("UUID", "IP")):
        return {"UUID": "the nil UUID", "IPv4": "0.0.0.0", "IPv6": "::"}[inner]
    return {NUMBER: "0", TEXT: "''", TIME: "1970-01-01", LIST: "[]"}.get(kind, "")
