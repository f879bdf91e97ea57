"""Kill the statements that got no answer, before they are sent again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from clickhouse_connect.driver.client import Client as Driver

from raypipe.clickhouse.statements import literal
from raypipe.errors import ServerError, Transient, Unreachable

SAME_ID = 216


class Abandoned:
    """The statements of a client that may still run, because their answers were lost."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    @contextmanager
    def identified(self) -> Iterator[str]:
        """Yield a new query id, and keep it when its statement gets no answer."""
        query_id = f"raypipe-{uuid.uuid4().hex}"
        try:
            yield query_id
        except ServerError as error:
            # The driver itself sends a read again when its connection is reset: the first may still run.
            if isinstance(error, Unreachable) or error.code == SAME_ID:
                self._ids.add(query_id)
            raise

    def end(self, driver: Driver, processes: str) -> None:
        """Kill these statements, and see that they are gone.

        Args:
            driver: sends the KILL, which needs no grant for a user's own statements.
            processes: the table of running statements, on a cluster that of all nodes.

        Raises:
            Transient: a statement still runs.
        """
        for query_id in tuple(self._ids):
            own = f"query_id = {literal(query_id)}"
            driver.command(f"KILL QUERY WHERE {own} SYNC")
            if driver.query(f"SELECT 1 FROM {processes} WHERE {own}").result_rows:
                raise Transient(
                    "A statement without an answer still runs, so it is not sent again",
                    found=f"query_id {query_id}",
                    next_step="look at system.processes, then repeat the command",
                )
            self._ids.discard(query_id)
