"""A TCP proxy in front of ClickHouse that can hold or cut a request when its bytes match."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

PIECE = 1 << 16
# A request line is found even when it falls on the border of two pieces.
OVERLAP = 256

Action = Literal["hold", "cut", "cut_after"]


@dataclass
class Rule:
    """What happens to a request whose bytes hold a pattern.

    Attributes:
        pattern: bytes of the request line or body, such as `raypipe_staging`.
        skip: how many matching requests pass before.
        action: `hold` keeps the request back until `released`; `cut` resets the connection before the server has it;
            `cut_after` lets the server answer and resets instead of passing the answer on.
        once: whether only one request is hit.
        hit: set when a request is hit.
        released: set it to let held requests go on.
    """

    pattern: bytes
    action: Action
    skip: int = 0
    once: bool = True
    hit: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    seen: int = 0

    def strikes(self, data: bytes) -> bool:
        """Whether this request is to be hit; counts it."""
        if self.pattern not in data or (self.once and self.hit.is_set()):
            return False
        self.seen += 1
        if self.seen <= self.skip:
            return False
        self.hit.set()
        return True


class Proxy:
    """The proxy's rules and address; `url` is what a client connects to."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 8123
        self.rules: list[Rule] = []
        self.url = ""

    def add(self, rule: Rule) -> Rule:
        """Puts a rule into force."""
        self.rules.append(rule)
        return rule

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        """Listens on a free port until told to stop."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        async with server:
            await stop.wait()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        swallow = asyncio.Event()
        back = asyncio.create_task(self._answers(upstream_reader, writer, swallow))
        try:
            await self._requests(reader, upstream_writer, writer, swallow)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            upstream_writer.close()
            back.cancel()
            writer.close()

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
        swallow: asyncio.Event,
    ) -> None:
        tail = b""
        while data := await reader.read(PIECE):
            for rule in self.rules:
                if rule.strikes(tail + data):
                    if rule.action == "hold":
                        await asyncio.to_thread(rule.released.wait)
                    elif rule.action == "cut":
                        client.transport.abort()
                        return
                    else:
                        swallow.set()
            upstream.write(data)
            await upstream.drain()
            tail = data[-OVERLAP:]

    async def _answers(
        self, upstream: asyncio.StreamReader, client: asyncio.StreamWriter, swallow: asyncio.Event
    ) -> None:
        while data := await upstream.read(PIECE):
            if swallow.is_set():
                client.transport.abort()
                return
            client.write(data)
            await client.drain()
        client.close()


@contextmanager
def proxied(target: str) -> Iterator[Proxy]:
    """A running proxy in front of the server at a URL."""
    proxy, ready = Proxy(target), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(proxy.serve(ready, stop))
        open_connections = asyncio.all_tasks(loop)
        for task in open_connections:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*open_connections, return_exceptions=True))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield proxy
    finally:
        for rule in proxy.rules:
            rule.released.set()
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
