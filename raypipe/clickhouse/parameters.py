"""Prepare the values of a query's bound parameters, written `{name:Type}` in the SQL."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

Parameters = Mapping[str, Any]

# A space may stand on either side of the colon, as in ClickHouse.
PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\s*:\s*([^}]+)\}")


def bound(sql: str, parameters: Parameters | None) -> dict[str, Any]:
    """Return the parameters as the driver sends them; none for a query that binds nothing."""
    # Values for a query without a placeholder would make the driver format the text itself, by its `%` signs.
    kinds = dict(PLACEHOLDER.findall(sql))
    if not parameters or not kinds:
        return {}
    return {name: _instant(value, kinds.get(name, "")) for name, value in parameters.items()}


def _instant(value: Any, kind: str) -> Any:
    """Return an instant as seconds since 1970, which no time zone of session or server can shift."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        return value
    seconds = int(value.timestamp() // 1)
    return f"{seconds}.{value.microsecond:06d}" if "DateTime64" in kind else str(seconds)
