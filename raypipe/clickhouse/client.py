"""The client of one ClickHouse address: statements as text, results and inserts as Arrow.

A client is cheap to make and belongs to one process. It has no server session, so threads may share it.
Reads are repeated after errors that pass, as long as no part of the result was handed out. Inserts are
repeated only with a deduplication token. A statement without an answer is killed before it is sent again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import pyarrow as pa

from raypipe.clickhouse import discovery, driver, inserts, retry
from raypipe.clickhouse.abandoned import Abandoned
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.parameters import Parameters, bound
from raypipe.clickhouse.response import ResponseBody
from raypipe.clickhouse.server_errors import translated
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.topology import Topology
from raypipe.errors import DataError, ServerError

log = logging.getLogger(__name__)

# The server reports progress, so that a long statement is not taken for a dead one.
PROGRESS_SECONDS = 120

# A server with this setting sends conditions to the shards, subqueries among them, which run there.
PUSHING = "allow_push_predicate_ast_for_distributed_subqueries"
# The tables at home have their rows on this node alone, so that the shards need the results of subqueries.
OVER_SHARDS = {"prefer_global_in_and_join": 1, PUSHING: 0}

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
        self.topology = Topology()
        self._where = str(endpoint)
        self._patience = retry.Patience(endpoint.wait_seconds if endpoint.cluster else None)
        self._abandoned = Abandoned()
        self._driver = driver.opened(endpoint, settings or {})
        self._shards: tuple[Client, ...] = ()
        if endpoint.cluster is not None:
            self._join_cluster(settings or {})
        if endpoint.sharding is not None:
            for name, value in OVER_SHARDS.items():
                if name in self._driver.server_settings:
                    self._driver.set_client_setting(name, value)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the client's connections."""
        for shard in self._shards:
            shard.close()
        self._driver.close()

    @property
    def is_stranded(self) -> bool:
        """Return whether this client's node of a cluster, or Keeper, was gone at its last look."""
        return self._patience.is_over

    def _join_cluster(self, given: QuerySettings) -> None:
        try:
            with translated(self._where):
                self.topology = discovery.topology(self._driver, self.endpoint)
            discovery.pin(self._driver, self.endpoint, given)
        except BaseException:
            self.close()
            raise

    @property
    def shards(self) -> tuple[Client, ...]:
        """Return a client for each shard's own tables; on one server, this client."""
        if self.endpoint.sharding is None:
            return (self,)
        if not self._shards:
            self._shards = tuple(Client(shard) for shard in self.endpoint.sharding.shards)
        return self._shards

    @property
    def pushing(self) -> QuerySettings:
        """Return the settings with which shards get the conditions of a query that has no subquery, or `GLOBAL IN`."""
        is_known = self.endpoint.sharding is not None and PUSHING in self._driver.server_settings
        return {PUSHING: 1} if is_known else {}

    @property
    def nodes(self) -> tuple[Client, ...]:
        """Return the clients that together see every table: this client, and those of the shards."""
        return (self, *self.shards) if self.endpoint.sharding else (self,)

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
                self._name_silent_nodes(error)
                raise

    def _name_silent_nodes(self, error: ServerError) -> None:
        if names := ", ".join(discovery.silent(self._driver, self.topology, error)):
            log.warning("%s of the cluster %s does not answer", names, self.topology.cluster)
            error.found = f"{names} does not answer; {error.found}"

    def _end_abandoned(self) -> None:
        with translated(self._where):
            self._abandoned.end(self._driver, self.topology.system("processes"))

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
                yield self._read_arrow(pa.PythonFile(ResponseBody(body, self._where), mode="r"))
            finally:
                body.close()  # type: ignore[union-attr]

    def _read_arrow(self, body: Any) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        with self._reading():
            # The schema precedes the first batch; a failed query sends neither.
            reader = pa.ipc.open_stream(body)

        def batches() -> Iterator[pa.RecordBatch]:
            while True:
                with self._reading():
                    try:
                        batch = reader.read_next_batch()
                    except StopIteration:
                        return
                yield batch

        return reader.schema, batches()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with translated(self._where):
                yield
        except pa.ArrowException as error:
            raise ServerError(
                f"The response of ClickHouse at {self._where} is not an Arrow stream", found=str(error)
            ) from error

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
