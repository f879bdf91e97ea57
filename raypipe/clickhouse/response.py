"""The body of a streamed response, as a file that pyarrow reads."""

import re
from typing import Any

from urllib3.exceptions import HTTPError

from raypipe.clickhouse.server_errors import failure
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
