"""Values as the ml_model_* tables hold them: seconds, 32-bit sizes, JSON in strings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from raypipe.clickhouse.client import Client, content_token
from raypipe.clickhouse.statements import Statement, load
from raypipe.errors import UsageError
from raypipe.project import shipped

LARGEST_UINT32 = 2**32 - 1
SECONDS = pa.timestamp("s", tz="UTC")

Row = Mapping[str, Any]


def write(client: Client, table: str, schema: pa.Schema, rows: Sequence[Row]) -> None:
    """Inserts rows that hold every column of the schema; repeated safely, since a later row of a key replaces."""
    data = pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema=schema)
    client.insert(table, data, token=content_token(table, data.to_pylist()), columns=schema.names)


def statement(name: str) -> Statement:
    """One of the registry's own SQL files."""
    return load(shipped() / "sql" / "registry" / f"{name}.sql")


def seconds(moment: datetime) -> datetime:
    """A moment in UTC as DateTime columns keep it: whole seconds."""
    if moment.tzinfo is None:
        raise UsageError("A time without a zone cannot be stored", found=moment.isoformat(), allowed="a time in UTC")
    return moment.astimezone(UTC).replace(microsecond=0)


def epoch(moment: datetime) -> int:
    """Whole seconds since 1970."""
    return int(seconds(moment).timestamp())


def size(value: float) -> int:
    """A count or duration as UInt32; 4,294,967,295 stands for anything larger."""
    return min(max(round(value), 0), LARGEST_UINT32)


def json_text(value: object) -> str:
    """JSON for a String column; a number that JSON lacks becomes null."""
    return json.dumps(_finite(value), sort_keys=True)


def parsed(text: str) -> dict[str, Any]:
    """What `json_text` wrote; empty for a column that others left empty or filled otherwise."""
    try:
        value = json.loads(text) if text else {}
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
