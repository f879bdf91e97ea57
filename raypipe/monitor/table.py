"""Write rows of ml_model_monitoring."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from raypipe.clickhouse.client import Client

TABLE = "ml_model_monitoring"
UINT16_MAX, UINT32_MAX = 2**16 - 1, 2**32 - 1


def id_of(name: str) -> str:
    """Return the id of a row, derived from a name that no other row has, such as `monitoring:<run id>`."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"raypipe:{name}"))


def insert(client: Client, row: Mapping[str, object], token: str | None = None) -> None:
    """Insert one row; columns that it does not name get their defaults. With a token, the insert is repeated."""
    client.insert_rows(TABLE, [row], token=token)
