"""The client of one ClickHouse address: statements as text, results and inserts as Arrow.

A client is cheap to make and belongs to one process. It has no server session, so threads may share it.
Reads are repeated after errors that pass, as long as no part of the result was handed out. Inserts are
repeated only with a deduplication token. A statement without an answer is killed before it is sent again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import pyarrow as pa

from raypipe.clickhouse import discovery, driver, inserts, retry
from raypipe.clickhouse.abandoned import Abandoned
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.parameters import Parameters, bound
from raypipe.clickhouse.response import read_arrow
from raypipe.clickhouse.server_errors import translated
from raypipe.clickhouse.statements import identifier
from raypipe.errors import DataError, ServerError

# The server reports progress, so that a long statement is not taken for a dead one.
PROGRESS_SECONDS = 120

ARROW_READ = {
    "output_format_arrow_string_as_string": 1,
    "output_format_arrow_low_cardinality_as_dictionary": 0,
}

T = TypeVar("T")
QuerySettings = Mapping[str, Any]


class Client:
    """A connection pool to one ClickHouse.

    Args:
        endpoint: the address and the user.
        settings: ClickHouse settings sent with every statement; they outweigh the pins (see `pins`).

    Raises:
        ConfigError: the user's profile changes answers in a way that raypipe cannot undo, or the server does not know
            the cluster.
        Unreachable: nothing answers there.
        Denied: the password is wrong or the user unknown.
    """

    def __init__(self, endpoint: Endpoint, settings: QuerySettings | None = None) -> None:
        self.endpoint = endpoint
        self._where = str(endpoint)
        self._patience = retry.Patience(endpoint.wait_seconds if endpoint.cluster else None)
        self._abandoned = Abandoned()
        self._driver = driver.opened(endpoint, settings or {})
        self._others: dict[Endpoint, Client] = {}
        self.topology = discovery.joined(self._driver, endpoint, settings or {})

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the client's connections."""
        for other in self._others.values():
            other.close()
        self._driver.close()

    @property
    def is_stranded(self) -> bool:
        """Return whether this client's node of a cluster, or Keeper, was gone at its last look."""
        return self._patience.is_over

    def of(self, endpoint: Endpoint) -> Client:
        """Return the client of another node, which is closed with this client."""
        if endpoint not in self._others:
            self._others[endpoint] = Client(endpoint)
        return self._others[endpoint]

    def knows(self, setting: str) -> bool:
        """Return whether the server has a setting of this name."""
        return setting in self._driver.server_settings

    @property
    def version(self) -> str:
        """Return the server's version, such as `26.7.2.1`."""
        return str(self._driver.server_version)

    def rows(
        self, sql: str, parameters: Parameters | None = None, settings: QuerySettings | None = None
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a query's result as Python values; see `named_rows`."""
        return self.named_rows(sql, parameters, settings)[1]

    def named_rows(
        self, sql: str, parameters: Parameters | None = None, settings: QuerySettings | None = None
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return the column names and the rows of a query's result, as Python values.

        A query with a time limit of its own is not repeated, since a timeout is its result.
        """

        def ask(options: dict[str, Any]) -> tuple[list[str], list[tuple[Any, ...]]]:
            result = self._driver.query(sql, parameters=bound(sql, parameters), settings=options)
            return list(result.column_names), [tuple(row) for row in result.result_rows]

        return self._repeated(ask, settings or {}, 1 if "max_execution_time" in (settings or {}) else retry.ATTEMPTS)

    def _repeated(self, ask: Callable[[dict[str, Any]], T], settings: QuerySettings, attempts: int) -> T:
        def attempt() -> T:
            self._end_abandoned()
            with self._identified(settings) as options, translated(self._where):
                return ask(options)

        return self._patience.repeat(attempt, attempts=attempts)

    @contextmanager
    def _identified(self, settings: QuerySettings) -> Iterator[dict[str, Any]]:
        """Yield a statement's settings with a query id of its own and the pace of its progress."""
        pace = min(PROGRESS_SECONDS * 1000, self.endpoint.timeout_seconds * 1000 // 3)
        with self._abandoned.identified() as query_id:
            try:
                yield {"http_headers_progress_interval_ms": pace, **settings, "query_id": query_id}
            except ServerError as error:
                discovery.name_silent(self._driver, self.topology, error)
                raise

    def _end_abandoned(self) -> None:
        with translated(self._where):
            self._abandoned.end(self._driver, "system.processes")

    def value(self, sql: str, parameters: Parameters | None = None, settings: QuerySettings | None = None) -> Any:
        """Return the single value of a query that yields one row and one column."""
        rows = self.rows(sql, parameters, settings)
        if len(rows) != 1 or len(rows[0]) != 1:
            raise DataError(
                "A query did not yield exactly one value",
                found=f"{len(rows)} rows",
                next_step="ask for one row of one column",
            )
        return rows[0][0]

    def table(self, sql: str, parameters: Parameters | None = None, settings: QuerySettings | None = None) -> pa.Table:
        """Return a query's whole result as one Arrow table."""

        def ask() -> pa.Table:
            with self.stream(sql, parameters, settings) as (schema, batches):
                return pa.Table.from_batches(list(batches), schema=schema)

        return self._patience.repeat(ask)

    @contextmanager
    def stream(
        self, sql: str, parameters: Parameters | None = None, settings: QuerySettings | None = None
    ) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
        """Yield a query's result as an Arrow schema and an iterator of record batches, in bounded memory.

        The iteration raises when the server fails midway, so a cut result never passes for a short one. The query
        is not repeated here, because the caller may have used some batches already.
        """
        options = {**ARROW_READ, **(settings or {})}
        # Compression costs more than it saves on loopback; over a network LZ4 wins.
        options.setdefault(
            "output_format_arrow_compression_method", "none" if self.endpoint.is_loopback else "lz4_frame"
        )
        self._end_abandoned()
        with self._identified(options) as identified:
            with translated(self._where):
                body = self._driver.raw_stream(
                    sql, parameters=bound(sql, parameters), settings=identified, fmt="ArrowStream"
                )
            try:
                yield read_arrow(body, self._where)
            finally:
                body.close()  # type: ignore[union-attr]

    def run(self, sql: str, parameters: Parameters | None = None, settings: QuerySettings | None = None) -> None:
        """Run a statement without a result, sent once: DDL, INSERT … SELECT, ALTER."""
        with self._identified(settings or {}) as options, translated(self._where):
            self._driver.command(sql, parameters=bound(sql, parameters), settings=options)

    def insert_rows(self, table: str, rows: Sequence[Mapping[str, Any]], *, token: str | None = None) -> None:
        """Insert Python rows with equal keys; each column gets the Arrow type of the table's own column."""
        types = self._column_types(table)
        data = inserts.arrow_rows(rows, types)
        inserts.require_ranges(table, data, types)
        self._send(table, data, token, data.schema.names, {})

    def insert(
        self,
        table: str,
        data: pa.Table,
        *,
        token: str | None = None,
        columns: Sequence[str] | None = None,
        settings: QuerySettings | None = None,
    ) -> None:
        """Insert an Arrow table, `table` or `database.table`, as one request and one block.

        Args:
            data: at most about a million rows, all in one partition of the target, so that the insert
                is applied whole or not at all.
            token: the deduplication token; with a token, the insert is repeated after errors that pass.
            columns: the target's columns that the data holds; the others get their defaults. None means every column.

        Raises:
            DataError: the columns do not match, or a date is out of its column's range.
            ServerError: the server refused the rows, for instance a NULL in a column that is not Nullable.
        """
        for name in columns or ():
            identifier(name)
        known = columns
        if known is None or inserts.is_temporal(data.schema):
            types = self._column_types(table)
            known = list(types) if known is None else known
            inserts.require_ranges(table, data, types)
        inserts.require_names(table, known, data.schema.names)
        self._send(table, data, token, columns or (), settings or {})

    def _column_types(self, table: str) -> dict[str, str]:
        """Return the type of each column that an insert may fill."""
        rows = self.rows(f"DESCRIBE TABLE {identifier(table)}")
        return {name: kind for name, kind, default, *_ in rows if default not in ("MATERIALIZED", "ALIAS")}

    def insert_through(
        self,
        sql: str,
        parameters: Parameters,
        data: pa.Table,
        types: Mapping[str, str],
        *,
        token: str,
        settings: QuerySettings | None = None,
    ) -> None:
        """Insert the rows that a SELECT makes of an Arrow table, as one request and one block.

        Args:
            sql: an `INSERT … SELECT` that reads the table by `input(…)`, without a FORMAT.
            types: the columns of `input(…)` with their ClickHouse types.
            token: the deduplication token; the insert is repeated after errors that pass.
        """
        inserts.require_names("input()", list(types), data.schema.names)
        inserts.require_ranges("input()", data, types)
        body = inserts.Rows(memoryview(self._body(data)))
        options = {**self._options(data, token), **inserts.one_block(data.num_rows), **(settings or {})}
        text = f"{sql}\nFORMAT ArrowStream"

        def request(identified: dict[str, Any]) -> None:
            self._driver.command(text, parameters=bound(sql, parameters), data=body, settings=identified)

        self._repeated(request, options, retry.ATTEMPTS)

    def _body(self, data: pa.Table) -> pa.Buffer:
        return inserts.arrow_stream(data, compression=None if self.endpoint.is_loopback else "lz4")

    def _options(self, data: pa.Table, token: str | None) -> dict[str, Any]:
        return inserts.settings(data.num_rows, token, self._driver.server_settings)

    def _send(
        self, table: str, data: pa.Table, token: str | None, columns: Sequence[str], settings: QuerySettings
    ) -> None:
        # The driver puts the statement in front of the body, and would copy bytes for that.
        body = cast(Any, memoryview(self._body(data)))
        options = {**self._options(data, token), **settings}
        names = f" ({', '.join(identifier(name) for name in columns)})" if columns else ""

        def request(identified: dict[str, Any]) -> None:
            self._driver.raw_insert(
                f"{identifier(table)}{names}", insert_block=body, settings=identified, fmt="ArrowStream"
            )

        self._repeated(request, options, retry.ATTEMPTS if token else 1)


def content_token(*parts: object) -> str:
    """Return a deduplication token made of everything that identifies an insert.

    ClickHouse drops a second insert under a known token even when its rows differ, so the parts must
    include a checksum of the rows.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(repr(part).encode())
        digest.update(b"\x00")
    return digest.hexdigest()
