"""Write rows of the ml_model_* tables: times in whole seconds, 32-bit sizes, JSON in strings."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from raypipe.clickhouse.client import Client, content_token
from raypipe.clickhouse.statements import Statement, load
from raypipe.errors import UsageError
from raypipe.project import shipped

LARGEST_UINT32 = 2**32 - 1
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def write(client: Client, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows with equal keys; repeating the same rows changes nothing."""
    client.insert_rows(table, rows, token=content_token(table, rows))


def statement(name: str) -> Statement:
    """Load one of the registry's own SQL files."""
    return load(shipped() / "sql" / "registry" / f"{name}.sql")


def seconds(moment: datetime) -> datetime:
    """Return a moment in UTC as DateTime columns keep it, in whole seconds."""
    if moment.tzinfo is None:
        raise UsageError("A time without a zone is ambiguous", found=moment.isoformat(), allowed="a time in UTC")
    return moment.astimezone(UTC).replace(microsecond=0)


def unix_seconds(moment: datetime) -> int:
    """Return the whole seconds since 1970."""
    return int(seconds(moment).timestamp())


def size(value: float) -> int:
    """Return a count or duration as UInt32; 4,294,967,295 stands for anything larger."""
    return min(max(round(value), 0), LARGEST_UINT32)


def json_text(value: object) -> str:
    """Return JSON for a String column; NaN and the infinities become null."""
    return json.dumps(json.loads(json.dumps(value), parse_constant=lambda _: None), sort_keys=True)


def parsed(text: str) -> dict[str, Any]:
    """Parse the text of `json_text`; return {} for a column that another writer filled otherwise."""
    try:
        value = json.loads(text) if text else {}
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
