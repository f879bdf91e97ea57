"""Read the body of a streamed response as Arrow."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from urllib3.exceptions import HTTPError

from raypipe.clickhouse.server_errors import failure, translated
from raypipe.errors import ServerError

_SERVER_EXCEPTION = re.compile(r"Code: (\d+)\. DB::Exception: .*?(?=\s+\d+ \w+\s+__exception__|\Z)", re.DOTALL)


class ResponseBody:
    """The body of a streamed response; raises the server's own error when the stream breaks off."""

    def __init__(self, body: Any, where: str) -> None:
        self._body = body
        self._where = where
        self.closed = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            return self._body.read(size) if size >= 0 else self._body.read()  # type: ignore[no-any-return]
        except HTTPError as error:
            failed = self._server_error(error)
            if failed is None:
                raise
            raise failed from error

    def _server_error(self, error: HTTPError) -> ServerError | None:
        # ClickHouse writes an exception that happens after the headers into the body, then breaks the chunked
        # encoding. http.client keeps the bytes that it had read by then.
        partial = getattr(error.args[1], "partial", b"") if len(error.args) > 1 else b""
        match = _SERVER_EXCEPTION.search(partial.decode("utf-8", errors="replace"))
        if match is None:
            return None
        return failure(int(match[1]), match[0].strip(), self._where)

    def close(self) -> None:
        self.closed = True


def read_arrow(body: Any, where: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Return the schema and the batches of a response.

    Raises:
        ServerError: the response is not an Arrow stream, or breaks off.
    """
    with _reading(where):
        # The schema precedes the first batch; a failed query sends neither.
        reader = pa.ipc.open_stream(pa.PythonFile(ResponseBody(body, where), mode="r"))

    def batches() -> Iterator[pa.RecordBatch]:
        while True:
            with _reading(where):
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
            yield batch

    return reader.schema, batches()


@contextmanager
def _reading(where: str) -> Iterator[None]:
    try:
        with translated(where):
            yield
    except pa.ArrowException as error:
        raise ServerError(f"The response of ClickHouse at {where} is not an Arrow stream", found=str(error)) from error
