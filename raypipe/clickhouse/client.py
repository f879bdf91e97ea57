"""The client: plain statements, Arrow in and Arrow out, against one ClickHouse address.

A client is cheap to make and belongs to one process. It has no server session, so it may be shared by
threads. Reads are repeated after faults that pass, as long as nothing of the answer was handed out;
inserts are repeated only with a deduplication token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect import common

from raypipe.clickhouse import faults, strict
from raypipe.clickhouse.binding import Parameters, bound
from raypipe.clickhouse.body import Body
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.topology import Topology
from raypipe.errors import DataError, ServerError

CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 600

# Arrow inserts otherwise turn a NULL into 0 and a missing column into its default, in silence. Older servers
# heed the last two as well; `strict` checks what they stand for everywhere.
STRICT_INSERT = {
    "async_insert": 0,
    "input_format_null_as_default": 0,
    "input_format_arrow_allow_missing_columns": 0,
    "input_format_skip_unknown_fields": 0,
    "date_time_overflow_behavior": "throw",
}
ARROW_READ = {
    "output_format_arrow_string_as_string": 1,
    "output_format_arrow_low_cardinality_as_dictionary": 0,
}

# A setting that the server does not know is an error of the server, never dropped on the way.
common.set_setting("autogenerate_session_id", False)

Settings = Mapping[str, Any]


class Client:
    """One process's way to a ClickHouse.

    Args:
        endpoint: where it answers.
        settings: ClickHouse settings sent with every statement.

    Raises:
        Unreachable: nothing answers there.
        Denied: the password is wrong or the user unknown.
    """

    def __init__(self, endpoint: Endpoint, settings: Settings | None = None) -> None:
        self.endpoint = endpoint
        self.topology = Topology(endpoint.cluster)
        self._where = str(endpoint)
        parts = urlsplit(endpoint.url)
        with faults.translated(self._where):
            self._driver = clickhouse_connect.get_client(
                host=parts.hostname or "",
                port=parts.port or 0,
                interface=parts.scheme,
                username=endpoint.user,
                password=endpoint.password(),
                database=endpoint.database,
                # Arrow compresses its own buffers (see `stream`); an uncompressed body keeps the text of
                # an error that breaks off a stream readable.
                compress=False,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                send_receive_timeout=READ_TIMEOUT_SECONDS,
                ca_cert=endpoint.ca_file,
                verify=True,
                autogenerate_session_id=False,
                query_retries=0,
                settings=dict(settings or {}),
            )
        # urllib3 would replay a request on a fresh connection by itself; only `faults.repeat` may.
        self._driver.http_retries = 0  # type: ignore[attr-defined]

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections of this client."""
        self._driver.close()

    @property
    def version(self) -> str:
        """The server's version, such as `26.7.2.1`."""
        return str(self._driver.server_version)

    def rows(
        self,
        sql: str,
        parameters: Parameters | None = None,
        settings: Settings | None = None,
        *,
        attempts: int = faults.ATTEMPTS,
    ) -> list[tuple[Any, ...]]:
        """Every row of a query's result, as Python values; see `named_rows`."""
        return self.named_rows(sql, parameters, settings, attempts=attempts)[1]

    def named_rows(
        self,
        sql: str,
        parameters: Parameters | None = None,
        settings: Settings | None = None,
        *,
        attempts: int = faults.ATTEMPTS,
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The column names and every row of a query's result, as Python values.

        A query with a time limit of its own is asked once (`attempts=1`): that it took too long is its answer.
        """

        def ask() -> tuple[list[str], list[tuple[Any, ...]]]:
            with faults.translated(self._where):
                result = self._driver.query(sql, parameters=bound(sql, parameters), settings=dict(settings or {}))
                return list(result.column_names), [tuple(row) for row in result.result_rows]

        return faults.repeat(ask, attempts=attempts)

    def value(self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None) -> Any:
        """The single value of a query that yields one row and one column."""
        rows = self.rows(sql, parameters, settings)
        if len(rows) != 1 or len(rows[0]) != 1:
            raise DataError("A query that must yield one value yielded something else", found=f"{len(rows)} rows")
        return rows[0][0]

    def table(self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None) -> pa.Table:
        """A query's whole result as one Arrow table."""

        def ask() -> pa.Table:
            with self.stream(sql, parameters, settings) as (schema, batches):
                return pa.Table.from_batches(list(batches), schema=schema)

        return faults.repeat(ask)

    @contextmanager
    def stream(
        self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None
    ) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
        """A query's result as an Arrow schema and an iterator of record batches, in bounded memory.

        Raises inside the iteration when the server fails in the middle: a cut answer is never taken for
        a short one. Not repeated here, since batches may have been used already.
        """
        options = {**ARROW_READ, **(settings or {})}
        # On loopback compression costs more than it saves; over a network LZ4 wins.
        options.setdefault(
            "output_format_arrow_compression_method", "none" if self.endpoint.is_loopback else "lz4_frame"
        )
        with faults.translated(self._where):
            body = self._driver.raw_stream(sql, parameters=bound(sql, parameters), settings=options, fmt="ArrowStream")
        try:
            yield self._read_arrow(pa.PythonFile(Body(body, self._where), mode="r"))
        finally:
            body.close()  # type: ignore[union-attr]

    def _read_arrow(self, body: Any) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        with self._reading():
            # The schema stands in front of the first batch; a failed query has neither.
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
            with faults.translated(self._where):
                yield
        except pa.ArrowException as error:
            raise ServerError(
                f"The answer of ClickHouse at {self._where} is not an Arrow stream", found=str(error)
            ) from error

    def run(self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None) -> None:
        """A statement without a result, sent once: DDL, INSERT … SELECT, ALTER."""
        with faults.translated(self._where):
            self._driver.command(sql, parameters=bound(sql, parameters), settings=dict(settings or {}))

    def insert(
        self,
        table: str,
        data: pa.Table,
        *,
        token: str | None = None,
        columns: Sequence[str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Inserts an Arrow table as one request and one block.

        Args:
            table: the target, `table` or `database.table`.
            data: at most about a million rows, all in one partition of the target, so that the insert
                is applied whole or not at all.
            token: the deduplication token; with one, the insert is repeated after faults that pass.
            columns: the target's columns that the data holds, in its order; the others get their defaults.
                Without it the data must hold every column of the target.

        Raises:
            DataError: the columns do not match, or a date is out of its column's range.
            ServerError: the server refused the rows, such as a NULL where there can be none.
        """
        self._check(table, data, columns)
        sink = pa.BufferOutputStream()
        packing = pa.ipc.IpcWriteOptions(compression=None if self.endpoint.is_loopback else "lz4")
        with pa.ipc.new_stream(sink, data.schema, options=packing) as writer:
            # One record batch: ClickHouse makes a block of each, and a block is the unit that is atomic.
            for batch in data.combine_chunks().to_batches():
                writer.write_batch(batch)
        # A view of it: the driver would copy bytes to put the statement in front of them.
        body = cast(Any, memoryview(sink.getvalue()))
        options = {
            **STRICT_INSERT,
            **self.topology.insert_settings,
            "max_insert_block_size": max(data.num_rows, 1_048_449),
            "max_insert_threads": 1,
            **(settings or {}),
        }
        if token is not None:
            options["insert_deduplication_token"] = token
            options["insert_deduplicate"] = 1
            # Newer servers have a second switch, which outweighs the first and may be off in a profile.
            if "deduplicate_insert" in self._driver.server_settings:
                options["deduplicate_insert"] = "enable"
        names = f" ({', '.join(identifier(name) for name in columns)})" if columns else ""

        def send() -> None:
            with faults.translated(self._where):
                self._driver.raw_insert(
                    f"{identifier(table)}{names}", insert_block=body, settings=options, fmt="ArrowStream"
                )

        faults.repeat(send, attempts=faults.ATTEMPTS if token else 1)

    def _check(self, table: str, data: pa.Table, columns: Sequence[str] | None) -> None:
        target = identifier(table)
        for name in columns or ():
            identifier(name)
        if columns is None or strict.is_temporal(data.schema):
            known = [row[:3] for row in self.rows(f"DESCRIBE TABLE {target}")]
            types = {name: kind for name, kind, default in known if default not in ("MATERIALIZED", "ALIAS")}
            columns = list(types) if columns is None else columns
            strict.require_ranges(table, data, types)
        strict.require_names(table, columns, data.schema.names)


def content_token(*parts: object) -> str:
    """A deduplication token over everything that makes an insert what it is.

    ClickHouse drops a second insert under a known token even when its rows differ, so the parts must
    include a checksum of the rows.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(repr(part).encode())
        digest.update(b"\x00")
    return digest.hexdigest()
