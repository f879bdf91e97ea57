"""Derive the kind of a column's values from its ClickHouse type."""

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
    """Return the kind of a type; types without useful order and equality are `other`."""
    inner = bare(type_)
    return next((kind for kind, pattern in _KINDS if pattern.match(inner)), OTHER)


def sentinel(type_: str) -> str:
    """Return the value that may mean missing in a column without NULL, in words; '' if the type has none.

    It is the type's default: 0, an empty text or list, 1970-01-01, the nil UUID. The default of an Enum or a Bool is
    an ordinary value.
    """
    inner = bare(type_)
    kind = kind_of(inner)
    if inner.startswith("Enum"):
        return ""
    if kind == TEXT and inner.startswith(("UUID", "IP")):
        return {"UUID": "the nil UUID", "IPv4": "0.0.0.0", "IPv6": "::"}[inner]
    return {NUMBER: "0", TEXT: "''", TIME: "1970-01-01", LIST: "[]"}.get(kind, "")
