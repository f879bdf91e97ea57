"""Answers: headers like a ClickHouse server's, and bodies that stream in bounded memory."""

from __future__ import annotations

import asyncio
import json
import secrets
import string
import tempfile
from collections.abc import AsyncIterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from raypipe.clickhouse.facade.codings import Encoder, encoder
from raypipe.clickhouse.facade.engine import Counts, Engine
from raypipe.clickhouse.facade.failure import Failure
from raypipe.clickhouse.facade.pipe import Pipe
from raypipe.clickhouse.facade.request import Asked

_PIECE = 1 << 20
# More than any format writes at its end that a reader could take for completeness.
_HELD_BACK = 1 << 16
_IN_MEMORY = 16 << 20

_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
}


class BrokenOff(Exception):
    """Raised to make the HTTP server close the connection, so that nobody takes the answer for complete."""


def headers(
    engine: Engine, asked: Asked | None = None, counts: Counts | None = None, format_name: str = ""
) -> dict[str, str]:
    """The headers of an answer."""
    counts = counts or Counts()
    numbers = {
        "read_rows": counts.read_rows,
        "read_bytes": counts.read_bytes,
        "written_rows": counts.written_rows,
        "written_bytes": counts.written_bytes,
        "total_rows_to_read": counts.read_rows,
        "result_rows": counts.result_rows or counts.written_rows,
        "result_bytes": counts.written_bytes,
        "elapsed_ns": int(counts.seconds * 1e9),
        "memory_usage": 0,
    }
    # Strings, since JSON's numbers lose digits in some readers.
    summary = {name: str(number) for name, number in numbers.items()}
    named = {
        "X-ClickHouse-Summary": json.dumps(summary, separators=(",", ":")),
        "X-ClickHouse-Server-Display-Name": engine.host,
        "X-ClickHouse-Timezone": engine.timezone,
        "Content-Type": _TYPES.get(format_name, "application/json; charset=UTF-8" if "JSON" in format_name else ""),
    }
    if asked is not None:
        named["X-ClickHouse-Query-Id"] = asked.query_id
    if format_name:
        named["X-ClickHouse-Format"] = format_name
        named["Content-Type"] = named["Content-Type"] or "application/octet-stream"
    return {name: value for name, value in named.items() if value}


def refusal(engine: Engine, failure: Failure, asked: Asked | None = None) -> Response:
    """The answer that consists of a failure."""
    named = {**headers(engine, asked), "X-ClickHouse-Exception-Code": str(failure.code)}
    named["Content-Type"] = "text/plain; charset=UTF-8"
    return Response(failure.text + "\n", failure.status, named)


def whole(body: bytes, named: dict[str, str], accepted: str) -> Response:
    """An answer that is known in full."""
    found = encoder(accepted) if body else None
    if found is None:
        return Response(body, headers=named)
    coding, packing = found
    return Response(packing.compress(body) + packing.flush(), headers={**named, "Content-Encoding": coding})


class Streamed(Response):
    """An answer whose body leaves while the query still runs.

    A failure on the way is written into the body, as ClickHouse does it, and then the connection is closed in the
    middle of the chunked encoding. chDB, unlike a server, ends the format properly even when the query fails: an Arrow
    stream would look complete. So the last bytes are held back, and dropped when it does.

    Args:
        engine: runs the query.
        first: what was read of the pipe already.
        pipe: where the rest comes from.
        work: the running query; it raises the Failure.
        named: the headers.
        accepted: the content codings that the client accepts.
    """

    def __init__(
        self,
        engine: Engine,
        first: bytes,
        pipe: Pipe,
        work: asyncio.Future[Counts],
        named: dict[str, str],
        accepted: str,
    ) -> None:
        found = encoder(accepted)
        self._encoder: Encoder | None = found[1] if found else None
        self._engine, self._first, self._pipe, self._work = engine, first, pipe, work
        self._end = b""
        self._tag = "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))
        coding = {"Content-Encoding": found[0]} if found else {}
        super().__init__(headers={**named, **coding, "X-ClickHouse-Exception-Tag": self._tag})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        watch = asyncio.create_task(gone())
        watch.add_done_callback(lambda _: self._pipe.abandon())
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for piece in self._pieces():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await self._finish(send)
        finally:
            watch.cancel()
            self._pipe.close_reader()
            if not self._work.done():
                await asyncio.to_thread(self._engine.kill, self._pipe.mark)

    async def _pieces(self) -> AsyncIterator[bytes]:
        """The body but for its end, which leaves only once the query has succeeded."""
        piece = self._first
        while piece:
            if len(piece) >= _HELD_BACK:
                whole_pieces, self._end = self._end, piece
            else:
                joined = self._end + piece
                whole_pieces, self._end = joined[:-_HELD_BACK], joined[-_HELD_BACK:]
            if whole_pieces:
                yield await asyncio.to_thread(self._encoder.compress, whole_pieces) if self._encoder else whole_pieces
            piece = await self._pipe.read()

    async def _finish(self, send: Send) -> None:
        if self._pipe.is_abandoned:
            return
        failure = None
        try:
            await self._work
        except Failure as error:
            failure = error
        end = exception_trailer(failure.text, self._tag) if failure else self._end
        if self._encoder:
            end = self._encoder.compress(end) + self._encoder.flush()
        await send({"type": "http.response.body", "body": end, "more_body": failure is not None})
        if failure:
            raise BrokenOff(failure.text)


def exception_trailer(text: str, tag: str) -> bytes:
    """What ClickHouse writes behind the rows when a query fails after its headers have left."""
    message = text.encode() + b"\n"
    mark = b"\r\n__exception__\r\n"
    return mark + tag.encode() + b"\r\n" + message + f"{len(message)} {tag}".encode() + mark


async def held_back(first: bytes, pipe: Pipe, folder: str) -> AsyncIterator[bytes]:
    """The whole of a body, kept in memory or, when it is large, in a file, and then handed out."""
    spool: tempfile.SpooledTemporaryFile[bytes] = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed by who reads it
        _IN_MEMORY, dir=folder
    )
    piece = first
    while piece:
        await asyncio.to_thread(spool.write, piece)
        piece = await pipe.read()
    pipe.close_reader()
    spool.seek(0)
    return _pieces_of(spool)


async def _pieces_of(spool: tempfile.SpooledTemporaryFile[bytes]) -> AsyncIterator[bytes]:
    with spool:
        while piece := await asyncio.to_thread(spool.read, _PIECE):
            yield piece
