"""Queries on a database of which nothing is known: each bounded in time and memory, a table's together too."""

from __future__ import annotations

import math
import time
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.errors import RaypipeError, Unreachable
from raypipe.explore.facts import Limits

LONGEST_ERROR = 300


class Unanswered(RaypipeError):
    """A question about a table has no answer: it was refused, failed, or took too much; others may have one."""


class Questions:
    """What may be asked of one table, until its time is up.

    Args:
        client: whose database holds the table.
        limits: what a query and the whole table may take.
    """

    def __init__(self, client: Client, limits: Limits) -> None:
        self.limits = limits
        self._client = client
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the first question could be asked."""
        return time.monotonic() - self._started

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """A query's rows.

        Raises:
            Unanswered: it was refused, failed, took too long or too much memory, or the table's time is up.
            Unreachable: the server is gone; no other question makes sense.
        """
        left = self.limits.table_seconds - self.seconds
        if left <= 0:
            raise Unanswered(f"not asked: the {self.limits.table_seconds} s of the table were over")
        settings = {
            "max_execution_time": math.ceil(min(left, self.limits.query_seconds)),
            "max_memory_usage": self.limits.query_bytes,
            "max_bytes_before_external_group_by": self.limits.query_bytes // 4,
            # An overflow breaks the query off instead of giving a part of the answer for the whole.
            "timeout_overflow_mode": "throw",
            # A table that lies elsewhere is asked once too: the server's own retries outlast the time limit.
            "http_max_tries": 1,
        }
        try:
            return self._client.rows(sql, settings=settings)
        except Unreachable as error:
            # Raises when the server is gone for good; otherwise this question alone has failed.
            self._client.value("SELECT 1")
            raise Unanswered(brief(error)) from error
        except RaypipeError as error:
            raise Unanswered(brief(error)) from error


def brief(error: RaypipeError) -> str:
    """An error in a line: the server's words where it has some."""
    text = " ".join(str(error.problem if error.found is None else error.found).split())
    return text if len(text) <= LONGEST_ERROR else text[:LONGEST_ERROR] + "…"
