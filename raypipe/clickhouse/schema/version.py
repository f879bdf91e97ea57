"""Refuse servers that are too old for raypipe.

A run needs the table function `mergeTreeIndex` to cut slices, and `date_time_overflow_behavior` to refuse dates out of
range. Both came in early 2024, and 24.8 is a long-term release that has them.
"""

import re

from raypipe.clickhouse.client import Client
from raypipe.errors import ServerError

MINIMUM = (24, 8)


def parse_version(text: str) -> tuple[int, int]:
    """Return year and month of a version such as `26.7.2.1` or `24.8.14.39-lts`."""
    match = re.match(r"(\d+)\.(\d+)", text)
    if match is None:
        raise ServerError("The server's version cannot be parsed", found=text, allowed="such as 26.7.2.1")
    return int(match[1]), int(match[2])


def require_version(client: Client) -> None:
    """Refuse a server that is too old.

    Raises:
        ServerError: names the server's version and the oldest that works.
    """
    if parse_version(client.version) < MINIMUM:
        raise ServerError(
            f"ClickHouse at {client.endpoint} is too old for raypipe",
            found=client.version,
            allowed=f"{MINIMUM[0]}.{MINIMUM[1]} or newer: mergeTreeIndex and date_time_overflow_behavior",
            next_step="upgrade the server, or use the embedded engine with --url chdb:PATH",
        )
