"""The pipe through which an engine's thread hands rows to the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import uuid

CAPACITY = 1 << 20
# Pieces that fit the processor's cache: with a megabyte the server needs half as much time again.
_READ = 1 << 18


class Pipe:
    """A pipe that a thread writes and the event loop reads; the writer waits while it is full.

    Attributes:
        mark: a name for what writes, found nowhere else.
    """

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        with contextlib.suppress(AttributeError, OSError):  # Linux only, and at most what the system allows
            fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, CAPACITY)
        self._is_abandoned = False
        self._waiting: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """What is in the pipe, at least a byte; nothing at its end or once it is abandoned."""
        while not self._is_abandoned:
            try:
                return os.read(self._reader, _READ)
            except BlockingIOError:
                await self._readable()
        return b""

    async def read_first(self) -> tuple[bytes, bool]:
        """As much as an answer holds back before its headers leave, and whether that is all."""
        first = bytearray()
        while len(first) < CAPACITY:
            piece = await self.read()
            if not piece:
                return bytes(first), True
            first += piece
        return bytes(first), False

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        loop.add_reader(self._reader, self._wake)
        try:
            await self._waiting
        finally:
            loop.remove_reader(self._reader)
            self._waiting = None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def abandon(self) -> None:
        """Ends a `read` that waits, and every later one: nobody wants the rest."""
        self._is_abandoned = True
        self._wake()

    @property
    def is_abandoned(self) -> bool:
        """Whether the reader went away before the end."""
        return self._is_abandoned

    def close_writer(self) -> None:
        """Marks the end; called by the thread that writes."""
        os.close(self.writer)

    def close_reader(self) -> None:
        """Lets the writer write, if it still does, to nobody."""
        reader, self._reader = self._reader, -1
        if reader >= 0:
            os.close(reader)
