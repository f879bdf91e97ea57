"""Refuse servers that are too old for raypipe.

25.8 is the oldest version on which raypipe is tested (tests/versions). An older server may fail in the middle of a run,
or store another date than the one it was given.
"""

import re

from raypipe.clickhouse.client import Client
from raypipe.errors import ServerError

MINIMUM = (25, 8)


def parse_version(text: str) -> tuple[int, int]:
    """Return year and month of a version such as `26.7.2.1` or `25.8.14.39-lts`."""
    match = re.match(r"(\d+)\.(\d+)", text)
    if match is None:
        raise ServerError("The server's version cannot be parsed", found=text, allowed="such as 26.7.2.1")
    return int(match[1]), int(match[2])


def require_version(client: Client) -> None:
    """Refuse a server that is too old.

    Raises:
        ServerError: the server is older than the oldest version that is tested.
    """
    if parse_version(client.version) < MINIMUM:
        raise ServerError(
            f"ClickHouse at {client.endpoint} is too old for raypipe",
            found=client.version,
            allowed=f"{MINIMUM[0]}.{MINIMUM[1]} or newer",
            next_step="upgrade the server, or use the embedded engine with --url chdb:PATH",
        )
