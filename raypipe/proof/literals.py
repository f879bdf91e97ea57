"""Fill a statement's bound parameters in, so that any client can run its text again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from raypipe.clickhouse.parameters import PLACEHOLDER
from raypipe.clickhouse.statements import literal


def filled(sql: str, parameters: Mapping[str, Any]) -> str:
    """Return the statement with a literal in place of each `{name:Type}`."""
    return PLACEHOLDER.sub(
        lambda match: _literal(parameters[match[1]], match[2].strip()) if match[1] in parameters else match[0], sql
    )


def _literal(value: Any, kind: str) -> str:
    if kind == "String":
        return literal(str(value))
    if kind == "Date":
        return f"toDate({literal(str(value))})"
    if kind == "DateTime" and isinstance(value, datetime):
        return literal(value)
    return f"CAST({_nested(value)}, {literal(kind)})"


def _nested(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_nested, value))}]"
    # The frozen plan is JSON, which has dates as text.
    return literal(str(value) if isinstance(value, date) else value)
