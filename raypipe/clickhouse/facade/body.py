"""The body of a request: decompressed, in pieces of about a megabyte, and never all of it in memory unasked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from starlette.requests import Request

from raypipe.clickhouse.facade import codings
from raypipe.clickhouse.facade.failure import Failure
from raypipe.clickhouse.facade.form import Form, parse_form

PIECE = 1 << 20


class Body:
    """Reads a request's body.

    Raises:
        Failure: the coding is unknown, or the body is not in it.
        ClientDisconnect: the client went away before the end.
    """

    def __init__(self, request: Request) -> None:
        self._arriving = request.stream()
        self._content_type = request.headers.get("content-type", "")
        self._coding = request.headers.get("content-encoding", "")
        self._decoder = codings.decoder(self._coding)

    async def next(self) -> bytes:
        """The next piece; empty at the end."""
        if self._decoder is None:
            allowed = ", ".join(codings.DECODED)
            raise Failure(48, f"Unknown compression method '{self._coding}'. Supported: {allowed}", "NOT_IMPLEMENTED")
        collected = bytearray()
        async for part in self._arriving:
            collected += part
            if len(collected) < PIECE:
                continue
            # A compressed piece may yield nothing yet, which must not look like the end.
            if piece := await self._decoded(self._decoder, bytes(collected)):
                return piece
            collected.clear()
        return await self._decoded(self._decoder, bytes(collected))

    async def _decoded(self, decoder: codings.Decoder, piece: bytes) -> bytes:
        if not self._coding or not piece:
            return piece
        try:
            return await asyncio.to_thread(decoder.decompress, piece)
        except codings.BROKEN as error:
            raise Failure(432, f"Cannot decompress the body ({self._coding}): {error}", "UNKNOWN_CODEC") from error

    async def rest(self) -> bytes:
        """Everything that is still to come."""
        pieces = []
        while piece := await self.next():
            pieces.append(piece)
        return b"".join(pieces)

    async def form(self) -> Form | None:
        """The form that the body is; None, with nothing read, when it is none."""
        if not self._content_type.startswith("multipart/form-data"):
            return None
        return parse_form(self._content_type, await self.rest())

    async def drain(self) -> None:
        """Reads what is left and drops it."""
        async for _ in self._arriving:
            pass

    def pieces(self, loop: asyncio.AbstractEventLoop) -> Iterator[bytes]:
        """The remaining pieces, for a thread."""
        while piece := asyncio.run_coroutine_threadsafe(self.next(), loop).result():
            yield piece
