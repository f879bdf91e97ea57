"""Query an unknown database, with bounds on the time and memory of each query and each table."""

import math
import time
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.errors import RaypipeError, Unreachable
from raypipe.explore.facts import Limits

LONGEST_ERROR = 300


class Unanswered(RaypipeError):
    """A question about a table has no answer: it was refused, failed, or took too long."""


class Questions:
    """The queries on a table, until its time is up."""

    def __init__(self, client: Client, limits: Limits) -> None:
        self.limits = limits
        self._client = client
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Return the seconds since the questions began."""
        return time.monotonic() - self._started

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return a query's rows.

        Raises:
            Unanswered: it was refused, failed, took too long or too much memory, or the table's time is up.
            Unreachable: the server is gone, so further questions are pointless.
        """
        left = self.limits.table_seconds - self.seconds
        if left <= 0:
            raise Unanswered(f"not asked: the {self.limits.table_seconds} s of the table had passed")
        settings = {
            "max_execution_time": math.ceil(min(left, self.limits.query_seconds)),
            "max_memory_usage": self.limits.query_bytes,
            "max_bytes_before_external_group_by": self.limits.query_bytes // 4,
            # An overflow fails the query; a part of the answer would look like the whole.
            "timeout_overflow_mode": "throw",
            # The server's own retries on a remote table would outlast the time limit.
            "http_max_tries": 1,
        }
        try:
            return self._client.rows(sql, settings=settings)
        except Unreachable as error:
            # Raises if the server is gone for good; otherwise only this question has failed.
            self._client.value("SELECT 1")
            raise Unanswered(brief(error)) from error
        except RaypipeError as error:
            raise Unanswered(brief(error)) from error


def brief(error: RaypipeError) -> str:
    """Return an error in one line, in the server's words if it has any."""
    text = " ".join(str(error.problem if error.found is None else error.found).split())
    return text if len(text) <= LONGEST_ERROR else text[:LONGEST_ERROR] + "…"
